"""LOB-Bench's 21 scores: against a slow reference, by hand, and on flows that lack what they need."""

import dataclasses

import numpy as np
import pytest

from lob_jax.evaluation.fidelity.distances.parts import cropped
from lob_jax.evaluation.fidelity.samples import joint, measure, view
from lob_jax.evaluation.fidelity.score import REGISTRY, Need, all_scores, available, lacking
from lob_jax.events.schema import Kind
from lob_jax.feeds.lobster.feed import LobsterFeed
from lob_jax.statistics.flow import disjoint_spans, flow_of_spans
from tests.evaluation.fidelity import reference

SCORES = {score.name: score for score in all_scores("lob_bench")}


def agree(first, second):
    """Check values and distances of two flows against the reference."""
    expected = [reference.values(flow) for flow in (first, second)]
    for score in SCORES.values():
        samples = [measure(score, flow) for flow in (first, second)]
        for sample, slow in zip(samples, expected, strict=True):
            np.testing.assert_allclose(np.sort(sample.value), np.sort(slow[score.name]), rtol=1e-12, atol=1e-12)
            assert np.all(np.diff(sample.sequence) >= 0)
        seen = view(joint(score, *samples), np.ones(len(first) + len(second), np.int64))
        is_first = (seen.sequence < len(first)).astype(np.int64)
        found = seen.between(is_first, 1 - is_first)
        slow = reference.distances(*(one[score.name] for one in expected), discrete=score.discrete)
        np.testing.assert_allclose(found, slow, rtol=0, atol=1e-9, err_msg=score.name)


def test_the_names_and_their_order():
    assert tuple(SCORES) == reference.NAMES


def test_against_the_reference(flow):
    agree(flow.select([0, 2]), flow.select([1, 3]))


@pytest.mark.slow
def test_two_halves_of_a_day_against_the_reference(market_data):
    day = LobsterFeed().read(market_data("lobster/GOOG_2012-06-21_34200000_57600000_message_10.csv.gz"))
    whole = flow_of_spans(day, disjoint_spans(len(day.events), length=500), levels=10)
    agree(whole.select(np.arange(0, len(whole), 2)), whole.select(np.arange(1, len(whole), 2)))


def test_fewer_levels(flow):
    """Total volume takes the levels that there are."""
    one = dataclasses.replace(flow, book_price=flow.book_price[:, :, :1], book_size=flow.book_size[:, :, :1])
    agree(one.select([0]), one.select([1]))
    assert measure(SCORES["ask_volume"], one).value.tolist() == measure(SCORES["ask_volume_touch"], one).value.tolist()


def values_of(name, flow):
    return measure(SCORES[name], flow).value.tolist()


def test_quotes_by_hand(tiny_flow):
    book = [([(100, 3)], [(110, 1)]), ([(100, 3)], []), ([], [(110, 5)]), ([], [])]
    flow = tiny_flow([{"book": sides} for sides in book])
    assert values_of("spread", flow) == [10]
    assert values_of("orderbook_imbalance", flow) == [0.5, 1, -1]
    assert values_of("bid_volume_touch", flow) == [3, 3, 0, 0]


def test_times_by_hand(tiny_flow):
    rows = [
        {"time_ns": 0, "kind": Kind.ADD, "order_id": 7},
        {"time_ns": 0, "kind": Kind.ADD, "order_id": 8},
        {"time_ns": 2_000_000, "kind": Kind.EXECUTE, "order_id": 7},
        {"time_ns": 3_000_000_000, "kind": Kind.CANCEL, "order_id": 7},
        {"time_ns": 4_000_000_000, "kind": Kind.DELETE, "order_id": 7},
        {"time_ns": 4_000_000_000, "kind": Kind.DELETE, "order_id": 9},
    ]
    flow = tiny_flow(rows)
    assert values_of("log_inter_arrival_time", flow) == pytest.approx(np.log([1e-9, 2, 2998, 1000, 1e-9]))
    assert values_of("log_time_to_cancel", flow) == pytest.approx([np.log(3)])


def test_an_order_that_was_placed_in_another_sequence_has_no_time_to_cancel(tiny_flow):
    rows = [{"time_ns": 5, "kind": Kind.ADD, "order_id": 7}, {"time_ns": 9, "kind": Kind.DELETE, "order_id": 7}]
    assert values_of("log_time_to_cancel", tiny_flow(rows, edges=[0, 1, 2])) == []
    assert values_of("log_inter_arrival_time", tiny_flow(rows, edges=[0, 1, 2])) == []


def test_a_clock_that_goes_back_gives_no_time(tiny_flow):
    flow = tiny_flow([{"time_ns": 5}, {"time_ns": 3}, {"time_ns": 1_000_003}])
    assert values_of("log_inter_arrival_time", flow) == [0.0]


