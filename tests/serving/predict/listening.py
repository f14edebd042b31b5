"""Predictions with a made-up network, and what they must be: by the definition of the sampler, in plain NumPy."""

import dataclasses

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.generation.host.given import drawable
from lob_jax.serving.predict.prediction import predicted
from lob_jax.tokens import vocabulary as v
from tests.generation.host.test_paths import read
from tests.generation.market import INSTRUMENT, MODEL, START, TOKENIZER

BOOK = dataclasses.replace(  # of which one price has two orders, with ranks
    START,
    side=np.array([1, 1, 1, -1, -1], np.int8),
    price=np.array([9_900, 9_900, 9_800, 10_100, 10_300]),
    size=np.array([30, 30, 400, 250, 1_200]),
    order_id=np.zeros(5, np.uint64),
    anonymous=np.zeros(5, bool),
)
MASKED = dataclasses.replace(MODEL, mask="book")
FIRST = "first"  # stands for the token before the first one


class Network:
    """Logits that depend on the token before alone; drawn once for each, and larger for some.

    Attributes:
      read: the inputs that it was given.
    """

    def __init__(self, *, raised=(), spread=2.0, seed=1):
        self._random, self._spread = np.random.default_rng(seed), spread
        self._raised, self._known = dict(raised), {}
        self.read = []

    def after(self, token):
        """Return the logits after a token, [V]."""
        if token not in self._known:
            logits_V = (self._random.normal(size=v.VOCAB_SIZE) * self._spread).astype(np.float32)
            for more, by in self._raised.items():
                logits_V[more] += by
            self._known[token] = logits_V
        return self._known[token]

    def __call__(self, inputs):
        self.read.append(inputs)
        return np.stack([self.after(int(token)) for token in inputs["tokens"][:, 0]])


def prompt_of(tokenizer=TOKENIZER, **changes):
    return read(BOOK, tokenizer, **changes)


def prediction(network, prompt, *, model=MASKED, tokenizer=TOKENIZER, heads=3, most=20):
    """Return the prediction of a network."""
    how = {"model": model, "tokenizer": tokenizer, "instrument": INSTRUMENT, "heads": heads, "most": most}
    work = predicted(prompt, network.after(FIRST), **how)
    try:
        inputs = next(work)
        while True:
            inputs = work.send(network(inputs))
    except StopIteration as end:
        return end.value


def chances(logits_V, grammar_V, book_V, *, kinds_first=False):
    """Return the probability of each token: a number goes on or not, then the class, then the token within it."""
    weight_V = np.exp(logits_V.astype(np.float64) - logits_V.max())
    of_V = np.arange(v.VOCAB_SIZE) // v.CLASS_SIZE
    grammar_C, book_C = (np.bincount(of_V, weight_V * mask, minlength=10) for mask in (grammar_V, book_V))
    class_C = book_C.copy()
    if kinds_first:
        kinds = np.arange(1, 7)[book_C[1:7] > 0]
        class_C[kinds] = grammar_C[kinds]
    digits = class_C[7] / class_C.sum()
    others_C = np.where(np.arange(10) == 7, 0, class_C)
    chance_C = (1 - digits) * others_C / max(others_C.sum(), 1e-300)
    chance_C[7] = digits
    return chance_C[of_V] * weight_V * book_V / np.maximum(book_C[of_V], 1e-300)


def masks_after(tokens, tokenizer, *, start=BOOK):
    """Return what the grammar and the book allow after the first tokens of an event, bool [V] each."""
    grammar = tokenizer.grammar
    state = grammar.walk(tokens)
    grammar_V = grammar.allowed[state] & drawable(tokenizer.name)
    following = int(np.flatnonzero(grammar.allowed[state])[-1])
    sets = tokenizer.sets(np.array([*tokens, following]), MarketDay.opening(INSTRUMENT, start))
    bits_V = sets.contains(np.full(v.VOCAB_SIZE, len(tokens)), np.arange(v.VOCAB_SIZE))
    return grammar_V, bits_V & grammar_V
