"""The distribution of the next token over the tokens that may come: by the grammar, and by the book.

Let g be the softmax over the tokens that the grammar allows, and b the softmax over those of them that the book allows
too. Real events sometimes contradict the rules by which the book is kept, so the book's set cannot be final. Each token
v that the grammar allows has an escape share e(v), which depends only on its class (`token // 1000`) and on the place:

  p(v) = (1 - sum over u of e(u) g(u)) b(v) + e(v) g(v).

The sum of p is 1, and inside an event, where e is the same for all tokens, p is (1 - e) b + e g. Where the book allows
whatever the grammar does, p = g = b.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.models.config import full_precision
from lob_jax.models.inputs import Conditioning, given
from lob_jax.tokens.grammar import Automaton
from lob_jax.tokens.sets.shares import share_table

REACH = 40.0  # the likeliest token of the book has a share of at least exp(-REACH) in sums over the grammar's tokens
MOST_LOGIT = 75.0  # above the logit that sums are relative to, so that the exponential of V such logits is finite

Bits = jax.Array  # uint8 [..., V/8]: token v is bit v % 8 of byte v // 8, counted from the lowest


class Masks(NamedTuple):
    """What a grammar and the escapes of the training split determine; K kinds of events, C classes of tokens.

    Attributes:
      grammar_SW: uint8 [S, V/8], the tokens that each state allows.
      escape_SKC: float32 [S, K, C], the escape share of the tokens of a class, by state and by the class of the newest
        head.
    """

    grammar_SW: np.ndarray
    escape_SKC: np.ndarray


class Places(NamedTuple):
    """The sets in B T places, and the escape shares there.

    Attributes:
      grammar_BTW: the tokens that the grammar allows.
      book_BTW: the tokens that the book allows, a subset that is not empty; None if the grammar alone decides.
      escape_BTC: float32, the escape share of each class; 0 where both sets are equal.
    """

    grammar_BTW: Bits
    book_BTW: Bits | None = None
    escape_BTC: jax.Array | None = None


def make_masks(grammar: Automaton, escape_FK: np.ndarray) -> Masks:
    """Return the masks of a grammar, with escape shares by field and kind of event, see `share_table`."""
    return Masks(np.packbits(grammar.allowed, axis=1, bitorder="little"), share_table(grammar, escape_FK))


def places_of(known: Conditioning, masks: Masks) -> Places:
    """Return the sets of the tokens that follow those at which some arrays are known.

    Args:
      known: arrays of role PLACE; without "allowed", the grammar alone decides. A set of the book that is empty, as in
        padding, is replaced by that of the grammar.
      masks: the masks of the tokens' grammar.
    """
    state_BT = given(known, "state").astype(jnp.int32)
    grammar_BTW = jnp.asarray(masks.grammar_SW)[state_BT]
    if "allowed" not in known:
        return Places(grammar_BTW)
    book_BTW = known["allowed"] & grammar_BTW
    book_BTW = jnp.where((book_BTW != 0).any(-1, keepdims=True), book_BTW, grammar_BTW)
    escape_BTC = jnp.asarray(masks.escape_SKC)[state_BT, given(known, "kind").astype(jnp.int32)]
    same_BT1 = (book_BTW == grammar_BTW).all(-1, keepdims=True)
    return Places(grammar_BTW, book_BTW, jnp.where(same_BT1, 0, escape_BTC))


class Sums(NamedTuple):
    """Sums of exp(logit - shift) in each place.

    Attributes:
      shift_BT: the greatest logit, or a little more than the greatest of the book.
      grammar_BTC: sums over the tokens that the grammar allows, by class.
      book_BT: sums over the tokens that the book allows.
    """

    shift_BT: jax.Array
    grammar_BTC: jax.Array
    book_BT: jax.Array


def sums_in(logits_BTV: jax.Array, places: Places) -> Sums:
    """Return the sums over the sets of some places, which have a book."""
    assert places.book_BTW is not None and places.escape_BTC is not None, "the grammar alone needs no sums by class"
    classes = places.escape_BTC.shape[-1]
    x, grammar, book = (_by_class(array, classes) for array in (logits_BTV, places.grammar_BTW, places.book_BTW))
    top, top_of_book = (jnp.where(_bits(bits), x, -jnp.inf).max((-3, -2, -1)) for bits in (grammar, book))
    shift_BT = jax.lax.stop_gradient(jnp.minimum(top, top_of_book + REACH))
    weight = _exponential(x, shift_BT[..., None, None, None])
    return Sums(
        shift_BT=shift_BT,
        grammar_BTC=jnp.where(_bits(grammar), weight, 0).sum((-2, -1)),
        book_BT=jnp.where(_bits(book), weight, 0).sum((-3, -2, -1)),
    )


def _exponential(logits: jax.Array, shift: jax.Array) -> jax.Array:
    return jnp.exp(jnp.minimum(logits - shift, MOST_LOGIT))


def _by_class(array: jax.Array, classes: int) -> jax.Array:
    """Return logits [..., V] as [..., C, V/8/C, 8], or bits [..., V/8] as [..., C, V/8/C, 1]."""
    last = 1 if array.dtype == jnp.uint8 else 8
    return array.reshape(*array.shape[:-1], classes, -1, last)


def _bits(packed: jax.Array) -> jax.Array:
    """Return the bits of bytes [..., 1], bool [..., 8]."""
    return (packed >> jnp.arange(8, dtype=jnp.uint8)) & 1 != 0


class Factors(NamedTuple):
    """The factors k of p(v) = k exp(logit - shift), by class.

    Attributes:
      inside_BTC: of tokens that the book allows.
      outside_BTC: of the other tokens that the grammar allows.
      escaping_BT: the sum of e(u) g(u), the probability that is not the book's alone.
    """

    inside_BTC: jax.Array
    outside_BTC: jax.Array
    escaping_BT: jax.Array


def factors(sums: Sums, escape_BTC: jax.Array) -> Factors:
    """Return the factors of a place's probabilities."""
    total_BT1 = sums.grammar_BTC.sum(-1, keepdims=True)
    outside_BTC = escape_BTC / total_BT1
    escaping_BT = (outside_BTC * sums.grammar_BTC).sum(-1)
    inside_BTC = outside_BTC + ((1 - escaping_BT) / sums.book_BT)[..., None]
    return Factors(inside_BTC, outside_BTC, escaping_BT)


