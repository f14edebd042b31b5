"""The mirrored market: each array of a window, with bids and asks exchanged and prices running the other way.

The functions work alike on NumPy arrays, which the data pipeline mirrors, and on those of JAX inside a training step.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lob_jax.book.anchors import SIDE_ANCHORS
from lob_jax.book.flow import Column
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.sets.planes import PLANE

_HALF_A_BYTE = 4  # planes of half a class, by which the heads of bids and asks differ
_UP = 2  # the label of a move up; one down is 0, and no label is negative


def mirrored(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays of a window as they are in the mirrored market; mirrored again, they are what they were."""
    return {name: MIRRORS[name](array) if name in MIRRORS else array for name, array in arrays.items()}


def _tokens(tokens_T: Any) -> Any:
    xp = tokens_T.__array_namespace__()
    is_head = (tokens_T >= v.CLASS_SIZE) & (tokens_T < v.CONTINUATION)  # of exact events, or compact ones as a whole
    other_T = xp.where(tokens_T % v.CLASS_SIZE < v.ASK_OFFSET, tokens_T + v.ASK_OFFSET, tokens_T - v.ASK_OFFSET)
    return xp.where(is_head, other_T, tokens_T).astype(tokens_T.dtype)


def _allowed(bits_TW: Any) -> Any:
    """Exchange the halves of the classes of heads: in bits, those of each byte, see `lob_jax.tokens.sets.planes`."""
    first, end = PLANE, PLANE * (v.CONTINUATION // v.CLASS_SIZE)
    heads_TW = bits_TW[..., first:end]
    other_TW = (heads_TW >> _HALF_A_BYTE) | (heads_TW << _HALF_A_BYTE)
    xp = bits_TW.__array_namespace__()
    return xp.concatenate([bits_TW[..., :first], other_TW, bits_TW[..., end:]], axis=-1)


def _book(features_TF: Any) -> Any:
    """Exchange sizes and distances of the sides, and turn the imbalance around, see `lob_jax.book.features`."""
    xp, levels = features_TF.__array_namespace__(), features_TF.shape[-1] // 4
    bids, asks, bids_behind, asks_behind, spread, imbalance = xp.split(
        features_TF, np.cumsum([levels, levels, levels - 1, levels - 1, 1]), axis=-1
    )
    return xp.concatenate([asks, bids, asks_behind, bids_behind, spread, -imbalance], axis=-1)


def _flow(features_TM: Any) -> Any:
    """Exchange the features of the sides of each kind, and turn signs around, see `lob_jax.book.flow`."""
    order, sign = np.arange(features_TM.shape[-1]), np.ones(features_TM.shape[-1], features_TM.dtype)
    order[: Column.RUN_SIGN] ^= 1  # bid and ask of a kind are neighbours
    sign[[Column.RUN_SIGN, Column.MOVE_SIGN]] = -1
    return features_TM[..., order] * sign


def _anchors(codes_TA: Any) -> Any:
    """Exchange the prices of the sides, see `lob_jax.book.anchors`."""
    return codes_TA.__array_namespace__().roll(codes_TA, SIDE_ANCHORS, axis=-1)


def _direction(label_TK: Any) -> Any:
    xp = label_TK.__array_namespace__()
    return xp.where(label_TK >= 0, _UP - label_TK, label_TK).astype(label_TK.dtype)


# All other arrays are the same in the mirrored market.
MIRRORS: dict[str, Callable[[Any], Any]] = {
    "tokens": _tokens,
    "allowed": _allowed,
    "book": _book,
    "flow": _flow,
    "anchors": _anchors,
    "latest": _tokens,
    "direction": _direction,
}
