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
from lob_jax.tokens.sets.planes import CLASSES, pack
from lob_jax.tokens.sets.shares import share_table

MOST_LOGIT = 75.0  # relative to the shift of a sum: the exponentials of V such logits have a finite sum
LEAST_SUM = 1e-37  # where the tokens of the book are so unlikely that their exponentials underflow

Bits = jax.Array  # uint8 [..., V/8], see `tokens.sets.planes`


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
    return Masks(pack(grammar.allowed), share_table(grammar, escape_FK))


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


def unpacked(bits_BTW: Bits) -> jax.Array:
    """Return sets as bool [B, T, V]."""
    return _members(bits_BTW).reshape(*bits_BTW.shape[:-1], -1) != 0


def _members(bits: Bits) -> jax.Array:
    """Return sets as uint8 [..., C, 8, V/8/C], 1 for their tokens; the order of axes keeps loops over them simple."""
    return (bits.reshape(*bits.shape[:-1], CLASSES, 1, -1) >> jnp.arange(8, dtype=jnp.uint8)[:, None]) & 1


def _planes(x_BTV: jax.Array) -> jax.Array:
    """Return an array [..., V] as [..., C, 8, V/8/C], as `_members` has sets."""
    return x_BTV.reshape(*x_BTV.shape[:-1], CLASSES, 8, -1)


class Sums(NamedTuple):
    """Sums of exp(logit - shift) in each place.

    Attributes:
      shift_BT: the shift.
      grammar_BTC: sums over the tokens that the grammar allows, by class.
      book_BT: sums over the tokens that the book allows; None if there is no book.
    """

    shift_BT: jax.Array
    grammar_BTC: jax.Array
    book_BT: jax.Array | None


def sums_in(x_BTV: jax.Array, places: Places, shift_BT: jax.Array) -> Sums:
    """Return the sums over the sets of some places, with a shift to which the greatest logits are close."""
    weight = _weights(x_BTV, shift_BT)
    by_grammar = weight * _members(places.grammar_BTW).astype(weight.dtype)
    if places.book_BTW is None:
        return Sums(shift_BT, by_grammar.sum(-2).sum(-1), None)
    by_book = weight * _members(places.book_BTW).astype(weight.dtype)
    # One loop for both, so that each exponential is computed once. Masks are factors, since XLA does not fuse a select
    # into a sum on CPUs; and planes are added up first, since a sum over the last axis would not be vectorised.
    zero, axis = jnp.zeros((), weight.dtype), (weight.ndim - 2,)
    of_grammar, of_book = jax.lax.reduce(
        (by_grammar, by_book), (zero, zero), lambda one, other: (one[0] + other[0], one[1] + other[1]), axis
    )
    return Sums(shift_BT, of_grammar.sum(-1), jnp.maximum(of_book.sum((-2, -1)), LEAST_SUM))


def _weights(x_BTV: jax.Array, shift_BT: jax.Array) -> jax.Array:
    """Return exp(logit - shift), [B, T, C, 8, V/8/C], also of tokens outside the sets."""
    return jnp.exp(jnp.minimum(_planes(x_BTV) - shift_BT[..., None, None, None], MOST_LOGIT))


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


def factors(sums: Sums, escape_BTC: jax.Array | None) -> Factors:
    """Return the factors of a place's probabilities; without a book, those of all tokens are `outside_BTC`."""
    total_BT1 = sums.grammar_BTC.sum(-1, keepdims=True)
    if sums.book_BT is None or escape_BTC is None:
        each_BTC = jnp.broadcast_to(1 / total_BT1, sums.grammar_BTC.shape)
        return Factors(each_BTC, each_BTC, jnp.ones_like(total_BT1[..., 0]))
    outside_BTC = escape_BTC / total_BT1
    escaping_BT = (outside_BTC * sums.grammar_BTC).sum(-1)
    inside_BTC = outside_BTC + ((1 - escaping_BT) / sums.book_BT)[..., None]
    return Factors(inside_BTC, outside_BTC, escaping_BT)


def log_probabilities(logits_BTV: jax.Array, places: Places) -> jax.Array:
    """Return the log probability of every token, float32 [B, T, V]; -inf outside the grammar's set."""
    x_BTV = logits_BTV.astype(full_precision(logits_BTV.dtype.name))
    inner = places.grammar_BTW if places.book_BTW is None else places.book_BTW
    shift_BT = jnp.where(unpacked(inner), x_BTV, -jnp.inf).max(-1)
    found = factors(sums_in(x_BTV, places, shift_BT), places.escape_BTC)
    inside, outside = (part[..., None, None] for part in (found.inside_BTC, found.outside_BTC))
    factor = jnp.where(_members(inner) != 0, inside, outside)
    log_p = jnp.minimum(_planes(x_BTV) - shift_BT[..., None, None, None], MOST_LOGIT) + jnp.log(factor)
    return jnp.where(unpacked(places.grammar_BTW), log_p.reshape(x_BTV.shape), -jnp.inf)


