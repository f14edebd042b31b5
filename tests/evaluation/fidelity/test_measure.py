"""Measures of generated flow beside real flow: ranges, p-values, distances; no flow lets them fail."""

import dataclasses
import io
import json

import numpy as np
import pytest
from rich.console import Console

from lob_jax.evaluation.fidelity import measure
from lob_jax.evaluation.fidelity.measure import all_measures, compare_measures, draw_halves, measure_table
from lob_jax.events.schema import Kind
from tests.made_flow import made_flow, random_flow


@pytest.fixture(scope="module")
def real():
    return random_flow(1, sequences=16)


@pytest.fixture(scope="module")
def compared(real):
    flipped = dataclasses.replace(real, size=np.ones_like(real.size))
    return compare_measures(real, {"same": real, "ones": flipped, "fewer": random_flow(2, sequences=6)}, splits=40)


def figures(result, model):
    return {
        (name, label): {**figure["models"][model], "real": figure["real"]}
        for name, one in result["measures"].items()
        for label, figure in one["figures"].items()
    }


def test_names_and_labels_occur_once():
    measures = all_measures()
    assert len({one.name for one in measures}) == len({one.label for one in measures}) == len(measures) >= 20


def test_a_flow_equals_itself(compared):
    for figure in figures(compared, "same").values():
        assert figure["value"] == figure["real"]
        assert figure["inside"] is not False and figure["p"] in (None, 1.0)


def test_a_planted_change_is_outside(compared):
    of_ones = figures(compared, "ones")
    assert of_ones["mean_size", "add"]["inside"] is False and of_ones["mean_size", "add"]["p"] < 0.05
    assert of_ones["kind_mix", "add"]["inside"] is True
    summary = compared["summary"]
    assert summary["ones"]["outside"] >= 3 > summary["same"]["outside"] == summary["same"]["apart"] == 0


def test_distances_stand_beside_their_floor(compared, real):
    kinds = dataclasses.replace(real, kind=np.where(real.kind == Kind.EXECUTE, Kind.ADD, real.kind).astype(np.uint8))
    distance = compare_measures(real, {"no trades": kinds}, splits=40)["measures"]["kind_mix"]["distance"]["no trades"]
    assert distance["value"] > distance["floor_high"] > distance["floor"] > 0 and not distance["inside"]
    same = compared["measures"]["kind_mix"]["distance"]["same"]
    assert same["value"] == pytest.approx(same["floor"]) and same["inside"]


def test_the_range_widens_with_fewer_sequences(compared):
    all_of_them, fewer = (figures(compared, name)["kind_mix", "add"] for name in ("same", "fewer"))
    widths = [row["high"] - row["low"] for row in (all_of_them, fewer)]
    assert widths[1] / widths[0] == pytest.approx(np.sqrt((1 + 16 / 6) / 2))


def test_halves_are_disjoint_and_of_one_size():
    halves = draw_halves(11, splits=30, rng=np.random.default_rng(0))
    assert halves.size == 5 and not (halves.first * halves.second).any()
    assert (halves.first.sum(axis=1) == 5).all() and (halves.second.sum(axis=1) == 5).all()
    assert draw_halves(11, splits=1, rng=np.random.default_rng(0), most=3).first.sum() == 3


def mean_of(total):
    return {"mean": total[:, 1] / total[:, 0]}


MEAN = measure.Measure("mean", "mean", "", sums=lambda flow: np.zeros((0, 2)), figures=mean_of)


@pytest.mark.parametrize("others", [40, 20], ids=["as many", "fewer"])
def test_as_much_equal_flow_is_outside_as_the_level_says(others):
    """Independent normal sequences: the range and the permutation test have the level that they claim."""
    rng, outside, apart = np.random.default_rng(0), [], []
    for seed in range(150):
        real, other = (np.stack([np.ones(n), rng.normal(size=n)], axis=1) for n in (40, others))
        halves = draw_halves(40, splits=60, rng=np.random.default_rng(seed))
        figure = measure._figures(MEAN, real, {"g": other}, halves)["mean"]["models"]["g"]
        outside.append(not figure["inside"])
        apart.append(measure._permuted(MEAN, real, other, draws=60, seed=seed)["mean"] <= 0.05)
    for rate in (np.mean(outside), np.mean(apart)):
        assert 0.05 - 3 * np.sqrt(0.05 * 0.95 / 150) < rate < 0.06 + 3 * np.sqrt(0.05 * 0.95 / 150)


def test_the_p_value_counts_the_observed_difference():
    assert measure._p_value(np.array([1.0, 0.5, 2.0, 1.0])) == 0.75
    assert measure._p_value(np.array([np.nan, 0.5])) is None


def test_the_seed_decides(real):
    other = random_flow(3, sequences=9)
    results = [compare_measures(real, {"g": other}, splits=10, seed=seed) for seed in (0, 0, 1)]
    assert results[0] == results[1] != results[2]


FLOWS = {
    "no ids": random_flow(4, ids=False),
    "no trades": random_flow(5, trades=False),
    "one level": random_flow(6, levels=1),
    "short": random_flow(7, length=2),
    "one sequence": random_flow(8, sequences=1),
    "one message": made_flow([(0, 1, 1, 99, 5, 1)], [(0, 3, 1, 99, 5, 1)]),
    "an empty sequence": made_flow([], [(0, 1, 1, 99, 5, 1)]),
    "no sequence": made_flow(),
    "book only": dataclasses.replace(
        random_flow(9), **{name: np.zeros_like(getattr(random_flow(9), name)) for name in ("kind", "side", "size")}
    ),
    "an empty side": dataclasses.replace(random_flow(10), book_size=np.zeros_like(random_flow(10).book_size)),
}


@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_gives_figures_or_none(name):
    usual = random_flow(11, sequences=4, length=60)
    for pair in ((usual, FLOWS[name]), (FLOWS[name], usual)):
        result = compare_measures(pair[0], {"g": pair[1]}, splits=5)
        json.dumps(result, allow_nan=False)
        console = Console(width=100, record=True, file=io.StringIO())
        console.print(measure_table(result, "g"))
        assert max(len(line.rstrip()) for line in console.export_text().splitlines()) <= 100


def test_ids_are_read_only_if_all_have_them(real):
    assert compare_measures(real, {"g": real}, splits=2)["orders"] == "by id"
    assert compare_measures(real, {"g": FLOWS["no ids"]}, splits=2)["orders"] == "by rule"


def test_progress_names_every_measure(real):
    said = []
    compare_measures(real, {}, splits=2, on_progress=lambda *step: said.append(step))
    count = len(all_measures())
    assert [step[1] for step in said] == list(range(count + 1)) and {step[2] for step in said} == {count}
