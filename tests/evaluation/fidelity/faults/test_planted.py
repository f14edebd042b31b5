"""Each planted fault changes what it says, and nothing else."""

import dataclasses

import numpy as np
import pytest

from lob_jax.evaluation.fidelity.faults.planted import BOOKS, FAULTS, MESSAGES
from lob_jax.events.schema import Kind
from lob_jax.feeds.load import load_incremental_data
from lob_jax.statistics.flow import Flow, disjoint_spans, flow_of_spans

IN_BOOKS = ("book_price", "book_size")


@pytest.fixture(scope="module")
def flows():
    flow = flow_of_spans(load_incremental_data(events=1500, seed=3), disjoint_spans(1000, length=100), levels=3)
    return flow.select(range(5)), flow.select(range(5, 10))


@pytest.fixture(scope="module")
def planted(flows):
    real, training = flows
    return {fault.name: fault.plant(real, training, np.random.default_rng(4)) for fault in FAULTS}


def columns(flow: Flow) -> dict[str, np.ndarray]:
    return {field.name: getattr(flow, field.name) for field in dataclasses.fields(flow)[1:]}


def changed(one: Flow, other: Flow) -> set[str]:
    return {name for name, column in columns(one).items() if not np.array_equal(column, columns(other)[name])}


def test_there_are_twelve_and_each_changes_the_flow(flows, planted):
    assert len({fault.name for fault in FAULTS}) == len({fault.label for fault in FAULTS}) == 12
    for name, flow in planted.items():
        assert changed(flows[0], flow), name
        assert len(flow) == len(flows[0]) and flow.edges[-1] == len(flow.kind) == len(flow.book_price), name
        for column, values in columns(flow).items():
            assert values.dtype == columns(flows[0])[column].dtype, (name, column)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_what_a_fault_leaves_alone_stays(fault, flows, planted):
    found = changed(flows[0], planted[fault.name])
    if fault.changes == MESSAGES:
        assert not found & {*IN_BOOKS, "edges"}
    if fault.changes == BOOKS:
        assert found <= {*IN_BOOKS}


def test_sides_and_sizes(flows, planted):
    np.testing.assert_array_equal(planted["sides_flipped"].side, -flows[0].side)
    assert changed(flows[0], planted["sides_flipped"]) == {"side"}
    assert (planted["sizes_one"].size == 1).all() and changed(flows[0], planted["sizes_one"]) == {"size"}


def test_shuffled_rows_are_the_same_rows_of_each_sequence(flows, planted):
    for number in range(5):
        one, other = flows[0].select([number]), planted["rows_shuffled"].select([number])
        np.testing.assert_array_equal(one.time_ns, other.time_ns)
        rows = [np.column_stack([f.kind, f.side, f.price, f.size, f.book_price[:, 0]]) for f in (one, other)]
        np.testing.assert_array_equal(*(part[np.lexsort(part.T)] for part in rows))
        assert not np.array_equal(*rows)


def test_copies_are_training_sequences(flows):
    real, training = flows
    fault = next(fault for fault in FAULTS if fault.name == "training_copied")
    copied = fault.plant(real.select([0, 1, 2, 3, 4, 0, 1]), training, np.random.default_rng(0))
    found = [next(t for t in range(5) if not changed(training.select([t]), copied.select([s]))) for s in range(7)]
    assert sorted(found[:5]) == [0, 1, 2, 3, 4] and len(set(found[5:])) == 2


def test_the_mid_is_frozen_and_the_spread_is_not(flows, planted):
    for number in range(5):
        best = planted["mid_frozen"].select([number]).book_price[:, :, 0]
        assert np.ptp(best.sum(axis=1)) <= 1
        real = flows[0].select([number]).book_price[:, :, 0]
        np.testing.assert_array_equal(np.diff(best, axis=1), np.diff(real, axis=1))
    frozen = planted["mid_frozen"]
    np.testing.assert_array_equal(
        frozen.price - frozen.book_price[:, 0, 0], flows[0].price - flows[0].book_price[:, 0, 0]
    )


def test_times_and_prices_are_doubled_from_the_start_of_a_sequence(flows, planted):
    for number in range(5):
        real, slow, wide = (f.select([number]) for f in (flows[0], planted["times_doubled"], planted["tick_doubled"]))
        np.testing.assert_array_equal(np.diff(slow.time_ns), 2 * np.diff(real.time_ns))
        assert slow.time_ns[0] == real.time_ns[0] and wide.book_price[0, 0, 0] == real.book_price[0, 0, 0]
        spread = [f.book_price[:, 1, 0] - f.book_price[:, 0, 0] for f in (real, wide)]
        np.testing.assert_array_equal(spread[1], 2 * spread[0])
        np.testing.assert_array_equal(np.diff(wide.price), 2 * np.diff(real.price))


def test_messages_disappear_and_repeat_with_their_books(flows, planted):
    real, count = flows[0], {kind: int((flows[0].kind == kind).sum()) for kind in Kind}
    gone, twice, half = (planted[name] for name in ("hidden_dropped", "trades_doubled", "cancels_halved"))
    assert count[Kind.EXECUTE_HIDDEN] > 0 and count[Kind.EXECUTE] > 0
    assert (
        not (gone.kind == Kind.EXECUTE_HIDDEN).any() and len(gone.kind) == len(real.kind) - count[Kind.EXECUTE_HIDDEN]
    )
    assert (twice.kind == Kind.EXECUTE).sum() == 2 * count[Kind.EXECUTE]
    assert (half.kind == Kind.ADD).sum() == count[Kind.ADD]
    left = (half.kind == Kind.DELETE).sum() / count[Kind.DELETE]
    assert 0.3 < left < 0.7
    kept = real.kind != Kind.EXECUTE_HIDDEN
    np.testing.assert_array_equal(gone.book_price, real.book_price[kept])
    np.testing.assert_array_equal(gone.sequence(), real.sequence()[kept])


def test_two_levels_change_places(flows, planted):
    swapped, real = planted["levels_swapped"], flows[0]
    np.testing.assert_array_equal(swapped.book_price[:, :, [1, 0, 2]], real.book_price)
    one = dataclasses.replace(real, book_price=real.book_price[:, :, :1], book_size=real.book_size[:, :, :1])
    fault = next(fault for fault in FAULTS if fault.name == "levels_swapped")
    assert not changed(one, fault.plant(one, one, np.random.default_rng(0)))


def test_mixed_gaps_are_the_same_gaps(flows, planted):
    def gaps(flow):
        return [np.diff(flow.select([number]).time_ns) for number in range(5)]

    real, mixed = gaps(flows[0]), gaps(planted["gaps_mixed"])
    np.testing.assert_array_equal(np.sort(np.concatenate(real)), np.sort(np.concatenate(mixed)))
    assert not any(np.array_equal(np.sort(one), np.sort(other)) for one, other in zip(real, mixed, strict=True))
    np.testing.assert_array_equal(
        planted["gaps_mixed"].time_ns[flows[0].edges[:-1]], flows[0].time_ns[flows[0].edges[:-1]]
    )
