"""Scores as an engine answers them: the reasons of events outside the book, and kinds as they are predicted."""

import dataclasses

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.evaluation.likelihood.event_scores import event_scores
from lob_jax.evaluation.likelihood.kinds import KindScores
from lob_jax.events.schema import Kind
from lob_jax.export.decoder import session
from lob_jax.export.generate import forward_of
from lob_jax.export.graphs import forward_graph
from lob_jax.export.score import score
from lob_jax.generation.prompt import ANY_SIZES
from lob_jax.serving.engine.open import scored_history
from lob_jax.serving.engine.warm_up import ask
from lob_jax.serving.predict.scored import scored
from lob_jax.serving.requests import Predict, Score, Scored
from lob_jax.tokens.sets.escape import Escape
from lob_jax.tokens.vocabulary import BOS, VOCAB_SIZE
from tests.serving.engine.engines import MODELS, beginning, history_of, params_of, serving, tokenizer_of
from tests.serving.market.markets import contents_of, days

EVENTS = 16  # whose tokens fit into a context


def test_an_event_has_its_sum_its_first_reason_and_its_kind():
    tokens = np.array([1000, 8005, 9100, 3000, 8005, 9100, 4000, 8001, 9100], np.uint16)
    outside = np.zeros(9, np.uint8)
    outside[4], outside[5], outside[6] = Escape.NO_SUCH_ORDER, Escape.TIME_BACK, Escape.BEHIND_THE_BEST
    chance_EK = np.zeros((3, 13))
    chance_EK[:, [0, 4, 6]] = [0.5, 0.25, 0.25]
    kinds = KindScores(chance_EK, np.array([0, 4, 6]), np.arange(3.0), np.array([0.25, 0.0, 0.5]))
    found = scored(event_scores(tokens, -np.arange(9.0), outside, events=3, kinds=kinds))
    assert found == Scored(
        nats=(-3.0, -12.0, -21.0),
        outside=("", "NO_SUCH_ORDER", "BEHIND_THE_BEST"),
        brier=(0.375, 0.875, 0.875),
        chance=(0.5, 0.25, 0.25),
        likelier=(0.0, 0.5, 0.5),
        entropy_bits=(0.0, 1.0, 2.0),
        removed=(0.25, 0.0, 0.5),
    )


def with_mask(name, mask):
    return dataclasses.replace(MODELS[name], mask=mask)


def network_of(name):
    return forward_of(session(forward_graph(params_of(name), MODELS[name]).SerializeToString(), threads=1))


def without_bos(network):
    """Return a network that does not read the BOS before a day, as it is not in the context of a market."""

    def forward(inputs):
        (kept,) = np.nonzero(inputs["tokens"][0] != BOS)
        logits_BTV = network({name: array[:, kept] for name, array in inputs.items()})
        found = np.zeros((1, inputs["tokens"].shape[1], VOCAB_SIZE), np.float32)
        found[:, kept] = logits_BTV
        return found

    return forward


def kind_chances(name, mask, market):
    """Return what a model says of the kind and side of each event, where nothing escapes."""
    contents = contents_of(market, tokenizer_of(name), with_mask(name, mask))
    assert not contents.escapes.any()
    return score(contents, beginning(market, EVENTS), without_bos(network_of(name))).kinds.chance_EK


def kinds_of(prediction):
    """Return the probabilities of a prediction in the order of scores."""
    assert [(kind, side) for kind, side, _ in prediction.kinds] == [
        *((kind, side) for kind in range(1, 7) for side in (1, -1)),
        (7, 0),
    ]
    return np.array([chance for *_, chance in prediction.kinds])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "day"), [*((name, "orders") for name in MODELS), ("by time", "window")])
def test_kinds_are_those_that_are_predicted_where_nothing_escapes(name, day):
    """But for CONTROL codes that are not halts, which are never generated."""
    market = days()[day]
    chance_EK = kind_chances(name, "book", market)
    with serving(name, day, mask="book", largest=ANY_SIZES) as (engine, _):
        for event in (3, 9, EVENTS - 1):
            expected = kinds_of(ask(engine, Predict(history_of(market, event), heads=0)))
            orders = chance_EK[event, :-1]
            np.testing.assert_allclose(orders / orders.sum(), expected[:-1] / expected[:-1].sum(), rtol=1e-4)
            assert 0 < expected[-1] < chance_EK[event, -1] < 0.2


@pytest.mark.parametrize("name", ["learned", "compact"])
def test_without_the_books_mask_kinds_are_predicted_in_the_grammar_and_sides_in_the_book(name):
    market = days()["orders"]
    chance_EK = kind_chances(name, "grammar", market)
    with serving(name, mask="grammar", largest=ANY_SIZES) as (engine, _):
        predicted = kinds_of(ask(engine, Predict(history_of(market, EVENTS - 1), heads=0)))
    one, other = (chances[:-1].reshape(-1, 2) for chances in (chance_EK[-1], predicted))
    assert (other > 0).all() and np.abs(one - other).max() > 1e-3
    np.testing.assert_allclose(one.sum(1) / one.sum(), other.sum(1) / other.sum(), rtol=1e-4)


def test_a_history_is_scored_from_an_event_on():
    market, name = days()["orders"], "by time"
    contents, network = contents_of(market, tokenizer_of(name), with_mask(name, "book")), network_of(name)
    whole, some = (
        scored_history(Score(history_of(market, EVENTS), first), contents, forward=network) for first in (0, 11)
    )
    assert len(whole.nats) == EVENTS and min(whole.nats) < 0
    for field in dataclasses.fields(Scored):
        assert getattr(some, field.name) == getattr(whole, field.name)[11:], field.name
    with pytest.raises(InputError, match="nothing to score"):
        scored_history(Score(history_of(market, EVENTS), EVENTS), contents, forward=network)
    kinds = market.events.kind[:EVENTS]
    assert Kind.ADD in kinds and all(0 < chance < 1 for chance in whole.chance)
