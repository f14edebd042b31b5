"""The patterns by name, and the alterations that splice them into windows to train on and into streams to test on."""

import dataclasses

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.data.windows.augment.altered import Proposal
from lob_jax.data.windows.augment.manipulation.layering import layering
from lob_jax.data.windows.augment.manipulation.spoofing import spoofing
from lob_jax.data.windows.augment.manipulation.stretch import Pattern, Stretch, spliced
from lob_jax.data.windows.augment.manipulation.stuffing import stuffing

PATTERNS: dict[str, Pattern] = {"spoofing": spoofing, "layering": layering, "stuffing": stuffing}


@dataclasses.dataclass(frozen=True)
class Manipulation:
    """The alteration of a window to train on: with some probability, one pattern.

    Attributes:
      share: the probability.
      patterns: names of the patterns, one of which is drawn, each as likely as any other.
    """

    share: float
    patterns: tuple[str, ...]

    def __call__(self, day: MarketDay, first: int, random: np.random.Generator) -> Proposal:
        """Return the proposal, see `altered.Alteration`; its day ends about a window behind the last event shown."""
        stop = first + (len(day.events) - first) // 2
        if random.random() >= self.share or stop <= first:
            return spliced(day, [])
        pattern = PATTERNS[self.patterns[int(random.integers(len(self.patterns)))]]
        return spliced(day, pattern(Stretch.of(day, first, stop), random))


@dataclasses.dataclass(frozen=True)
class Throughout:
    """The alteration of a stream to test on: one pattern again and again.

    Attributes:
      pattern: its name.
      every: events of the market in which it is spliced in once, in the first half of them.
    """

    pattern: str
    every: int

    def __call__(self, day: MarketDay, first: int, random: np.random.Generator) -> Proposal:
        """Return the proposal, see `altered.Alteration`."""
        whole, count = Stretch.of(day, first, len(day.events)), len(day.events)
        edges = range(first, count, self.every)
        parts = [whole.part(edge, min(edge + self.every, count)) for edge in edges]
        return spliced(day, [action for part in parts for action in PATTERNS[self.pattern](part, random)])
