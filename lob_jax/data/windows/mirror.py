"""Windows of the mirrored market, in which bids and asks have changed places and prices run the other way.

Where a market treats both sides alike, they are as good training data as the windows themselves.
"""

from collections.abc import Callable

import numpy as np

from lob_jax.book.anchors import SIDE_ANCHORS
from lob_jax.book.flow import Column
from lob_jax.data.windows.dataset import TokenBookDataset, Window
from lob_jax.data.windows.pairs import PairedDataset
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.sets.planes import PLANE

_HALF_A_BYTE = 4  # planes of half a class, by which the heads of bids and asks differ
_UP = 2  # the label of a move up; one down is 0, and no label is negative


class MirroredWindows:
    """Training windows, followed by the same windows mirrored: a random-access source like `TokenBookDataset`."""

    def __init__(self, windows: TokenBookDataset | PairedDataset):
        self.windows, self.evaluation = windows, windows.evaluation

    def __len__(self) -> int:
        return 2 * len(self.windows)

    def __getitem__(self, index: int) -> Window:
        """Return one window."""
        count = len(self.windows)
        return self.windows[index] if index < count else mirrored(self.windows[index - count])

    def blank(self) -> Window:
        """Return a window of padding without targets, in the shape of the others."""
        return self.windows.blank()


def mirrored(window: Window) -> Window:
    """Return a window as it would be in the mirrored market; mirrored again, it is the window itself."""
    return {name: MIRRORS[name](array) if name in MIRRORS else array for name, array in window.items()}


def _tokens(tokens_T: np.ndarray) -> np.ndarray:
    is_head = (tokens_T >= v.CLASS_SIZE) & (tokens_T < v.CONTINUATION)  # of exact events, or compact ones as a whole
    other_T = np.where(tokens_T % v.CLASS_SIZE < v.ASK_OFFSET, tokens_T + v.ASK_OFFSET, tokens_T - v.ASK_OFFSET)
    return np.where(is_head, other_T, tokens_T).astype(tokens_T.dtype)


def _allowed(bits_TW: np.ndarray) -> np.ndarray:
    """Exchange the halves of the classes of heads: in bits, those of each byte, see `lob_jax.tokens.sets.planes`."""
    first, end = PLANE, PLANE * (v.CONTINUATION // v.CLASS_SIZE)
    heads_TW = bits_TW[..., first:end]
    other_TW = (heads_TW >> _HALF_A_BYTE) | (heads_TW << _HALF_A_BYTE)
    return np.concatenate([bits_TW[..., :first], other_TW, bits_TW[..., end:]], axis=-1)


def _book(features_TF: np.ndarray) -> np.ndarray:
    """Exchange sizes and distances of the sides, and turn the imbalance around, see `lob_jax.book.features`."""
    levels = features_TF.shape[-1] // 4
    bids, asks, bids_behind, asks_behind, spread, imbalance = np.split(
        features_TF, np.cumsum([levels, levels, levels - 1, levels - 1, 1]), axis=-1
    )
    return np.concatenate([asks, bids, asks_behind, bids_behind, spread, -imbalance], axis=-1)


def _flow(features_TM: np.ndarray) -> np.ndarray:
    """Exchange the features of the sides of each kind, and turn signs around, see `lob_jax.book.flow`."""
    order = np.arange(features_TM.shape[-1])
    order[: Column.RUN_SIGN] ^= 1  # bid and ask of a kind are neighbours
    other_TM = features_TM[..., order]
    other_TM[..., [Column.RUN_SIGN, Column.MOVE_SIGN]] *= -1
    return other_TM


def _anchors(codes_TA: np.ndarray) -> np.ndarray:
    """Exchange the prices of the sides, see `lob_jax.book.anchors`."""
    return np.roll(codes_TA, SIDE_ANCHORS, axis=-1)


def _direction(label_TK: np.ndarray) -> np.ndarray:
    return np.where(label_TK >= 0, _UP - label_TK, label_TK).astype(label_TK.dtype)


# All other arrays are the same in the mirrored market.
MIRRORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tokens": _tokens,
    "allowed": _allowed,
    "book": _book,
    "flow": _flow,
    "anchors": _anchors,
    "latest": _tokens,
    "direction": _direction,
}
