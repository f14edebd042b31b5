"""Assignment: sticky, by weights, and monotone along the ramp."""

import json
import pathlib
from collections import Counter

import hypothesis
import hypothesis.strategies as st
import pytest

from lob_jax.serving.experiments.assignment import assigned, share_at
from lob_jax.serving.experiments.experiment import RampStep
from lob_jax.serving.experiments.results import Assignment
from tests.serving.experiments.made import experiment

GOLDEN = json.loads((pathlib.Path(__file__).resolve().parents[2] / "golden" / "assignments.json").read_text())
RAMP = (RampStep(0.0, 0.1), RampStep(60.0, 0.5), RampStep(120.0, 1.0))


def test_golden_vectors_are_what_units_get():
    shares, weights, chances = (GOLDEN[key] for key in ("shares", "weights", "chances"))
    for one in GOLDEN["units"]:
        if not one["salt"]:
            continue  # of the hash alone: no experiment has an empty salt
        for place, parts in enumerate(weights):
            if max(parts) > 1e6 * min(parts):
                continue
            ramp = tuple(RampStep(10.0 * step, share) for step, share in enumerate(shares))
            split = experiment("split", len(parts), parts, salt=one["salt"], ramp=ramp, created_s=5.0)
            for step, is_in in enumerate(one["enrolled"]):
                index = one["chosen"][place] if is_in else 0
                chance = chances[place][index] if is_in else 1.0
                expected = Assignment(one["unit"], split.arms[index].name, is_in, chance)
                assert assigned(split, one["unit"], at_s=5.0 + 10.0 * step) == expected


def test_shares_of_units_are_those_of_the_weights():
    split = experiment("split", 3, [5.0, 3.0, 2.0])
    counts = Counter(assigned(split, f"u{number}", at_s=1000.0).arm for number in range(20_000))
    assert [abs(counts[name] / 20_000 - share) < 0.015 for name, share in zip("abc", (0.5, 0.3, 0.2), strict=True)] == [
        True
    ] * 3


def test_whoever_takes_part_stays_and_keeps_the_arm():
    split = experiment("split", 2, ramp=RAMP)
    before = {}
    counts = []
    for at_s in (999.0, 1000.0, 1059.9, 1060.0, 1119.9, 1120.0, 9e9):
        now = {unit: assigned(split, unit, at_s=at_s) for unit in map(str, range(2_000))}
        inside = {unit: one.arm for unit, one in now.items() if one.enrolled}
        assert before.items() <= inside.items()
        assert all(one.arm == "a" and one.chance == 1.0 for one in now.values() if not one.enrolled)
        before = inside
        counts.append(len(inside) / 2_000)
    assert counts == pytest.approx([0, 0.1, 0.1, 0.5, 0.5, 1, 1], abs=0.03)


def test_the_ramp_begins_with_its_first_step():
    ramp = (RampStep(60.0, 0.5), RampStep(60.0, 0.75))
    assert [share_at(experiment(ramp=ramp), at_s) for at_s in (1000.0, 1059.0, 1060.0)] == [0.0, 0.0, 0.75]
    assert share_at(experiment(), 0.0) == 1.0


@hypothesis.given(st.text(), st.floats(0, 1e10))
def test_in_the_paired_design_the_control_answers(unit, at_s):
    found = assigned(experiment("paired", 3, [1.0, 5.0, 2.0], ramp=RAMP), unit, at_s=at_s)
    assert (found.arm, found.chance, found.unit) == ("a", 1.0, unit)


@hypothesis.given(st.text(min_size=1), st.text(), st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=8))
def test_the_chance_is_the_share_of_the_weight(salt, unit, weights):
    split = experiment("split", len(weights), weights, salt=salt)
    found = assigned(split, unit, at_s=1000.0)
    assert found.chance == pytest.approx(split.arm(found.arm).weight / sum(weights)) and found.enrolled
    assert found == assigned(split, unit, at_s=5e9)


def test_another_salt_draws_anew():
    arms = [[assigned(experiment("split", salt=salt), f"u{n}", at_s=1e3).arm for n in range(2_000)] for salt in "xy"]
    assert abs(sum(one == other for one, other in zip(*arms, strict=True)) / 2_000 - 0.5) < 0.05
