"""The probabilities of the kind and side of each event before it comes: those by which its first token is scored.

Where a gap may still go on with further digits, they are those given that it does not and an event begins. They are the
`kinds` of `lob_jax.serving.predict`, but for what generation does otherwise. It draws nothing outside the book: escape
shares are 0. It draws no CONTROL codes but halts, and with compact tokens no sizes above those of training. With a
model without the book's mask, it draws the kind in the grammar, if the book has one, and all else in the book, where
scores are all in the grammar, or in none. And near the beginning of a history, scores have BOS before it, as in
training.
"""

import dataclasses
import functools
import math
from typing import NamedTuple

import numpy as np

from lob_jax.evaluation.likelihood.allowed import Allowed
from lob_jax.events.schema import Kind
from lob_jax.jit import in_place, inner
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.bins import GAP_BINS, SIZE_BINS

KINDS = 2 * (Kind.CONTROL - 1) + 1  # ADD .. CROSS, of bids and of asks in turn, and CONTROL


class Heads(NamedTuple):
    """What tokens say of the head of an event.

    Attributes:
      head_V: int64 [V], number of the head that a token is or that it has a part of; -1 if it begins no event.
      kind_H: int64 [H], the kind and side of each head, an index of KINDS.
    """

    head_V: np.ndarray
    kind_H: np.ndarray


class Found(NamedTuple):
    """What is found before each of E events, float64.

    Attributes:
      chance_EK: [E, KINDS], the probability of each kind and side.
      entropy_E: [E], the entropy of the distribution over all heads, bits.
      removed_E: [E], the share of the heads that the grammar allows which the book does not, as the network has them.
      weight_H: [H], memory.
    """

    chance_EK: np.ndarray
    entropy_E: np.ndarray
    removed_E: np.ndarray
    weight_H: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class KindScores:
    """What a model said of the kind and side of each of E events before it came.

    Attributes:
      chance_EK: float64 [E, KINDS], the probability of each kind and side.
      came: int64 [E], which of them came.
      entropy_bits: float64 [E], of the distribution over all heads.
      removed: float64 [E], the share of the heads that the grammar allows which the book does not, as the network has
        them.
    """

    chance_EK: np.ndarray
    came: np.ndarray
    entropy_bits: np.ndarray
    removed: np.ndarray

    @property
    def chance(self) -> np.ndarray:
        """Return the probability of the kind and side that came, float64 [E]."""
        return np.take_along_axis(self.chance_EK, self.came[:, None], 1)[:, 0]

    @property
    def brier(self) -> np.ndarray:
        """Return the Brier score, the sum of the squares of the errors of all probabilities, 0 to 2, float64 [E]."""
        return np.square(self.chance_EK - np.eye(KINDS)[self.came]).sum(1)

    @property
    def likelier(self) -> np.ndarray:
        """Return the probability of all kinds and sides that were likelier than the one that came, float64 [E]."""
        return np.where(self.chance_EK > self.chance[:, None], self.chance_EK, 0).sum(1)