def log_probabilities(logits_BTV: jax.Array, places: Places) -> jax.Array:
    """Return the log probability of every token, float32 [B, T, V]; -inf outside the grammar's set."""
    x_BTV = logits_BTV.astype(full_precision(logits_BTV.dtype.name))
    allowed_BTV = unpacked(places.grammar_BTW)
    if places.book_BTW is None or places.escape_BTC is None:
        return jax.nn.log_softmax(jnp.where(allowed_BTV, x_BTV, -jnp.inf), axis=-1)
    sums = sums_in(x_BTV, places)
    found = factors(sums, places.escape_BTC)
    size = x_BTV.shape[-1] // places.escape_BTC.shape[-1]
    inside_BTV, outside_BTV = (jnp.repeat(part, size, axis=-1) for part in (found.inside_BTC, found.outside_BTC))
    factor_BTV = jnp.where(unpacked(places.book_BTW), inside_BTV, outside_BTV)
    log_p_BTV = jnp.minimum(x_BTV - sums.shift_BT[..., None], MOST_LOGIT) + jnp.log(factor_BTV)
    return jnp.where(allowed_BTV, log_p_BTV, -jnp.inf)


def unpacked(bits_BTW: Bits) -> jax.Array:
    """Return sets that are packed in bytes as bool [B, T, V]."""
    return _bits(bits_BTW[..., None]).reshape(*bits_BTW.shape[:-1], -1)


def target_nll(logits_BTV: jax.Array, targets_BT: jax.Array, places: Places) -> jax.Array:
    """Return -log p(target) in nats, float32 [B, T].

    A target outside the grammar's set has a finite loss without meaning, so that it can have weight 0.

    Args:
      logits_BTV: of any float dtype; converted to float32 unless they are float64.
      targets_BT: int32 token ids below V.
      places: the sets in the targets' places.
    """
    x_BTV = logits_BTV.astype(full_precision(logits_BTV.dtype.name))
    if places.book_BTW is None:
        x_BTV = jnp.where(unpacked(places.grammar_BTW) | _is_target(x_BTV, targets_BT), x_BTV, -jnp.inf)
        return jax.nn.logsumexp(x_BTV, axis=-1) - _at(x_BTV, targets_BT)
    return _nll_by_book(x_BTV, targets_BT, places)


