"""`MixedWindows`: training windows of which, when they are drawn, some give way to windows of synthetic flow.

Synthetic flow is that of a simulator or of a model; where its records come from is told in `lob_jax.runs.synthetic`.
"""

import numpy as np

from lob_jax.data.windows.augment.drawing import drawn
from lob_jax.data.windows.augment.windows import AlteredWindows
from lob_jax.data.windows.dataset import TokenBookDataset, Window
from lob_jax.errors import InputError


class MixedWindows:
    """Windows as they are by index; drawn, a share of them gives way to windows of other records.

    A window of synthetic flow takes the place of a real one, so that a pass is as long as without them; which of them
    it is does not depend on the place. Both have the same arrays: what is fitted, such as thresholds of regimes, is
    fitted to the real training split. `record` of a synthetic window is ~r for its record r, below 0, so that no
    window of the real records seems to be of the same record.
    """

    def __init__(
        self,
        windows: TokenBookDataset | AlteredWindows,
        synthetic: TokenBookDataset | AlteredWindows,
        *,
        share: float,
    ):
        """Set up the windows.

        Args:
          windows: the windows of the training split.
          synthetic: windows of synthetic records, of the same shape.
          share: probability that a window is a synthetic one, in [0, 1].

        Raises:
          InputError: there is no synthetic window.
        """
        if not len(synthetic):
            raise InputError(
                "there are no windows of synthetic flow",
                where="config.data.augment.synthetic",
                expected="at least one record with a token to score",
                was=0,
                remedy="pass --config.data.augment.synthetic_run= with the folder of a run that has training records",
            )
        self.windows, self.synthetic, self.share = windows, synthetic, share
        self.evaluation = windows.evaluation

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Window:
        """Return one window as it is."""
        return self.windows[index]

    def drawn(self, index: int, random: np.random.Generator) -> Window:
        """Return one window: with probability `share` any of the synthetic ones, else that of the index, drawn."""
        if random.random() >= self.share:
            return drawn(self.windows, index, random)
        window = drawn(self.synthetic, int(random.integers(len(self.synthetic))), random)
        return {**window, "record": np.invert(window["record"])}

    def blank(self) -> Window:
        """Return a window of padding without targets, in the shape of the others."""
        return self.windows.blank()
