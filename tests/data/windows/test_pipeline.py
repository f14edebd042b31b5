"""Batches: one order from one seed, shared among hosts without loss, equal with workers, resumable anywhere."""

import itertools

import grain
import numpy as np
import pytest

from lob_jax.data.labels.regimes import fit_regimes
from lob_jax.data.records.records import day_record
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.data.windows.known import Beside
from lob_jax.data.windows.pipeline import (
    ALIGNED,
    BLOCK,
    Memory,
    Position,
    SharedBlock,
    batches,
    batches_an_epoch,
    first_position,
    received,
)
from lob_jax.errors import InputError
from lob_jax.feeds.feed import STRICT
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.vocabulary import PAD, REGIME_BASE

CONTEXT = 8


@pytest.fixture(name="windows", scope="module")
def windows_fixture(hand_record, plain_events) -> TokenBookDataset:
    """29 training windows from five records."""
    records = [hand_record(plain_events(15)) for _ in range(4)] + [hand_record(plain_events(13))]
    windows = TokenBookDataset(records, context=CONTEXT, time_buckets=288, evaluation=False)
    assert len(windows) == 29
    return windows


def numbers(pipeline: grain.IterDataset) -> list[list[int]]:
    return [batch["example"].tolist() for batch in pipeline]


def epochs_of(windows: TokenBookDataset, **options) -> list[list[int]]:
    return numbers(batches(windows, **{"batch_size": 4, "seed": 0, "epochs": 1, "shuffle": True, **options}))


def test_a_batch_is_the_windows_of_its_examples(windows):
    for batch in batches(windows, batch_size=4, seed=3, epochs=1, shuffle=True):
        assert batch["tokens"].shape == (4, CONTEXT + 1) and batch["book"].shape == (4, CONTEXT + 1, 4)
        assert batch["example"].dtype == np.int32 and batch["record"].shape == (4,)
        for row, example in enumerate(batch["example"]):
            for name, array in windows[int(example)].items():
                np.testing.assert_array_equal(batch[name][row], array)


def test_each_epoch_takes_other_orders_of_the_same_windows(windows):
    batch_list = epochs_of(windows, epochs=3)
    assert len(batch_list) == 3 * batches_an_epoch(windows, batch_size=4) == 21
    passes = [sum(batch_list[7 * k : 7 * k + 7], []) for k in range(3)]
    for taken in passes:
        assert len(set(taken)) == 28 and set(taken) <= set(range(29)) and taken != sorted(taken)
    assert passes[0] != passes[1] != passes[2] != passes[0]
    # The window left out of a pass is another one each time.
    assert len({frozenset(range(29)) - set(taken) for taken in passes}) > 1


def test_the_order_is_that_of_the_seed(windows):
    assert epochs_of(windows, seed=1) == epochs_of(windows, seed=1) != epochs_of(windows, seed=2)
    assert epochs_of(windows, shuffle=False) == [list(range(4 * k, 4 * k + 4)) for k in range(7)]


def test_hosts_share_each_batch_without_overlap(windows):
    alone = epochs_of(windows, batch_size=6, epochs=2)
    hosts = [epochs_of(windows, batch_size=2, epochs=2, host_index=h, host_count=3) for h in range(3)]
    assert {len(host) for host in hosts} == {len(alone)} == {8}
    for step, whole in enumerate(alone):
        assert sorted(sum((host[step] for host in hosts), [])) == sorted(whole)


def test_an_evaluation_fills_the_last_batch_with_blank_windows(hand_record, plain_events):
    windows = TokenBookDataset([hand_record(plain_events(15))], context=CONTEXT, time_buckets=288, evaluation=True)
    assert len(windows) == 11
    hosts = [
        list(batches(windows, batch_size=3, seed=0, epochs=1, shuffle=False, host_index=h, host_count=2))
        for h in range(2)
    ]
    assert [len(host) for host in hosts] == [2, 2] == 2 * [batches_an_epoch(windows, batch_size=3, host_count=2)]
    taken = [int(number) for host in hosts for batch in host for number in batch["example"]]
    assert sorted(taken) == [-1, *range(11)]
    blank = hosts[1][1]["example"] == -1
    assert blank.tolist() == [False, False, True]
    assert (hosts[1][1]["tokens"][blank] == PAD).all() and not hosts[1][1]["scored"][blank].any()
    assert sum(int(batch["scored"].sum()) for host in hosts for batch in host) == 45


@pytest.fixture(name="with_sets", params=[False, True], ids=["plain", "prefix"], scope="module")
def with_sets_fixture(request) -> TokenBookDataset:
    """Windows of two simulated stretches with all that a record has beside it, with and without a prefix."""
    feed, tokenizer = SyntheticFeed(1, 400, 0), ExactTokenizer()
    day = feed.read(feed.days()[0], STRICT)
    records = [day_record(day, first, first + 90, tokenizer, book_levels=2) for first in (0, 150)]
    beside = Beside(
        ("book", "regime", "state", "kind", "allowed"),
        regimes=fit_regimes(records, volatility_bins=2, spread_bins=2),
        prefix=request.param,
        tokenizer=tokenizer,
    )
    return TokenBookDataset(records, context=48, time_buckets=288, evaluation=False, beside=beside)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_batch_has_the_sets_and_the_prefix_of_each_window(with_sets, workers: int):
    read = batches(with_sets, batch_size=5, seed=3, epochs=1, shuffle=True, workers=workers)
    found = list(read)
    assert len(found) == len(with_sets) // 5 >= 2
    for batch in found:
        for row, example in enumerate(batch["example"]):
            window = with_sets[int(example)]
            assert set(batch) == {*window, "example"}
            for name, array in window.items():
                assert batch[name].dtype == array.dtype
                np.testing.assert_array_equal(batch[name][row], array)
    named = [set(batch["tokens"][:, 0].tolist()) <= set(range(REGIME_BASE, REGIME_BASE + 4)) for batch in found]
    assert all(named) if with_sets.beside.prefix else not any(named)


