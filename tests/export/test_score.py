"""Scores without JAX: every token is scored once, by what the network says after the token before it."""

import dataclasses

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.events.halts import CLOSED
from lob_jax.events.schema import Kind
from lob_jax.export.contents import RegimeEdges
from lob_jax.export.score import score
from lob_jax.feeds.load import load_incremental_data
from lob_jax.models.inputs import Role, fields_read
from lob_jax.tokens.sets.escape import Escape
from lob_jax.tokens.vocabulary import BOS, REGIME_BASE, VOCAB_SIZE
from tests.export import sample

CONTEXT = 32
EVENTS = 60


class Forward:
    """A network that sees the newest token alone; notes what it is given."""

    def __init__(self):
        self._random, self._after, self.read = np.random.default_rng(0), {}, []

    def after(self, token):
        """Return the logits after a token, [V]."""
        if token not in self._after:
            self._after[token] = self._random.normal(0, 2, VOCAB_SIZE).astype(np.float32)
        return self._after[token]

    def __call__(self, inputs):
        self.read.append(inputs)
        return np.stack([[self.after(token) for token in row] for row in inputs["tokens"].tolist()])


def contents(**changes):
    made = sample.contents()
    settings = made.settings
    if changes.get("regime") == "prefix":
        settings = dataclasses.replace(settings, regimes=RegimeEdges((0.25, 0.5), (1.0,)))
    model = dataclasses.replace(made.model, max_seq_length=CONTEXT, **{"mask": "none", **changes})
    return dataclasses.replace(made, model=model, settings=settings)


@pytest.fixture(scope="module")
def day():
    return load_incremental_data(events=EVENTS, seed=5)


@pytest.mark.parametrize("changes", [{}, {"regime": "prefix", "n_regimes": 6}], ids=["plain", "prefix"])
def test_each_token_has_the_probability_after_the_one_before(day, changes):
    forward, given = Forward(), contents(**changes)
    found = score(given, day, forward)
    tokens = found.tokens.tolist()
    expected = []
    for before, token in zip([BOS, *tokens[:-1]], tokens, strict=True):
        logits_V = forward.after(before).astype(np.float64)
        expected.append(logits_V[token] - np.log(np.exp(logits_V).sum()))
    np.testing.assert_allclose(found.token_log_likelihood, expected, rtol=1e-9)
    events = found.token_event
    assert len(found.log_likelihood) == len(day.events) == events[-1] + 1
    np.testing.assert_allclose(found.log_likelihood[7], np.sum(np.array(expected)[events == 7]))
    names = {"tokens", *fields_read(given.model, Role.BESIDE)}
    lengths = [inputs["tokens"].shape for inputs in forward.read]
    assert all(set(inputs) == names for inputs in forward.read) and max(lengths) == (1, CONTEXT)
    assert {int(inputs["tokens"][0, 0]) >= REGIME_BASE for inputs in forward.read[:1]} == {bool(changes)}


def test_a_halt_before_the_day_excludes_its_orders(day):
    open_, closed = (score(contents(mask="book"), day, Forward(), closed=halt) for halt in (0, CLOSED))
    heads = np.r_[True, np.diff(closed.token_event) > 0]
    orders = heads & (closed.tokens // 1000 <= Kind.CROSS) & (closed.tokens >= 1000)
    assert (closed.outside[orders] == Escape.IN_A_HALT).all() and orders.sum() > EVENTS / 2
    assert not open_.outside.any() and (closed.token_log_likelihood < open_.token_log_likelihood)[orders].all()


def test_what_cannot_be_scored_is_refused(day):
    with pytest.raises(InputError, match="nothing to score"):
        score(contents(), day.part(0, 0, start=day.start), Forward())
    both_ways = {"causal": False, "latest_tokens": False, "pointer": False}
    with pytest.raises(InputError, match="does not score"):
        score(contents(**both_ways), day, Forward())
