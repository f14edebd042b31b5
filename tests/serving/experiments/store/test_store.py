"""The database of experiments: every case in SQLite and in PostgreSQL."""

import dataclasses

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.serving.experiments.experiment import RampStep
from lob_jax.serving.experiments.results import Assignment, Decision, Requests
from lob_jax.serving.experiments.statistics.blocks import block_means
from lob_jax.serving.experiments.store.errors import Conflict, Missing
from lob_jax.serving.experiments.store.store import Store
from tests.serving.experiments.store.made import EXPERIMENT, SPLIT, outcome, same

KEEP = Decision(decision="keep", arm="", by="me", because="too early", at_s=7.25, known={"ratio_broken": False})
ODD_NAMES = ["é 東京 🙂", "a'b\"c;--%s :x {}", "x" * 200, " ", "\n"]


@pytest.fixture
def store(url):
    store = Store(url)
    yield store
    store.close()


@pytest.fixture
def trial(store):
    """Return a store with both experiments and a unit of each that takes part."""
    for experiment in (EXPERIMENT, SPLIT):
        store.create(experiment)
        store.assign(experiment, "AAPL 1", at_s=2_000.0)
    return store


def reopened(store, url):
    store.close()
    return Store(url)


def test_experiments_are_kept_as_they_are(store, url):
    ramp = (RampStep(0.0, 0.1), RampStep(3600.0, 1.0))
    later = dataclasses.replace(EXPERIMENT, name="another", created_s=1_000.75, ramp=ramp, alpha=0.1 + 0.2)
    for experiment in (later, EXPERIMENT, EXPERIMENT):
        store.create(experiment)
    again = reopened(store, url)
    assert again.experiments() == (EXPERIMENT, later) and again.experiment("another") == later
    again.close()


def test_an_experiment_does_not_change(store):
    store.create(EXPERIMENT)
    with pytest.raises(Conflict, match="another experiment of this name") as caught:
        store.create(dataclasses.replace(EXPERIMENT, block=20))
    assert "block = 10" in caught.value.expected and caught.value.was == "block = 20"
    assert store.experiment("trial") == EXPERIMENT


@pytest.mark.parametrize("name", ["none", "", "a\0b", "é"])
def test_an_experiment_that_is_not_there_is_named(store, name):
    for ask in (store.experiment, store.standing, store.decisions):
        with pytest.raises(Missing) as caught:
            ask(name)
        assert caught.value.was == name
    with pytest.raises(Missing):
        store.decide(name, KEEP)
    with pytest.raises(Missing):
        store.count(name, {})


def test_nothing_is_kept_of_an_experiment_that_is_not_there(store):
    for ask in (
        lambda: store.assign(EXPERIMENT, "u", at_s=0.0),
        lambda: store.record(EXPERIMENT, outcome("1"), at_s=0.0),
        lambda: store.kept(EXPERIMENT),
    ):
        with pytest.raises(Missing):
            ask()
    assert store.recorded(EXPERIMENT, "u", "1", "sha") is None


def test_the_first_arm_of_a_unit_lasts(store):
    store.create(SPLIT)
    first = {unit: store.assign(SPLIT, unit, at_s=2_000.0) for unit in map(str, range(30))}
    assert {one.arm for one in first.values()} == {"control", "new", "wide"}
    arms = tuple(dataclasses.replace(arm, weight=1000.0 if arm.name == "new" else 1.0) for arm in SPLIT.arms)
    changed = dataclasses.replace(SPLIT, arms=arms, salt="other", ramp=(RampStep(0.0, 0.0),))
    assert {unit: store.assign(changed, unit, at_s=2_000.0) for unit in first} == first
    assert store.kept(SPLIT).units == tuple(first.values())


