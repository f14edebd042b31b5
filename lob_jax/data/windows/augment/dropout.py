"""Event dropout: orders that were never entered, with all that happened to them later."""

import dataclasses

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.references import orders_taken
from lob_jax.data.windows.augment.altered import Proposal
from lob_jax.events.schema import Kind


@dataclasses.dataclass(frozen=True)
class EventDropout:
    """The alteration that leaves out the ADDs of some orders, and the removals that take these orders.

    Whole orders, since an order whose removal alone is left out rests on, and the market would soon trade through it.

    Attributes:
      share: the probability of each ADD to be left out.
    """

    share: float

    def __call__(self, day: MarketDay, first: int, random: np.random.Generator) -> Proposal:
        """Return a proposal, see `augment.altered`."""
        count = len(day.events)
        is_later = np.arange(count) >= first
        is_left_out = (random.random(count) < self.share) & (day.events.kind == Kind.ADD) & is_later
        taken = orders_taken(day)
        kept = np.flatnonzero(~is_left_out & ~((taken >= 0) & is_left_out[taken]))
        return Proposal(day.events[kept], kept)
