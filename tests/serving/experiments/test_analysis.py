"""What is concluded from what is kept: verdicts, advice and reasons."""

import dataclasses
import json

import numpy as np
import pytest

from lob_jax.serving.experiments.analysis import analysed
from lob_jax.serving.experiments.results import Interval, Kept, Requests
from tests.serving.experiments.made import experiment, kept_paired, kept_split

RNG = np.random.default_rng(0)
NOISE = RNG.normal(0, 0.07, (3, 400))
SLOW = {"b": Requests(answered=1_000, slow=200, seconds=90.0)}


def test_before_anything_is_kept_nothing_is_concluded():
    nothing = Kept((), np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros((0, 2)), {})
    for design in ("paired", "split"):
        found = analysed(experiment(design), nothing)
        assert found.advice == "keep" and "too few" in found.because and not found.ratio_broken
        assert found.ratio_evidence == pytest.approx(1.0)
        arm = found.arms["b"]
        assert np.isnan(arm.nats.mean) and (arm.nats.low, arm.nats.high) == (-np.inf, np.inf)
        assert (arm.units, arm.blocks, arm.verdict) == (0, 0, "open")
        assert found.arms["a"].nats == found.arms["a"].brier == Interval(0.0, 0.0, 0.0)
        plain = found.to_json()
        assert json.loads(json.dumps(plain, allow_nan=False))["arms"]["b"]["nats"]["low"] is None


@pytest.mark.parametrize(
    ("difference", "verdict", "advice"),
    [(0.03, "better", "promote b"), (-0.03, "worse", "stop"), (0.0, "open", "keep")],
)
def test_a_paired_difference_is_found(difference, verdict, advice):
    found = analysed(experiment("paired"), kept_paired([NOISE[0] + difference]))
    arm = found.arms["b"]
    assert (arm.verdict, found.advice, arm.blocks, arm.units) == (verdict, advice, 400, 3)
    assert arm.nats.mean == pytest.approx(NOISE[0].mean() + difference)
    assert arm.nats.low < arm.nats.mean < arm.nats.high
    assert arm.brier.low < -arm.nats.mean / 4 < arm.brier.high
    assert f"{arm.nats.mean:+.4f} nats" in found.because and "400 blocks" in found.because
    assert found.arms["a"].verdict == "open" and found.arms["a"].blocks == 400


@pytest.mark.parametrize(
    ("difference", "verdict", "advice"), [(0.3, "better", "promote b"), (-0.3, "worse", "stop"), (0.0, "open", "keep")]
)
def test_a_difference_between_units_is_found(difference, verdict, advice):
    arm = (np.arange(800) * 7919 % 1013 % 2).tolist()
    score = RNG.normal(-6, 0.3, 800) + difference * np.array(arm)
    found = analysed(experiment("split"), kept_split(arm, score))
    b = found.arms["b"]
    assert (b.verdict, found.advice) == (verdict, advice)
    assert (b.units, b.blocks) == (sum(arm), sum(arm)) and found.arms["a"].blocks == 800 - sum(arm)
    assert b.nats.low < difference < b.nats.high and not found.ratio_broken


def test_the_best_of_the_better_arms_is_promoted_and_alpha_is_shared():
    columns = [NOISE[0] + 0.03, NOISE[1] + 0.08, NOISE[2] - 0.05]
    found = analysed(experiment("paired", 4), kept_paired(columns))
    assert [found.arms[name].verdict for name in "bcd"] == ["better", "better", "worse"]
    assert found.advice == "promote c" and found.because.startswith("c is better than a")
    alone = analysed(experiment("paired", 2), kept_paired(columns[:1]))
    shared = analysed(experiment("paired", 2, alpha=0.05 / 3), kept_paired(columns[:1]))
    assert found.arms["b"].nats == shared.arms["b"].nats
    assert found.arms["b"].nats.low < alone.arms["b"].nats.low


def test_blocks_without_a_score_are_left_out():
    column = NOISE[0] + 0.03
    gaps = np.where(np.arange(400) < 300, column, np.nan)
    found = analysed(experiment("paired", 3), kept_paired([column, gaps])).arms
    fewer = analysed(experiment("paired", 3), kept_paired([column[:300], column[:300]])).arms
    assert found["c"].nats == fewer["c"].nats and (found["b"].blocks, found["c"].blocks) == (400, 300)


def test_an_arm_that_has_tripped_is_not_promoted():
    found = analysed(experiment("paired", 3), kept_paired([NOISE[0] + 0.08, NOISE[1] + 0.03], SLOW))
    assert found.advice == "promote c"
    guards = found.arms["b"].guards
    assert guards["slow"].tripped and not guards["failed"].tripped and not guards["refused"].tripped
    assert guards["slow"].share == 0.2 and not any(guard.tripped for guard in found.arms["c"].guards.values())
    alone = analysed(experiment("paired"), kept_paired([NOISE[0] + 0.08], SLOW))
    assert alone.advice == "stop" and "20.00% of its requests are slow, where 5.00% are tolerated" in alone.because


