"""Windows of the mirrored market, in which bids and asks have changed places and prices run the other way.

Where a market treats both sides alike, they are as good training data as the windows themselves.
"""

import numpy as np

from lob_jax.data.windows.augment.drawing import drawn
from lob_jax.data.windows.augment.reflection import mirrored
from lob_jax.data.windows.augment.synthetic import MixedWindows
from lob_jax.data.windows.augment.windows import AlteredWindows
from lob_jax.data.windows.dataset import TokenBookDataset, Window
from lob_jax.data.windows.pairs import PairedDataset


class MirroredWindows:
    """Training windows, followed by the same windows mirrored: a random-access source like `TokenBookDataset`."""

    def __init__(self, windows: TokenBookDataset | PairedDataset | AlteredWindows | MixedWindows):
        self.windows, self.evaluation = windows, windows.evaluation

    def __len__(self) -> int:
        return 2 * len(self.windows)

    def __getitem__(self, index: int) -> Window:
        """Return one window."""
        count = len(self.windows)
        return self.windows[index] if index < count else mirrored(self.windows[index - count])

    def drawn(self, index: int, random: np.random.Generator) -> Window:
        """Return one window, see `drawing.drawn`."""
        count = len(self.windows)
        window = drawn(self.windows, index % count, random)
        return window if index < count else mirrored(window)

    def blank(self) -> Window:
        """Return a window of padding without targets, in the shape of the others."""
        return self.windows.blank()