def test_orders_by_hand(tiny_flow):
    book = ([(100, 3), (90, 2)], [(110, 1), (130, 4)])
    rows = [
        {"kind": Kind.DELETE, "price": 90, "book": book},  # no book before it
        {"kind": Kind.ADD, "price": 130, "side": -1, "book": book},
        {"kind": Kind.ADD, "price": 90, "side": -1, "book": book},  # the price decides, not the side
        {"kind": Kind.ADD, "price": 80, "book": book},
        {"kind": Kind.ADD, "price": 105, "book": book},
        {"kind": Kind.CANCEL, "price": 90, "book": ([(100, 3)], [(110, 1)])},
    ]
    flow = tiny_flow(rows)
    assert values_of("limit_ask_order_depth", flow) == [25]
    assert values_of("limit_bid_order_depth", flow) == [15, 25]
    assert values_of("limit_ask_order_levels", flow) == [2]
    assert values_of("limit_bid_order_levels", flow) == [2]
    assert values_of("bid_cancellation_depth", flow) == [15, 15]
    assert values_of("bid_cancellation_levels", flow) == [2]
    assert values_of("ask_cancellation_levels", flow) == []


@pytest.mark.parametrize(
    ("times_s", "expected"),
    [
        ([0.0, 0.2, 1.5, 2.5], [120, 60, 120]),  # the last second counts as half a second
        ([0.95, 1.5, 2.05], [60]),  # edges shorter than a tenth are left out
        ([0.5, 1.5], [120, 120]),
        ([3.5], [60]),
        ([3.5, 3.5], [120]),
        ([3.5, 3.55], []),
        ([3.2, 3.7], [240]),
        ([], []),
    ],
)
def test_volume_per_minute_by_hand(tiny_flow, times_s, expected):
    rows = [{"time_ns": int(time * 1e9), "kind": Kind.EXECUTE, "size": 1} for time in times_s]
    rows.append({"time_ns": 10**10, "kind": Kind.EXECUTE_HIDDEN, "size": 9})
    assert values_of("vol_per_min", tiny_flow(rows)) == pytest.approx(expected)


def test_order_flow_by_hand(tiny_flow):
    quiet = {"book": ([(100, 3)], [(110, 1)])}
    rows = [quiet] * 99 + [
        {"book": ([(100, 8)], [(110, 1)])},  # bid grows: +5
        {"book": ([(101, 2)], [(110, 1)])},  # bid improves: +2
        {"book": ([(101, 2)], [(112, 6)])},  # ask retreats: +1
        {"book": ([(101, 2)], [(111, 4)])},  # ask improves: -4
    ]
    flow = tiny_flow(rows)
    assert values_of("ofi", flow) == [0.07, 0.08, 0.04]
    assert values_of("ofi_up", flow) == [0.07]
    assert values_of("ofi_down", flow) == [0.08]
    assert values_of("ofi_stay", flow) == []


def test_an_empty_side_is_infinitely_far(tiny_flow):
    rows = [{"book": ([(100, 3)], [(110, 1)])}] * 100 + [{"book": ([(100, 3)], [])}]
    assert values_of("ofi", tiny_flow(rows)) == [0.01]


def test_short_sequences_have_no_order_flow(flow):
    assert values_of("ofi", cropped(flow, 100)) == []
    assert len(values_of("ofi", cropped(flow, 101))) == len(flow)
    assert values_of("ofi_up", cropped(flow, 101)) == []


def test_what_a_flow_lacks(flow):
    bookish = dataclasses.replace(
        flow,
        kind=np.zeros_like(flow.kind),
        time_ns=np.zeros_like(flow.time_ns),
        order_id=np.zeros_like(flow.order_id),
    )
    assert available(flow) == frozenset(Need) and available(bookish) == frozenset()
    reasons = {name: lacking(score.needs, bookish) for name, score in SCORES.items()}
    assert {name for name, reason in reasons.items() if reason is None} == {
        "spread",
        "orderbook_imbalance",
        *(f"{side}_volume{where}" for side in ("ask", "bid") for where in ("", "_touch")),
        *(f"ofi{case}" for case in ("", "_up", "_stay", "_down")),
    }
    assert reasons["vol_per_min"] == "the flow has a book, but no messages"
    assert measure(SCORES["vol_per_min"], bookish).reason == reasons["vol_per_min"]


def test_an_empty_flow_has_no_values(flow):
    for empty in (flow.select([]), flow.select([0, 1])):
        if len(empty):
            empty = dataclasses.replace(flow.select([]), edges=np.zeros(3, np.int64))
        for score in SCORES.values():
            assert len(measure(score, empty).value) == 0


def test_every_score_has_its_own_name():
    names = [score.name for score in all_scores()]
    assert len(set(names)) == len(names) and len(REGISTRY) >= 7