def test_units_that_do_not_take_part_are_kept_apart(store):
    closed = dataclasses.replace(EXPERIMENT, ramp=(RampStep(100.0, 1.0),))
    store.create(closed)
    early = store.assign(closed, "early", at_s=1_000.5 + 99.0)
    assert early == Assignment(unit="early", arm="control", enrolled=False, chance=1.0)
    assert store.assign(closed, "late", at_s=1_000.5 + 100.0).enrolled
    assert store.assign(closed, "early", at_s=5_000.0) == early
    one = store.record(closed, outcome("1", unit="early", events=25, arms=("control",)), at_s=0.0)
    assert one.events == 25 and store.record(closed, outcome("1", unit="early", events=25), at_s=0.0).before
    kept = store.kept(closed)
    assert [unit.unit for unit in kept.units] == ["late"] and len(kept.unit_B) == 0


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_are_texts(store, name):
    store.create(EXPERIMENT)
    assert store.assign(EXPERIMENT, name, at_s=2_000.0).unit == name
    new = store.record(EXPERIMENT, outcome(name, unit=name, digest=name), at_s=0.0)
    assert (new.unit, new.outcome) == (name, name)
    assert store.recorded(EXPERIMENT, name, name, name) == dataclasses.replace(new, before=True)


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", "x" * 201])
def test_what_no_database_takes_is_refused(trial, name):
    with pytest.raises(InputError, match="cannot be kept"):
        trial.assign(EXPERIMENT, name, at_s=0.0)
    for changes in ({"unit": name}, {"outcome": name}, {"digest": name}):
        sent = dataclasses.replace(outcome("1"), **changes)
        with pytest.raises(InputError, match="cannot be kept"):
            trial.record(EXPERIMENT, sent, at_s=0.0)
        with pytest.raises(InputError, match="cannot be kept"):
            trial.recorded(EXPERIMENT, sent.unit, sent.outcome, sent.digest)
    if name and len(name) < 9:
        with pytest.raises(InputError, match="cannot be kept"):
            trial.decide("trial", dataclasses.replace(KEEP, because=name))


def test_an_outcome_is_kept_once(trial, url):
    sent = outcome("1", events=7)
    new = trial.record(EXPERIMENT, sent, at_s=1.0)
    assert (new.unit, new.outcome, new.events, new.first, new.before) == ("AAPL 1", "1", 7, 0, False)
    assert new.nats == {arm: scores.mean() for arm, scores in sent.nats.items()}
    assert new.brier == {arm: scores.mean() for arm, scores in sent.brier.items()}
    second = trial.record(EXPERIMENT, outcome("2", events=5), at_s=2.0)
    assert second.first == 7
    again = reopened(trial, url)
    assert again.record(EXPERIMENT, sent, at_s=3.0) == dataclasses.replace(new, before=True)
    assert again.recorded(EXPERIMENT, "AAPL 1", "1", "sha256:1") == dataclasses.replace(new, before=True)
    assert again.record(EXPERIMENT, outcome("3", events=1), at_s=4.0).first == 12
    assert len(again.kept(EXPERIMENT).unit_B) == 1
    again.close()


def test_another_outcome_of_the_same_name_is_refused(trial):
    trial.record(EXPERIMENT, outcome("1", events=9), at_s=1.0)
    for ask in (
        lambda: trial.record(EXPERIMENT, outcome("1", events=9, digest="other"), at_s=2.0),
        lambda: trial.recorded(EXPERIMENT, "AAPL 1", "1", "other"),
    ):
        with pytest.raises(Conflict, match="another outcome of this name"):
            ask()
    assert trial.record(EXPERIMENT, outcome("2"), at_s=2.0).first == 9
    trial.assign(EXPERIMENT, "AAPL 2", at_s=0.0)
    assert not trial.record(EXPERIMENT, outcome("1", unit="AAPL 2", digest="other"), at_s=2.0).before


def test_an_outcome_of_a_unit_without_an_arm_is_refused(trial):
    with pytest.raises(Missing, match="no arm yet"):
        trial.record(EXPERIMENT, outcome("1", unit="unknown"), at_s=0.0)
    assert trial.recorded(EXPERIMENT, "unknown", "1", "sha") is None