def test_all_challengers_worse_or_tripped_is_a_reason_to_stop_but_not_some():
    stop = analysed(experiment("paired", 3), kept_paired([NOISE[0], NOISE[1] - 0.08], SLOW))
    assert stop.advice == "stop" and "b has tripped" in stop.because and "c is worse than a" in stop.because
    keep = analysed(experiment("paired", 3), kept_paired([NOISE[0], NOISE[1]], SLOW))
    assert keep.advice == "keep" and "b has tripped" in keep.because and "c may be better or worse" in keep.because


def test_the_control_may_trip_without_consequence():
    found = analysed(experiment("paired"), kept_paired([NOISE[0] + 0.08], {"a": SLOW["b"]}))
    assert found.arms["a"].guards["slow"].tripped and found.advice == "promote b"


@pytest.mark.parametrize("difference", [1.0, -1.0])
def test_nothing_is_concluded_where_units_do_not_have_their_arms_by_chance(difference):
    arm = (np.arange(400) % 4 == 0).astype(int)
    found = analysed(experiment("split"), kept_split(arm.tolist(), RNG.normal(-6, 0.1, 400) + difference * arm))
    assert found.ratio_broken and found.ratio_evidence > 1_000
    assert found.advice == "keep" and "nothing can be concluded" in found.because
    assert found.arms["b"].verdict in ("better", "worse")
    meant = experiment("split", weights=[3.0, 1.0])
    assert not analysed(meant, kept_split(arm.tolist(), RNG.normal(-6, 0.1, 400), (0.75, 0.25))).ratio_broken


def lost(kept, is_kept):
    """Return what is kept after the blocks of some units are lost."""
    return Kept(kept.units, kept.unit_B[is_kept], kept.nats_BA[is_kept], kept.brier_BA[is_kept], kept.requests)


def test_an_arm_that_loses_units_is_noticed_unless_its_guard_has_tripped():
    arm = np.arange(600) * 7919 % 1013 % 3
    whole = kept_split(arm.tolist(), RNG.normal(-6, 0.1, 600), (1 / 3, 1 / 3, 1 / 3))
    assert not analysed(experiment("split", 3), whole).ratio_broken
    some = lost(whole, (arm != 1) | (np.arange(600) % 2 == 0))
    assert analysed(experiment("split", 3), some).ratio_broken
    tripped = Kept(some.units, some.unit_B, some.nats_BA, some.brier_BA, SLOW)
    assert not analysed(experiment("split", 3), tripped).ratio_broken


def test_an_arm_that_its_breaker_has_taken_out_has_lost_units_for_a_reason():
    arm = np.arange(600) % 2
    some = lost(kept_split(arm.tolist(), RNG.normal(-6, 0.1, 600)), (arm == 0) | (np.arange(600) < 300))
    assert analysed(experiment("split"), some).ratio_broken
    assert not analysed(experiment("split"), dataclasses.replace(some, taken_out=frozenset("b"))).ratio_broken


def test_what_is_kept_later_does_not_change_what_was_concluded_before():
    column = NOISE[0] + 0.03
    before = analysed(experiment("paired"), kept_paired([column[:100]]))
    assert before.to_json() == analysed(experiment("paired"), kept_paired([column[:100].copy()])).to_json()
    assert before.arms["b"].nats.low < analysed(experiment("paired"), kept_paired([column])).arms["b"].nats.low


def test_identical_models_are_never_told_apart():
    found = analysed(experiment("paired"), kept_paired([np.zeros(100_000)]))
    nats = found.arms["b"].nats
    assert found.advice == "keep" and nats.low == -nats.high and nats.high < 0.01


def test_with_unequal_weights_the_bounds_hold():
    """Weights of 9 and 1, equal arms: 100 experiments, each looked at five times."""
    rng, missed = np.random.default_rng(1), 0
    split = experiment("split", weights=[9.0, 1.0])
    for _ in range(100):
        arm = (rng.random(500) < 0.1).astype(int)
        score = rng.standard_t(3, 500) * 0.1 - 6
        looks = [analysed(split, kept_split(arm[:n].tolist(), score[:n], (0.9, 0.1))) for n in (50, 100, 200, 350, 500)]
        missed += any(look.arms["b"].verdict != "open" for look in looks)
    assert missed <= 10


def test_a_bound_on_one_side_is_enough_for_a_verdict():
    found = analysed(experiment("paired"), kept_paired([np.full(50, 1.99) + NOISE[0, :50] / 100]))
    nats = found.arms["b"].nats
    assert 1.5 < nats.low < nats.mean and nats.high == np.inf
    assert found.advice == "promote b" and "between +1.9" in found.because and "+inf" in found.because


def test_experiments_in_which_all_arms_have_tripped():
    arm = np.arange(60) % 3
    requests = {name: Requests(answered=900, failed=300) for name in "abc"}
    found = analysed(experiment("split", 3), kept_split(arm.tolist(), np.full(60, -6.0), (1 / 3,) * 3, requests))
    assert found.advice == "stop" and not found.ratio_broken and np.isfinite(found.ratio_evidence)
