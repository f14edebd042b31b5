"""How an experiment stands after decisions, and which ones it allows."""

import itertools

import pytest

from lob_jax.errors import InputError
from lob_jax.serving.experiments.results import Decision
from lob_jax.serving.experiments.store.errors import Conflict
from lob_jax.serving.experiments.store.standing import check_decision, standing_of
from tests.serving.experiments.store.made import EXPERIMENT


def decision(text, **known):
    name, _, arm = text.partition(" ")
    return Decision(decision=name, arm=arm, by="me", because="why", at_s=0.0, known=known)


def standing(*decisions):
    return standing_of(EXPERIMENT, [decision(text) for text in decisions])


@pytest.mark.parametrize(
    ("decisions", "status", "winner", "tripped"),
    [
        ([], "running", "control", set()),
        (["keep", "keep new"], "running", "control", set()),
        (["trip new", "trip wide"], "running", "control", {"new", "wide"}),
        (["trip new", "trip wide", "resume new"], "running", "control", {"wide"}),
        (["trip new", "promote wide"], "promoted", "wide", {"new"}),
        (["stop"], "stopped", "control", set()),
    ],
)
def test_decisions_change_how_it_stands(decisions, status, winner, tripped):
    found = standing(*decisions)
    assert (found.status, found.winner, found.tripped) == (status, winner, tripped)


@pytest.mark.parametrize(
    ("before", "text"),
    [([], "keep"), ([], "stop"), ([], "promote new"), ([], "trip new"), (["trip new"], "resume new")],
)
def test_what_is_allowed(before, text):
    check_decision(EXPERIMENT, standing(*before), decision(text))


@pytest.mark.parametrize(
    ("text", "where"),
    [("approve", "decision"), ("promote control", "arm"), ("trip control", "arm"), ("resume control", "arm")]
    + [("stop new", "arm")],
)
def test_what_is_no_decision(text, where):
    with pytest.raises(InputError) as caught:
        check_decision(EXPERIMENT, standing(), decision(text))
    assert not isinstance(caught.value, Conflict) and caught.value.where == f"decision.{where}"


@pytest.mark.parametrize("text", ["promote", "promote x", "trip", "resume", "keep x"])
def test_an_arm_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="no such arm"):
        check_decision(EXPERIMENT, standing(), decision(text))


@pytest.mark.parametrize("because", ["", " \n"])
def test_a_decision_has_a_reason(because):
    with pytest.raises(InputError, match="because"):
        check_decision(EXPERIMENT, standing(), Decision("keep", "", "me", because, 0.0, {}))


@pytest.mark.parametrize(
    ("end", "text"),
    [*itertools.product(["stop", "promote wide"], ["keep", "stop", "promote wide", "trip new", "resume new"])],
)
def test_nothing_is_decided_after_the_end(end, text):
    with pytest.raises(Conflict, match="has ended"):
        check_decision(EXPERIMENT, standing("trip new", end), decision(text))


def test_nothing_is_promoted_while_the_ratio_is_broken():
    with pytest.raises(Conflict, match="weights") as caught:
        check_decision(EXPERIMENT, standing(), decision("promote new", ratio_broken=True))
    assert "new salt" in caught.value.remedy
    check_decision(EXPERIMENT, standing(), decision("stop", ratio_broken=True))


def test_an_arm_with_an_open_breaker_is_not_promoted_and_one_with_a_closed_one_not_resumed():
    with pytest.raises(Conflict, match="is open"):
        check_decision(EXPERIMENT, standing("trip new"), decision("promote new"))
    with pytest.raises(Conflict, match="is not open"):
        check_decision(EXPERIMENT, standing("trip new"), decision("resume wide"))