def test_blocks_run_across_outcomes(trial):
    trial.assign(EXPERIMENT, "B", at_s=2_000.0)
    sizes = [4, 5, 3, 1, 30, 2, 5, 10, 1, 9, 1]
    sent = [(unit, outcome(f"{index}", unit=unit, events=size)) for index, size in enumerate(sizes) for unit in "AB"]
    sent = [(unit, dataclasses.replace(one, unit={"A": "AAPL 1", "B": "B"}[unit])) for unit, one in sent]
    for _, one in sent:
        trial.record(EXPERIMENT, one, at_s=0.0)
    kept = trial.kept(EXPERIMENT)
    assert kept.nats_BA.dtype == kept.brier_BA.dtype == np.float64 and kept.unit_B.dtype == np.int64
    assert kept.unit_B.tolist() == [0, 1, 0, 0, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1]
    for place, unit in enumerate("AB"):
        whole = {
            key: {arm: np.concatenate([getattr(one, key)[arm] for of, one in sent if of == unit]) for arm in ARMS}
            for key in ("nats", "brier")
        }
        nats_BA = block_means(EXPERIMENT, whole["nats"], clip=0.75)
        brier_BA = block_means(EXPERIMENT, whole["brier"], clip=None)
        assert len(nats_BA) == 7
        np.testing.assert_array_equal(kept.nats_BA[kept.unit_B == place], nats_BA)
        np.testing.assert_array_equal(kept.brier_BA[kept.unit_B == place], brier_BA)
    assert np.abs(kept.nats_BA[:, 1:]).max() <= 0.75 and np.ptp(kept.nats_BA) > 0


ARMS = [arm.name for arm in EXPERIMENT.arms]


def test_a_unit_of_a_split_experiment_is_observed_once_and_on_its_own_arm(store):
    store.create(SPLIT)
    units = [store.assign(SPLIT, f"{number}", at_s=2_000.0) for number in range(12)]
    sent = {
        unit.unit: [outcome(f"{n}", unit=unit.unit, events=7, arms=(unit.arm,)) for n in range(6)] for unit in units
    }
    for number in range(6):
        for unit in units:
            store.record(SPLIT, sent[unit.unit][number], at_s=0.0)
    kept = store.kept(SPLIT)
    assert kept.units == tuple(units) and kept.unit_B.tolist() == list(range(12))
    for unit, nats_A, brier_A in zip(units, kept.nats_BA, kept.brier_BA, strict=True):
        own = ARMS.index(unit.arm)
        assert np.isnan(np.delete(nats_A, own)).all() and np.isnan(np.delete(brier_A, own)).all()
        for key, found in (("nats", nats_A[own]), ("brier", brier_A[own])):
            events = np.concatenate([getattr(one, key)[unit.arm] for one in sent[unit.unit]])
            assert found == events[3:10].mean()


def test_impossible_events_count_as_the_limit(trial):
    one = outcome("1", events=10)
    nats = {arm: np.where(np.arange(10) == 5, -np.inf if arm == "new" else -1.0, -1.0) for arm in ARMS}
    assert trial.record(EXPERIMENT, dataclasses.replace(one, nats=nats), at_s=0.0).nats["new"] == -np.inf
    assert trial.kept(EXPERIMENT).nats_BA.tolist() == [[0.0, -0.75 / 7, 0.0]]


@pytest.mark.parametrize(
    "arms", [("new",), ("new", "wide"), ("control", "new", "wide", "fourth"), (), ("control", "new", "x")]
)
def test_scores_of_other_arms_are_refused(trial, arms):
    with pytest.raises(InputError, match="not those of the arms") as caught:
        trial.record(EXPERIMENT, outcome("1", arms=arms), at_s=0.0)
    assert caught.value.expected == "control, new, wide"
    own = trial.assign(SPLIT, "AAPL 1", at_s=0.0).arm
    for wrong in (arms, ("control", "new", "wide")):
        if wrong != (own,):
            with pytest.raises(InputError, match="not those of the arms"):
                trial.record(SPLIT, outcome("1", arms=wrong), at_s=0.0)
    assert trial.recorded(EXPERIMENT, "AAPL 1", "1", "sha256:1") is None


