"""Token dropout: a random share of a training window's tokens is read as MASK, and all of them stay targets.

In natural language it is word dropout (Iyyer et al., 2015; Bowman et al., 2016): a model that cannot rely on any single
token learns from the others. Only the tokens that it reads are hidden. What it knows beside them, such as the book, the
clock, the queue, the latest tokens and the sets of tokens that may come next, is that of the true tokens.
"""

import numpy as np

from lob_jax.data.windows.augment.drawing import Source, drawn
from lob_jax.data.windows.dataset import Window
from lob_jax.tokens.vocabulary import CLASS_SIZE, MASK

SHOWN = "shown"  # the array of the tokens that a model reads, in windows that are drawn


class DroppedTokens:
    """Training windows, drawn with `shown` int32 [T+1], what a model reads in place of `tokens`."""

    def __init__(self, windows: Source, *, share: float):
        """Set up the windows.

        Args:
          windows: the windows of the training split, which may be drawn themselves.
          share: probability that a token is hidden, independently of the others.
        """
        self.windows, self.share, self.evaluation = windows, share, windows.evaluation

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Window:
        """Return one window as it is, without `shown`."""
        return self.windows[index]

    def drawn(self, index: int, random: np.random.Generator) -> Window:
        """Return one window with `shown`, see `drawing.drawn`."""
        window = drawn(self.windows, index, random)
        return {**window, SHOWN: with_masks(window["tokens"], self.share, random)}

    def blank(self) -> Window:
        """Return a window of padding without targets, in the shape of the others."""
        return self.windows.blank()


def with_masks(tokens: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Return tokens of which a random share is MASK, in their shape; special tokens and prefixes stay.

    Args:
      tokens: int32, of any shape.
      share: probability that a token is hidden.
      random: source of randomness, of which one number is drawn for each token, special ones included.
    """
    hidden = (random.random(tokens.shape) < share) & (tokens >= CLASS_SIZE)
    return np.where(hidden, MASK, tokens).astype(tokens.dtype)
