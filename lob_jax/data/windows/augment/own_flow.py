"""Flow of a model's own, spliced into real flow: what the market does next, after some events that it did not write.

In generation a model continues its own events, which it has never seen in training (exposure bias). Here it reads some
of them and then learns how the real market went on from there: scheduled sampling (Bengio et al., 2015), of whole
events that a trained model has drawn beforehand. They are no targets.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.data.windows.augment.altered import ADDED, Alteration, Proposal
from lob_jax.data.windows.dataset import Span
from lob_jax.events.schema import Events


@dataclasses.dataclass(frozen=True, eq=False)
class Continuation:
    """How a model goes on at a place of the training data.

    Attributes:
      window: index of the training window that the place is in.
      at: event of the window's record, at least 1, in front of which the market is continued.
      events: the events of the model, at least one; their times are ns since the real event before.
    """

    window: int
    at: int
    events: Events


@dataclasses.dataclass(frozen=True, eq=False)
class OwnFlow:
    """The alteration that splices the beginning of one of some continuations into a day; its length is drawn.

    Attributes:
      continuations: the continuations, at least one, of places of the same window.
      share: how often there is one at all.
    """

    continuations: tuple[Continuation, ...]
    share: float

    def __call__(self, day: MarketDay, first: int, random: np.random.Generator) -> Proposal:
        """Return a proposal, see `augment.altered`."""
        if random.random() >= self.share:
            return Proposal(day.events, np.arange(len(day.events)))
        one = self.continuations[random.integers(len(self.continuations))]
        return spliced(day, one.at, one.events[: random.integers(len(one.events)) + 1])


def spliced(day: MarketDay, at: int, events: Events) -> Proposal:
    """Return a day with further events in front of one of its own, and all later events later by what they took.

    Args:
      day: the day.
      at: the event, at least 1.
      events: at least one; their times are ns since the event before.
    """
    since, behind = day.events.time_ns[at - 1], day.events[at:]
    own = events.replace(time_ns=since + events.time_ns)
    later = behind.replace(time_ns=behind.time_ns + events.time_ns[-1])
    origin = np.insert(np.arange(len(day.events)), at, np.full(len(events), ADDED))
    return Proposal(Events.concatenate([day.events[:at], own, later]), origin)


def own_flow(
    continuations: Sequence[Continuation], spans: Sequence[Span], *, share: float
) -> dict[Span, tuple[Alteration, ...]]:
    """Return the alterations of training windows, by their spans.

    Those with a continuation have it more often than `share`, always if need be, so that it is the share of all.

    Args:
      continuations: the continuations.
      spans: the training windows.
      share: share of the windows into which flow is spliced.
    """
    within: dict[int, list[Continuation]] = {}
    for one in continuations:
        within.setdefault(one.window, []).append(one)
    often = min(1.0, share * len(spans) / max(1, len(within)))
    return {spans[window]: (OwnFlow(tuple(found), often),) for window, found in within.items()}