@pytest.mark.slow
def test_workers_give_the_same_batches_in_the_same_order(windows):
    here = list(batches(windows, batch_size=4, seed=5, epochs=2, shuffle=True))
    there = list(batches(windows, batch_size=4, seed=5, epochs=2, shuffle=True, workers=2))
    assert len(here) == len(there) == 14
    for one, other in zip(here, there, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def in_order(windows: TokenBookDataset, start: Position | None, count: int, *, hosts: int = 1, **options) -> list[int]:
    """Return the numbers of the next windows that hosts read from a position on, in the order of the whole."""
    cut = {"batch_size": 4, "seed": 5, "epochs": None, "shuffle": True, **options}
    each = [batches(windows, start, host_index=host, host_count=hosts, **cut) for host in range(hosts)]
    needed = -(-count // (hosts * cut["batch_size"]))
    read = [np.concatenate([batch["example"] for batch in itertools.islice(host, needed)]) for host in each]
    return np.stack(read, axis=1).ravel()[:count].tolist()


@pytest.mark.parametrize("taken", [0, 24, 61, *(pytest.param(taken, marks=pytest.mark.slow) for taken in (4, 28, 36))])
@pytest.mark.parametrize(("batch_size", "hosts"), [(4, 1), (2, 1), (6, 1), (29, 1), (2, 2), (1, 3), (5, 4)])
def test_any_batches_and_hosts_go_on_with_the_very_next_windows(windows, taken: int, batch_size: int, hosts: int):
    """Of a run of batches of four, which leave one of 29 windows out of a pass; the passes stay as they were."""
    start = first_position(windows, batch_size=4)
    assert start == Position(0, 28)
    undisturbed = in_order(windows, None, 100)
    assert in_order(windows, start, 100) == undisturbed
    rest = in_order(windows, Position(taken, start.windows_a_pass), 39, batch_size=batch_size, hosts=hosts)
    assert rest == undisturbed[taken:][:39]


@pytest.mark.slow
def test_workers_go_on_with_the_very_next_windows(windows):
    undisturbed, at = in_order(windows, None, 60), Position(20, 28)
    assert in_order(windows, at, 36, batch_size=2, workers=2) == undisturbed[20:56]


def test_passes_end_where_they_would_have_ended(windows):
    whole = sum(epochs_of(windows, epochs=3), [])
    for taken in (0, 20, 28, 60, 84, 100):
        rest = batches(windows, Position(taken, 28), batch_size=4, seed=0, epochs=3, shuffle=True)
        assert sum(numbers(rest), []) == whole[taken:]
        larger = batches(windows, Position(taken, 28), batch_size=6, seed=0, epochs=3, shuffle=True)
        left = whole[taken:]
        assert sum(numbers(larger), []) == left[: len(left) // 6 * 6]


@pytest.mark.parametrize("wrong", [Position(-1, 28), Position(0, 0), Position(0, 30)])
def test_a_position_in_other_windows_is_refused(windows, wrong: Position):
    with pytest.raises(InputError, match="a position that does not fit these windows"):
        batches(windows, wrong, batch_size=4, seed=0, epochs=None, shuffle=True)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"batch_size": 30}, "too few windows"),
        ({"batch_size": 10, "host_count": 3}, "too few windows"),
        ({"host_index": 1}, "no such host"),
        ({"host_index": -1, "host_count": 2}, "no such host"),
    ],
)
def test_impossible_requests_are_refused(windows, wrong: dict, message: str):
    with pytest.raises(InputError, match=message):
        epochs_of(windows, **wrong)


def test_memory_is_used_again_once_an_array_and_its_views_are_gone():
    memory = Memory()
    first = memory.array((3, 5), np.uint8)
    address, view = first.ctypes.data, first[1:, 2]
    assert first.shape == (3, 5) and address % ALIGNED == 0 and first.flags.writeable
    del first
    second = memory.array((3, 5), np.uint8)
    assert second.ctypes.data != address, "a view is left"
    del view
    third = memory.array((15,), np.int8)
    assert third.ctypes.data == address and third.dtype == np.int8
    del second, third
    larger = memory.array((2, 4), np.int64)
    larger[:] = 7
    assert larger.shape == (2, 4) and larger.sum() == 56


def test_arrays_in_a_block_are_aligned_apart_and_received_as_they_were_sent():
    shared = SharedBlock()
    shapes = {"tokens": ((3, 5), np.int32), "scored": ((3, 5), np.bool_), "none": ((0, 2), np.float32)}
    arrays = shared({**shapes, "book": ((3, 5, 7), np.float32), "last": ((65,), np.uint8)})
    for number, array in enumerate(arrays.values()):
        array[...] = number
    sent = shared.sent()
    sent[BLOCK].unlink_on_del()
    found = received({**sent, BLOCK: np.array(sent[BLOCK])})
    assert list(found) == list(arrays)
    for number, (name, array) in enumerate(found.items()):
        assert array.shape == arrays[name].shape and array.dtype == arrays[name].dtype
        assert (array == array.dtype.type(number)).all(), "no other array was written over it"
        assert not array.size or arrays[name].ctypes.data % ALIGNED == 0
    own = {"tokens": found["tokens"]}
    assert received(own) is own
