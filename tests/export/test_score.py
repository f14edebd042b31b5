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
from lob_jax.tokens.registry import tokenizer_for
from lob_jax.tokens.sets.escape import Escape
from lob_jax.tokens.sets.shares import share_table
from lob_jax.tokens.states import kinds_along, states_along
from lob_jax.tokens.vocabulary import BOS, FIELD_HEAD, REGIME_BASE, VOCAB_SIZE, field_of
from tests.export import sample
from tests.generation.market import COMPACT

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


def contents(*, tokenizer=None, **changes):
    made = sample.contents()
    settings = made.settings
    if changes.get("regime") == "prefix":
        settings = dataclasses.replace(settings, regimes=RegimeEdges((0.25, 0.5), (1.0,)))
    if tokenizer is not None:
        made = dataclasses.replace(made, vocabulary=tokenizer.vocabulary)
        changes = {"pointer": False, **changes}
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


@pytest.mark.parametrize("tokenizer", [None, COMPACT], ids=["exact", "compact"])
@pytest.mark.parametrize("mask", ["book", "grammar", "none"])
def test_kinds_have_the_probabilities_of_the_first_tokens_of_events(day, mask, tokenizer):
    """By the definition of `lob_jax.models.masking`, from sets and states of the day's own tokens."""
    forward, given = Forward(), contents(mask=mask, tokenizer=tokenizer)
    found = score(given, day, forward)
    words = tokenizer_for(given.vocabulary)
    sets, grammar = words.sets(found.tokens, day), words.grammar
    states, kinds = states_along(grammar, found.tokens), kinds_along(found.tokens)
    escape_SKC = share_table(grammar, given.escapes).astype(np.float64)
    first = np.flatnonzero(np.diff(found.token_event, prepend=-1))
    token_V = np.arange(VOCAB_SIZE)
    kind_V = np.where(token_V < 1000, 12, 2 * (token_V // 1000 - 1) + token_V % 1000 // 500)
    begins_V = field_of(token_V) == FIELD_HEAD
    for event, at in enumerate(first.tolist()):
        logits_V = forward.after(int(found.tokens[at - 1]) if at else BOS).astype(np.float64)
        grammar_V = grammar.allowed[states[at]]
        book_V = grammar_V & sets.contains(np.full(VOCAB_SIZE, at), token_V)
        g, b, everything = (
            np.exp(logits_V) * allowed_V / (np.exp(logits_V) * allowed_V).sum()
            for allowed_V in (grammar_V, book_V, np.ones(VOCAB_SIZE))
        )
        e_V = np.repeat(escape_SKC[states[at], kinds[at]], 1000)
        chance_V = {"book": (1 - (e_V * g).sum()) * b + e_V * g, "grammar": g, "none": everything}[mask]
        assert np.isclose(np.log(chance_V[found.tokens[at]]), found.token_log_likelihood[at], rtol=1e-8)
        chance_V = chance_V * begins_V / (chance_V * begins_V).sum()
        sums = np.bincount(kind_V[begins_V], chance_V[begins_V], minlength=13)
        np.testing.assert_allclose(found.kinds.chance_EK[event], sums, rtol=1e-8)
        assert found.kinds.came[event] == kind_V[found.tokens[at]]
        removed = 1 - (np.exp(logits_V) * (book_V & begins_V)).sum() / (np.exp(logits_V) * (grammar_V & begins_V)).sum()
        assert np.isclose(found.kinds.removed[event], removed, rtol=1e-8) and removed > 0.1
    assert len(first) == len(day.events) == len(found.kinds.entropy_bits)


def test_events_from_one_on_have_the_scores_of_all_and_those_before_are_only_read(day):
    """The network of the test sees one token; so what is before does not change its scores."""
    given, forward, read = contents(mask="book"), Forward(), []
    whole = score(given, day, forward)
    last = len(day.events) - 1
    for first in (1, 30, last):
        forward.read.clear()
        found = score(given, day, forward, first=first)
        tokens = np.flatnonzero(whole.token_event >= first)
        np.testing.assert_array_equal(found.log_likelihood, whole.log_likelihood[first:])
        np.testing.assert_array_equal(found.token_event, whole.token_event[tokens] - first)
        for name in ("tokens", "token_log_likelihood", "outside"):
            np.testing.assert_array_equal(getattr(found, name), getattr(whole, name)[tokens])
        for name in ("chance_EK", "came", "entropy_bits", "removed"):
            np.testing.assert_array_equal(getattr(found.kinds, name), getattr(whole.kinds, name)[first:])
        before = forward.read[0]["tokens"].shape[1] - np.flatnonzero(found.token_event == 0)[-1]
        read.append(len(forward.read))
        assert first == 1 or before >= CONTEXT // 2
    assert read[0] > read[1] > read[2] == 1


def test_what_cannot_be_scored_is_refused(day):
    for first in (len(day.events), -1):
        with pytest.raises(InputError, match="nothing to score") as refused:
            score(contents(), day, Forward(), first=first)
        assert refused.value.was == first
    with pytest.raises(InputError, match="nothing to score"):
        score(contents(), day.part(0, 0, start=day.start), Forward())
    both_ways = {"causal": False, "latest_tokens": False, "pointer": False}
    with pytest.raises(InputError, match="does not score"):
        score(contents(**both_ways), day, Forward())