def _at(x_BTV: jax.Array, index_BT: jax.Array) -> jax.Array:
    return jnp.take_along_axis(x_BTV, index_BT[..., None], axis=-1)[..., 0]


def _is_target(x_BTV: jax.Array, targets_BT: jax.Array) -> jax.Array:
    return jax.lax.broadcasted_iota(targets_BT.dtype, x_BTV.shape, x_BTV.ndim - 1) == targets_BT[..., None]


class _Target(NamedTuple):
    """What the probability of a target consists of, [B, T] each: -log p, and the share of b's part in it."""

    nll_BT: jax.Array
    by_book_BT: jax.Array


@jax.custom_vjp
def _nll_by_book(x_BTV: jax.Array, targets_BT: jax.Array, places: Places) -> jax.Array:
    """Return -log p(target); the gradient recomputes the exponentials instead of keeping [B, T, V] of them."""
    return _scored(x_BTV, targets_BT, places)[0].nll_BT


def _scored(x_BTV: jax.Array, targets_BT: jax.Array, places: Places) -> tuple[_Target, Sums]:
    assert places.book_BTW is not None and places.escape_BTC is not None, "see `target_nll`"
    sums = sums_in(x_BTV, places)
    found = factors(sums, places.escape_BTC)
    of_class_BT = targets_BT // (x_BTV.shape[-1] // places.escape_BTC.shape[-1])
    inside_BT, outside_BT = _at(found.inside_BTC, of_class_BT), _at(found.outside_BTC, of_class_BT)
    in_book_BT = (_at(places.book_BTW, targets_BT // 8) >> (targets_BT % 8).astype(jnp.uint8)) & 1 != 0
    factor_BT = jnp.where(in_book_BT, inside_BT, outside_BT)
    logit_BT = jnp.minimum(_at(x_BTV, targets_BT) - sums.shift_BT, MOST_LOGIT)
    return _Target(-logit_BT - jnp.log(factor_BT), jnp.where(in_book_BT, 1 - outside_BT / inside_BT, 0)), sums


def _forward(x_BTV: jax.Array, targets_BT: jax.Array, places: Places) -> tuple[jax.Array, tuple]:
    target, sums = _scored(x_BTV, targets_BT, places)
    return target.nll_BT, (x_BTV, targets_BT, places, target.by_book_BT, sums)


def _backward(kept: tuple, gradient_BT: jax.Array) -> tuple[jax.Array, None, None]:
    """Return the gradient of the logits.

    With w the share of b's part in p(target), 1 - w that of g's part, and E the sum of e(u) g(u), whose derivative by a
    logit is g(v) (e(v) - E):
      d -log p(target) / d logit(v) = w b(v) + (1 - w + w (e(v) - E) / (1 - E)) g(v) - [v is the target].
    """
    x_BTV, targets_BT, places, by_book_BT, sums = kept
    found = factors(sums, places.escape_BTC)
    total_BT1 = sums.grammar_BTC.sum(-1, keepdims=True)
    escaping_BT1, by_book_BT1 = found.escaping_BT[..., None], by_book_BT[..., None]
    of_grammar_BTC = 1 - by_book_BT1 + by_book_BT1 * (places.escape_BTC - escaping_BT1) / (1 - escaping_BT1)
    of_grammar_BTC = of_grammar_BTC / total_BT1 * gradient_BT[..., None]
    of_book_BT = by_book_BT / sums.book_BT * gradient_BT
    classes = places.escape_BTC.shape[-1]
    x, grammar, book = (_by_class(array, classes) for array in (x_BTV, places.grammar_BTW, places.book_BTW))
    factor = jnp.where(_bits(grammar), of_grammar_BTC[..., None, None], 0)
    factor += jnp.where(_bits(book), of_book_BT[..., None, None, None], 0)
    slope = (_exponential(x, sums.shift_BT[..., None, None, None]) * factor).reshape(x_BTV.shape)
    return slope - jnp.where(_is_target(x_BTV, targets_BT), gradient_BT[..., None], 0), None, None


_nll_by_book.defvjp(_forward, _backward)
