"""Requests to an engine and its answers as JSON: what the routes' own tests with a stub do not reach."""

import numpy as np
import pytest

from lob_jax.events.schema import Code, Kind
from lob_jax.generation.fan import Fan
from lob_jax.serving import requests
from lob_jax.serving.http import described, translate
from lob_jax.serving.http.translate import Terms
from lob_jax.serving.stub import stub_facts
from lob_jax.serving.units import Units
from tests.serving.settings import limits


@pytest.fixture(scope="module")
def terms():
    facts = stub_facts("a")
    return Terms(facts, Units(100, 4, signed=False), limits(), "alice")


def test_a_session_is_known_by_its_model_and_its_engines_id(terms):
    assert translate.public_id("a.b", "x~y") == "a.b~x~y"
    assert translate.in_session("a.b~x~y", terms) == requests.InSession("x~y", "alice")


def test_a_state_without_quotes(terms):
    state = requests.SessionState("x", 0, 5, None, (201, 6), closed=2, tokens=0, seconds_left=float("inf"))
    found = translate.state_json(state, terms)
    described.SessionState.model_validate(found, strict=True)
    assert (found["bid"], found["ask"]) == (None, {"price": "2.01", "size": "1.5"})
    assert (found["closed"], found["seconds_left"]) == ("trading_and_quoting", None)


def test_heads_of_every_kind(terms):
    halt = requests.Head(int(Kind.CONTROL), int(Code.HALT), 0, (0, 0), 0.25)
    far = requests.Head(int(Kind.EXECUTE), 0, -1, (100, 150), float("nan"))
    kinds = ((int(Kind.CONTROL), 0, 0.25), (int(Kind.EXECUTE), -1, 0.75))
    found = translate.prediction_json(requests.Prediction((halt, far), kinds, 1.0), terms)
    described.Prediction.model_validate({**found, "seconds": {}}, strict=True)
    control, execute = found["heads"]
    assert (control["kind"], control["code"], control["side"], control["price"]) == ("control", "halt", None, None)
    assert (execute["kind"], execute["code"], execute["side"]) == ("execute", None, "ask")
    assert (execute["price"], execute["probability"]) == ({"low": "1", "high": "1.5"}, None)


def test_volumes_are_in_units_of_the_market(terms):
    values = np.full((2, 1), 6.0)
    each = {name: np.array([[6.0, np.nan]]) for name in ("mid", "spread", "volume", "volatility")}
    fan = Fan("events", np.arange(2.0), np.array([0.5]), np.array([30, 30]), values, values, values, values, each)
    assert translate.fan_json(fan, terms)["volume"] == [[6.0], [6.0]]  # the instrument of the stub has lots of one
    few = Fan("events", np.arange(2.0), np.array([0.5]), np.array([1, 0]), values, values, values, values, each)
    found = translate.fan_json(few, terms)
    assert found["volume"] == [[None], [None]] and found["each_path"]["volume"] == [[6.0, None]]
    assert translate._divided([[6, None]], 4) == [[1.5, None]]


def test_likelihoods_that_json_does_not_have(terms):
    columns = {name: (0.5, 0.25) for name in ("brier", "chance", "likelier", "entropy_bits")}
    scored = requests.Scored((-1.0, -np.inf), ("", "price"), **columns, removed=(0.0, np.nan))
    found = translate.scored_json(scored, terms)
    described.Scored.model_validate({**found, "seconds": {}}, strict=True)
    assert (found["nats"], found["outside"], found["removed"]) == ([-1.0, None], ["", "price"], [0.0, None])
    assert all(found[name] == list(column) for name, column in columns.items())