@pytest.mark.parametrize("wrong", ["none", "shorter", "nan", "inf", "brier", "matrix", "other arms"])
def test_scores_that_are_none_are_refused(trial, wrong):
    one = outcome("1", events=0 if wrong == "none" else 3)
    values = {"shorter": [1.0, 2.0], "nan": [1.0, np.nan, 2.0], "inf": [1.0, np.inf, 2.0], "matrix": [[1.0, 2.0, 3.0]]}
    if wrong in values:
        one.nats["new"] = np.array(values[wrong])
    if wrong == "brier":
        one.brier["new"] = np.array([1.0, -np.inf, 1.0])
    if wrong == "other arms":
        del one.brier["new"]
    with pytest.raises(InputError, match="scores of an outcome"):
        trial.record(EXPERIMENT, one, at_s=0.0)
    assert trial.recorded(EXPERIMENT, "AAPL 1", "1", "sha256:1") is None


def test_requests_are_summed_by_arm(trial):
    one = Requests(answered=10, slow=2, failed=1, refused=3, seconds=1.5)
    trial.count("trial", {"new": one, "control": Requests(answered=1)})
    trial.count("trial", {"new": one})
    trial.count("trial", {})
    assert trial.kept(EXPERIMENT).requests == {
        "control": Requests(answered=1),
        "new": Requests(answered=20, slow=4, failed=2, refused=6, seconds=3.0),
        "wide": Requests(),
    }
    assert trial.kept(SPLIT).requests["new"] == Requests()
    with pytest.raises(InputError, match="no such arm"):
        trial.count("trial", {"control": one, "fourth": one})
    assert trial.kept(EXPERIMENT).requests["control"] == Requests(answered=1)


def test_decisions_are_kept_in_their_order(trial, url):
    trip, resume = (dataclasses.replace(KEEP, decision=name, arm="new", by="server") for name in ("trip", "resume"))
    known = {"arms": {"new": {"nats": {"mean": 0.1 + 0.2, "low": None}}}, "because": "é"}
    promote = dataclasses.replace(KEEP, decision="promote", arm="new", known=known)
    assert trial.decide("trial", KEEP) == trial.standing("trial")
    assert trial.decide("trial", trip).tripped == {"new"}
    assert trial.standing("trial").status == "running" and trial.standing("split").tripped == frozenset()
    assert trial.decide("trial", dataclasses.replace(trip, by="another server")).tripped == {"new"}
    with pytest.raises(Conflict, match="resume the arm first"):
        trial.decide("trial", promote)
    assert trial.decide("trial", resume).tripped == frozenset()
    end = trial.decide("trial", promote)
    assert (end.status, end.winner) == ("promoted", "new")
    again = reopened(trial, url)
    assert again.decisions("trial") == (KEEP, trip, resume, promote) and again.decisions("split") == ()
    assert again.standing("trial") == end
    with pytest.raises(Conflict, match="was promoted"):
        again.decide("trial", KEEP)
    again.close()


@pytest.mark.slow
def test_both_databases_keep_the_same(postgres, tmp_path):
    found = []
    for url in (f"sqlite:///{tmp_path / 'a.db'}", postgres.database()):
        store = Store(url)
        for experiment in (EXPERIMENT, SPLIT):
            store.create(experiment)
            for number in range(40):
                unit = store.assign(experiment, f"{number % 7}", at_s=2_000.0 + number)
                arms = ARMS if experiment.design == "paired" else (unit.arm,)
                sent = outcome(f"{number // 7}", unit=unit.unit, events=1 + number * 5 % 13, arms=arms)
                found.append(store.record(experiment, sent, at_s=float(number)))
                store.count(experiment.name, {"new": Requests(answered=number, seconds=0.1 * number)})
            found.append(store.kept(experiment))
        store.close()
    half = len(found) // 2
    for one, other in zip(found[:half], found[half:], strict=True):
        assert one == other if not hasattr(one, "nats_BA") else same(one, other) and len(one.unit_B) >= 5
