"""Windows that are not the same each time that they are read: they are drawn, from an index and a source of randomness.

Such windows also have the interface of those that they are made from, `windows[index]`, which are the windows as they
are: what is measured on the training data is measured without augmentations.
"""

from typing import Protocol, runtime_checkable

import numpy as np

from lob_jax.data.windows.dataset import Window


class Source(Protocol):
    """Windows by index."""

    evaluation: bool

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Window: ...

    def blank(self) -> Window: ...


@runtime_checkable
class Drawable(Protocol):
    """Windows that are drawn: `drawn` gives the same window for the same index and state of the generator."""

    def drawn(self, index: int, random: np.random.Generator) -> Window: ...


def drawn(windows: Source, index: int, random: np.random.Generator) -> Window:
    """Return one window as training reads it: drawn, or as it is if nothing in it is random."""
    return windows.drawn(index, random) if isinstance(windows, Drawable) else windows[index]