def target_nll(logits_BTV: jax.Array, targets_BT: jax.Array, places: Places) -> jax.Array:
    """Return -log p(target) in nats, float32 [B, T].

    Sums are relative to the target's logit, which needs no search for the greatest one. So a token that is more than
    MOST_LOGIT nats likelier counts as if it were MOST_LOGIT nats likelier. A target outside the grammar's set has a
    finite loss without meaning, so that it can have weight 0.

    Args:
      logits_BTV: of any float dtype; converted to float32 unless they are float64.
      targets_BT: int32 token ids below V.
      places: the sets in the targets' places.
    """
    x_BTV = logits_BTV.astype(full_precision(logits_BTV.dtype.name))
    # As one axis of places: XLA would compute the index of each of the gradient's elements along every axis.
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), (x_BTV, targets_BT, places))
    return _nll(*flat).reshape(targets_BT.shape)


@jax.custom_vjp
def _nll(x_BTV: jax.Array, targets_BT: jax.Array, places: Places) -> jax.Array:
    """Return -log p(target); the gradient is written out, so that it takes one pass over the vocabulary."""
    return _scored(x_BTV, targets_BT, places)[0]


def _scored(x_BTV: jax.Array, targets_BT: jax.Array, places: Places) -> tuple[jax.Array, jax.Array, Sums]:
    """Return -log p(target), the share of the book's part in p(target), and the sums."""
    sums = sums_in(x_BTV, places, _at(x_BTV, targets_BT))
    found = factors(sums, places.escape_BTC)
    size = x_BTV.shape[-1] // CLASSES
    inside_BT, outside_BT = (_at(part, targets_BT // size) for part in (found.inside_BTC, found.outside_BTC))
    factor_BT, by_book_BT = outside_BT, jnp.zeros_like(outside_BT)
    if places.book_BTW is not None:
        in_book_BT = _holds(places.book_BTW, targets_BT)
        factor_BT = jnp.where(in_book_BT, inside_BT, outside_BT)
        by_book_BT = jnp.where(in_book_BT, 1 - outside_BT / inside_BT, 0)
    # A target that nothing allows has a factor of 0; its loss times a weight of 0 would not be 0 but NaN.
    return -jnp.log(jnp.maximum(factor_BT, jnp.finfo(factor_BT.dtype).tiny)), by_book_BT, sums


def _at(x_BTV: jax.Array, index_BT: jax.Array) -> jax.Array:
    return jnp.take_along_axis(x_BTV, index_BT[..., None], axis=-1)[..., 0]


def _holds(bits_BTW: Bits, token_BT: jax.Array) -> jax.Array:
    """Return whether a token is in the set of its place."""
    width = bits_BTW.shape[-1] // CLASSES
    of_class_BT, plane_BT, byte_BT = token_BT // (8 * width), token_BT // width % 8, token_BT % width
    return (_at(bits_BTW, of_class_BT * width + byte_BT) >> plane_BT.astype(jnp.uint8)) & 1 != 0


def _forward(x_BTV: jax.Array, targets_BT: jax.Array, places: Places) -> tuple[jax.Array, tuple]:
    nll_BT, by_book_BT, sums = _scored(x_BTV, targets_BT, places)
    return nll_BT, (x_BTV, targets_BT, places, by_book_BT, sums)


def _backward(kept: tuple, gradient_BT: jax.Array) -> tuple[jax.Array, None, None]:
    """Return the gradient of the logits.

    With w the share of b's part in p(target), 1 - w that of g's part, and E the sum of e(u) g(u), whose derivative by a
    logit is g(v) (e(v) - E):
      d -log p(target) / d logit(v) = w b(v) + (1 - w + w (e(v) - E) / (1 - E)) g(v) - [v is the target].
    """
    x_BTV, targets_BT, places, by_book_BT, sums = kept
    total_BT1, of_grammar_BTC = sums.grammar_BTC.sum(-1, keepdims=True), jnp.ones_like(sums.grammar_BTC)
    if places.book_BTW is not None:
        by_book_BT1, escaping_BT1 = by_book_BT[..., None], factors(sums, places.escape_BTC).escaping_BT[..., None]
        of_grammar_BTC = 1 - by_book_BT1 + by_book_BT1 * (places.escape_BTC - escaping_BT1) / (1 - escaping_BT1)
    of_grammar_BTC = of_grammar_BTC / total_BT1 * gradient_BT[..., None]
    factor = _members(places.grammar_BTW).astype(x_BTV.dtype) * of_grammar_BTC[..., None, None]
    if places.book_BTW is not None:
        of_book_BT = by_book_BT / sums.book_BT * gradient_BT
        factor += _members(places.book_BTW).astype(x_BTV.dtype) * of_book_BT[..., None, None, None]
    slope_BTV = (_weights(x_BTV, sums.shift_BT) * factor).reshape(x_BTV.shape)
    target_BT1 = targets_BT[..., None]
    # Added to the target's element alone: a comparison in every element would take another pass on CPUs.
    at_target_BT1 = jnp.take_along_axis(slope_BTV, target_BT1, axis=-1) - gradient_BT[..., None]
    return jnp.put_along_axis(slope_BTV, target_BT1, at_target_BT1, axis=-1, inplace=False), None, None


_nll.defvjp(_forward, _backward)
