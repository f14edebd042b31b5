"""The fault matrix: what must be detected is, what cannot be is not, and real flow raises few alarms."""

import dataclasses
import json

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.evaluation.fidelity.facts import FACTS
from lob_jax.evaluation.fidelity.faults.matrix import CONTROL, FALSE_ALARMS, fault_matrix, memorised
from lob_jax.evaluation.fidelity.faults.planted import FAULTS
from lob_jax.feeds.load import load_incremental_data
from lob_jax.figures.faults import GROUPS, fault_figure, ordered, smallest_of
from lob_jax.statistics.flow import disjoint_spans, flow_of_spans

PLANTED = [fault for fault in FAULTS if fault.name in ("sides_flipped", "sizes_one", "times_doubled")]


@pytest.fixture(scope="module")
def flows():
    flow = flow_of_spans(load_incremental_data(events=1500, seed=3), disjoint_spans(1250, length=50), levels=3)
    return flow.select(range(5, 25)), flow.select(range(5))


@pytest.fixture(scope="module")
def matrix(flows):
    return fault_matrix(*flows, counts=(3, 8), draws=60, faults=PLANTED)


def row(matrix, name, group):
    return next(row for row in matrix["rows"] if row["name"] == name and row["group"] == group)


def test_a_fault_is_detected_where_it_shows(matrix):
    sizes = row(matrix, "size_add", "further")["statistics"]["l1"]
    assert sizes["sizes_one"] == {"power": [1.0, 1.0], "smallest": 3}
    spread = row(matrix, "spread", "lob_bench")["statistics"]
    for statistic in ("l1", "w1", "ks"):
        for fault in ("sides_flipped", "sizes_one", "times_doubled"):
            assert spread[statistic][fault]["smallest"] is None  # none of them changes the book
    assert row(matrix, "spread_given_time", "conditional")["statistics"]["l1"]["sizes_one"]["smallest"] is None


def test_what_is_not_planted_raises_few_alarms(matrix):
    alarms = [row["statistics"][name][CONTROL]["power"] for row in matrix["rows"] for name in row["statistics"]]
    known = [share for shares in alarms for share in shares if share is not None]
    assert len(known) > 100 and abs(np.mean(known) - FALSE_ALARMS) < 0.03


def test_every_test_of_flow_has_a_row(matrix):
    assert {row["group"] for row in matrix["rows"]} == set(GROUPS)
    assert [row["name"] for row in matrix["rows"] if row["group"] == "facts"] == [fact.name for fact in FACTS]
    names = [row["name"] for row in matrix["rows"] if row["group"] == "tests"]
    assert names == ["impact", "macro_impact", "discriminator"]
    assert row(matrix, "discriminator", "tests")["statistics"]["auc"][CONTROL]["power"] == [None, None]  # too few


def test_the_matrix_is_plain_and_the_same_again(flows, matrix):
    again = fault_matrix(*flows, counts=(3, 8), draws=60, faults=PLANTED[:1])
    assert json.loads(json.dumps(matrix)) == matrix
    one, other = (row(of, "spread", "lob_bench")["statistics"]["l1"]["sides_flipped"] for of in (matrix, again))
    assert one == other and matrix["sequences"] == 20 and matrix["counts"] == [3, 8]


def test_the_smallest_count_is_the_first_from_which_all_detect(flows):
    found = fault_matrix(*flows, counts=(2, 5, 10), draws=60, faults=PLANTED[2:])
    for of in found["rows"]:
        for statistic in of["statistics"].values():
            power, smallest = (statistic["times_doubled"][key] for key in ("power", "smallest"))
            seen = [share is not None and share >= found["power"] for share in power]
            last_miss = max((place for place in range(3) if not seen[place]), default=-1)
            assert smallest == (None if last_miss == 2 else (2, 5, 10)[last_miss + 1])


def test_books_alone_leave_scores_of_messages_undefined(flows):
    real, training = (
        dataclasses.replace(flow, **{name: np.zeros_like(getattr(flow, name)) for name in ("kind", "size", "order_id")})
        for flow in flows
    )
    found = fault_matrix(real, training, counts=(4,), draws=20, faults=PLANTED[:1])
    assert row(found, "size_add", "further")["statistics"]["l1"][CONTROL]["power"] == [None]
    assert row(found, "spread", "lob_bench")["statistics"]["l1"][CONTROL]["power"] != [None]


def test_too_few_sequences_are_refused(flows):
    with pytest.raises(InputError, match="too few sequences"):
        fault_matrix(*flows, counts=(11,))
    with pytest.raises(InputError, match="too few sequences"):
        fault_matrix(flows[0], flows[1].select([]), counts=(4,))


def test_the_figure_has_a_cell_for_each_row_and_fault(matrix):
    figure = fault_figure(matrix, title="SYN")
    axes = figure.axes[0]
    rows = ordered(matrix, "l1")
    assert [label.get_text() for label in axes.get_yticklabels()] == [row["label"] for row in rows]
    cells = [text.get_text() for text in axes.texts if text.get_text() in ("-", "n/a", "3", "8")]
    assert len(cells) == len(rows) * len(PLANTED)
    counts = [sum(smallest_of(row, fault.name, "l1") is not None for fault in PLANTED) for row in rows]
    first = [count for row, count in zip(rows, counts, strict=True) if row["group"] == "lob_bench"]
    assert first == sorted(first, reverse=True)
    assert "20 real sequences" in figure.get_suptitle()


def test_copies_are_found_by_their_runs(flows):
    training = flows[1]
    measure = memorised(training)
    copies = measure.sums(training.select([2, 4]))
    np.testing.assert_array_equal(copies, [[1, 50], [1, 50]])
    assert 0 < measure.compute(flows[0])["mean"] < 25
