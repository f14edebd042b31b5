"""Impact: classes by hand, responses against a loop, scores, floors and intervals."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from lob_jax.evaluation.fidelity import impact
from lob_jax.evaluation.fidelity.impact import CLASSES, LAGS, compare_impact, counted_rows, impact_table, response_sums
from lob_jax.events.schema import Kind
from tests.made_flow import made_flow, random_flow

ADD, DELETE, EXECUTE, HIDDEN = Kind.ADD, Kind.DELETE, Kind.EXECUTE, Kind.EXECUTE_HIDDEN


def book(bid, bid_size, ask, ask_size):
    return [(bid, bid_size)], [(ask, ask_size)]


TAPE = [  # (message, book after it, class, sign); the class is None where the row does not count
    ((0, ADD, 1, 90, 5, 1), book(99, 10, 101, 10), None, None),  # nothing stands before it
    ((0, ADD, 1, 90, 5, 2), book(99, 10, 101, 10), None, None),
    ((0, ADD, 1, 99, 5, 3), book(99, 15, 101, 10), "LO0", 1),
    ((0, ADD, -1, 100, 5, 4), book(99, 15, 100, 5), "LO1", -1),
    ((0, HIDDEN, -1, 100, 5, 0), book(99, 15, 100, 5), None, None),
    ((0, EXECUTE, -1, 100, 2, 4), book(99, 15, 100, 3), "MO0", 1),
    ((5000, EXECUTE, -1, 100, 3, 4), book(99, 15, 101, 10), "MO1", 1),
    ((5000, DELETE, 1, 99, 5, 3), book(99, 10, 101, 10), "CA0", -1),
    ((5000, DELETE, 1, 99, 10, 9), book(98, 7, 101, 10), "CA1", -1),
]


@pytest.fixture(scope="module")
def tape():
    return made_flow([message for message, *_ in TAPE], books=[shown for _, shown, *_ in TAPE])


def test_lags_are_those_of_lob_bench():
    assert LAGS == (1, 2, 3, 3, 5, 6, 7, 10, 12, 15, 19, 25, 31, 39, 50, 63, 79, 100, 125, 158, 199)


def test_classes_and_signs_by_hand(tape):
    rows = counted_rows(tape)
    found = [(CLASSES[label], sign) for label, sign in zip(rows.label[1:], rows.sign[1:], strict=True)]
    assert found == [(label, sign) for *_, label, sign in TAPE if label]


def test_responses_by_hand(tape):
    sums = response_sums(tape)
    of_class = {label: sums.total[0, at] / np.maximum(sums.count[0, at], 1) for at, label in enumerate(CLASSES)}
    assert of_class["LO0"][0] == 0.0  # the mid stays at 100
    assert of_class["LO1"][0] == 0.5  # sold at 100: the mid falls to 99.5
    assert of_class["MO1"][0] == 0.5 and of_class["CA1"][0] == 0.5
    assert of_class["LO1"][2] == 0.0  # two rows later the mid is back at 100


def test_executions_of_one_order_are_one_event():
    shown = [
        book(99, 10, 101, 9),
        book(99, 10, 101, 8),
        book(99, 10, 102, 5),
        book(99, 10, 102, 4),
        book(99, 10, 102, 3),
    ]
    times = (0, 1000, 2000, 2500, 3600)
    prices = (101, 101, 101, 102, 102)  # another price, and then too late
    messages = [(t, EXECUTE, -1, price, 1, 1) for t, price in zip(times, prices, strict=True)]
    rows = counted_rows(made_flow([(0, ADD, 1, 98, 1, 1), *messages], books=[book(99, 10, 101, 10), *shown]))
    assert rows.row.tolist() == [0, 3, 4, 5]
    assert [CLASSES[label] for label in rows.label[1:]] == ["MO1", "MO0", "MO0"]


def test_responses_against_a_loop():
    flow = random_flow(0, sequences=3, length=60)
    rows, sums = counted_rows(flow), response_sums(flow)
    expected, count = np.zeros((2, 3, 6, len(LAGS)))
    for event in range(1, len(rows.row)):
        for at, lag in enumerate(LAGS):
            last = event + lag - 1
            if last < len(rows.row) and rows.sequence[event - 1] == rows.sequence[last]:
                cell = rows.sequence[event], rows.label[event], at
                expected[cell] += rows.sign[event] * (rows.mid[last] - rows.mid[event - 1])
                count[cell] += 1
    np.testing.assert_allclose(sums.total, expected)
    np.testing.assert_array_equal(sums.count, count)


@pytest.fixture(scope="module")
def compared():
    real, louder = random_flow(1, sequences=10), random_flow(1, sequences=10)
    louder.book_price[:] = (louder.book_price - 1000) * 6 + 1000
    return compare_impact(real, {"same": real, "louder": louder}, resamples=50, splits=20)


def test_a_flow_equals_itself_and_louder_moves_do_not(compared):
    same, louder = (compared["models"][name]["scores"] for name in ("same", "louder"))
    assert all(row["value"] == 0 for row in same.values())
    assert louder["mean"]["value"] > louder["mean"]["floor"] > 0 and louder["mean"]["ratio"] > 2
    assert louder["mean"]["low"] <= louder["mean"]["high"]
    assert compared["models"]["same"]["macro"]["score"] == 0


def test_the_headline_is_the_mean_of_the_classes(compared):
    scores = compared["models"]["louder"]["scores"]
    assert scores["mean"]["value"] == pytest.approx(np.mean([scores[label]["value"] for label in CLASSES]))
    responses = [np.array(flow["responses"], float) for flow in (compared["real"], compared["models"]["louder"])]
    value = np.nansum(np.abs(responses[0] - responses[1]), axis=1)  # no sequence reaches the longest lags
    np.testing.assert_allclose([scores[label]["value"] for label in CLASSES], value)


def test_the_basic_interval_mirrors_the_quantiles():
    resampled = np.arange(101.0)[:, None]
    low, high = impact._basic_interval(np.array([60.0]), resampled)
    assert (low, high) == (pytest.approx(120 - 99.5), pytest.approx(120 - 0.5))


def test_the_tick_is_the_instruments():
    books = [book(90, 5, 110, 5), book(100, 5, 110, 5)]
    messages = [(0, ADD, -1, 120, 5, 1), (0, ADD, 1, 100, 5, 1)]
    for tick in (1, 10):
        sums = response_sums(made_flow(messages, books=books, tick=tick))
        assert sums.total[0, CLASSES.index("LO1"), 0] == 5 / tick


def test_macro_impact_by_hand():
    books = [book(99, 1, 101, 1), book(99, 1, 101, 1), book(103, 1, 105, 1)]
    buys = [(0, EXECUTE, -1, 101, 3, 1), (0, EXECUTE, 1, 99, 1, 1), (0, ADD, 1, 99, 1, 1)]
    flow = made_flow(buys, buys[2:], books=[*books, books[0]])
    found = impact.sequence_impacts(flow)
    assert found[0].tolist() == [0.5, 4.0]  # 3 bought, 1 sold
    assert np.isnan(found[1]).all()  # no trades
    unknown = impact.macro_impact(found, np.full((1, 2), np.nan))
    assert unknown["score"] is None and sum(unknown["real_counts"]) == 1 and sum(unknown["generated_counts"]) == 0
    curve = impact.macro_impact(np.array([[0.0, 1.0], [1.0, 3.0]]), np.array([[1.0, 5.0], [0.01, 0.0]]))
    assert curve["real"][0] == 1 and curve["real"][-1] == 3 and curve["score"] == 1.5
    assert curve["edges"] == pytest.approx(np.linspace(0, 1, 11)) and curve["real"][4] is None


FLOWS = {
    "no trades": random_flow(2, trades=False),
    "short": random_flow(3, length=2),
    "one sequence": random_flow(4, sequences=1),
    "no messages": made_flow([]),
    "no sequence": made_flow(),
}


@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_has_a_score_or_none(name):
    for real, other in ((random_flow(5), FLOWS[name]), (FLOWS[name], random_flow(5))):
        result = compare_impact(real, {"g": other}, resamples=5, splits=3)
        json.dumps(result, allow_nan=False)
        console = Console(width=100, record=True, file=io.StringIO())
        console.print(impact_table(result))
        assert "n/a" in console.export_text() or name == "one sequence"


def test_books_without_messages_have_no_events():
    flow = random_flow(8)
    flow.kind[:] = 0
    assert not response_sums(flow).count.any()


def test_the_seed_decides():
    flows = random_flow(6), random_flow(7)
    results = [compare_impact(flows[0], {"g": flows[1]}, resamples=5, splits=3, seed=seed) for seed in (0, 0, 1)]
    assert results[0] == results[1] != results[2]