@functools.cache
def heads_of(tokenizer: str) -> Heads:
    """Return what the tokens of a tokenizer say of heads; compact ones with the same head have further parts."""
    token = np.arange(v.VOCAB_SIZE)
    control = v.field_of(token) == v.FIELD_HEAD
    control[v.CLASS_SIZE :] = False
    orders = (token >= v.CLASS_SIZE) & (token < v.CONTINUATION)
    per_head = SIZE_BINS * GAP_BINS if tokenizer == "compact" else 1
    number = np.where(control, (token - v.CONTROL_BASE) % v.CONTROL_GAP, v.CONTROL_GAP + token // per_head)
    used, head = np.unique(number[control | orders], return_inverse=True)
    head_V, kind_H = np.full(v.VOCAB_SIZE, -1), np.zeros(len(used), np.int64)
    head_V[control | orders] = head
    low = token % v.CLASS_SIZE
    kind_V = np.where(control, KINDS - 1, 2 * (token // v.CLASS_SIZE - 1) + low // v.ASK_OFFSET)
    kind_H[head] = kind_V[control | orders]
    return Heads(head_V, kind_H)


def new_found(events: int, heads: Heads) -> Found:
    """Return room for what is found before so many events."""
    return Found(np.full((events, KINDS), np.nan), *np.full((2, events), np.nan), np.zeros(len(heads.kind_H)))


def kind_scores(heads: Heads, found: Found, tokens: np.ndarray) -> KindScores:
    """Return the scores of E events, given the first token of each [E]."""
    came = heads.kind_H[heads.head_V[tokens]]
    return KindScores(found.chance_EK, came, found.entropy_E, found.removed_E)


@in_place
def write_kinds(
    allowed: Allowed,
    heads: Heads,
    event_N: np.ndarray,
    place_N: np.ndarray,
    logits_NV: np.ndarray,
    factor_N2C: np.ndarray,
    found: Found,
) -> None:
    """Write what is known before some events, in the places of their first tokens.

    Args:
      allowed: the tokens that may come.
      heads: what they say of heads.
      event_N: int64 [N], the event that begins in each place, an index of `found`; below 0 for none.
      place_N: int64 [N], the places.
      logits_NV: float32 [N, V], the logits in these places.
      factor_N2C: float64 [N, 2, C], see `lob_jax.evaluation.likelihood.allowed.write_factors`.
      found: filled in these events.
    """
    for n in range(len(place_N)):
        event = event_N[n]
        if event >= 0:
            found.removed_E[event] = _removed(allowed, heads, place_N[n], logits_NV[n])
            total = _weigh(allowed, heads, place_N[n], logits_NV[n], factor_N2C[n], found.weight_H)
            entropy, found.chance_EK[event] = 0.0, 0.0
            for head in range(len(found.weight_H)):
                chance = found.weight_H[head] / total
                found.chance_EK[event, heads.kind_H[head]] += chance
                entropy -= chance * math.log2(chance) if chance > 0 else 0.0
            found.entropy_E[event] = entropy


@inner
def _weigh(
    allowed: Allowed,
    heads: Heads,
    place: int,
    logit_V: np.ndarray,
    factor_2C: np.ndarray,
    weight_H: np.ndarray,
) -> float:
    """Write the weight of each head relative to the likeliest of their tokens; return the sum."""
    grammar_V, end = allowed.grammar_SV[allowed.state_T[place]], allowed.offset[place + 1]
    greatest, total = -np.inf, 0.0
    weight_H[:] = 0
    for again in range(2):
        at = allowed.offset[place]
        for token in range(v.CONTINUATION):
            if heads.head_V[token] < 0 or (allowed.by_grammar and not grammar_V[token]):
                continue
            while at < end and allowed.last[at] < token:
                at += 1
            inside = np.int64(at < end and allowed.first[at] <= token)
            log_chance = logit_V[token] + factor_2C[inside, token // v.CLASS_SIZE]
            if again:
                weight = math.exp(log_chance - greatest)
                weight_H[heads.head_V[token]] += weight
                total += weight
            else:
                greatest = max(greatest, log_chance)
    return total


@inner
def _removed(allowed: Allowed, heads: Heads, place: int, logit_V: np.ndarray) -> float:
    """Return the share of the heads that the grammar allows which the book does not; 0 where it says nothing."""
    grammar_V, end = allowed.grammar_SV[allowed.state_T[place]], allowed.offset[place + 1]
    greatest, whole, outside = -np.inf, 0.0, 0.0
    if allowed.offset[place] == end:
        return 0.0
    for again in range(2):
        at = allowed.offset[place]
        for token in range(v.CONTINUATION):
            if heads.head_V[token] < 0 or not grammar_V[token]:
                continue
            while at < end and allowed.last[at] < token:
                at += 1
            if again:
                weight = math.exp(logit_V[token] - greatest)
                whole += weight
                outside += 0.0 if at < end and allowed.first[at] <= token else weight
            else:
                greatest = max(greatest, logit_V[token])
    return outside / whole
