"""`Monitor`: how the events that a model meets, and its predictions of them, compare with training.

It holds the bins of the latest events and the scores of the latest scored ones: about 200 kB, whatever comes. Events
are put into bins some hundred at a time, since NumPy costs as much for one as for a hundred: until then a call keeps
them, and costs a microsecond.
"""

import collections
import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from lob_jax.events.schema import Events
from lob_jax.export.reference.features import FEATURES, UNKNOWN, Before, Columns, binned, spread_bins
from lob_jax.export.reference.half_hours import half_hours_of
from lob_jax.export.reference.quality import Quality, Scores, quality_of
from lob_jax.export.reference.reference import Reference
from lob_jax.serving.monitoring import drift, quality
from lob_jax.serving.monitoring.drift import Drift, Latest, Shares, drifts
from lob_jax.serving.monitoring.quality import scores_of
from lob_jax.serving.monitoring.ring import Ring
from lob_jax.serving.requests import Scored

AT_ONCE = 256  # events that are put into bins at once
NO_QUALITY = quality_of(Scores(*np.zeros((len(Scores._fields), 0))))
MARKETS = 1024  # of which the last event is remembered: those that were seen last


@dataclasses.dataclass(frozen=True)
class Report:
    """How the latest events, and the predictions of them, compare with training.

    Attributes:
      seen: how many events were seen since the start.
      drift: of each feature, over at most the latest `drift.WINDOW` events, see `features.FEATURES`.
      outside_hours: share of these events in half hours of the day without any event of training, which are compared
        with the whole training split; None before the first event.
      scored: how many events were scored since the start.
      quality: of the predictions of at most the latest `quality.WINDOW` of them.
      comparable: whether `quality.gain_nats` is of the same events in the same units, see `Reference.comparable`.
      nats_change: by how many nats an event `quality.nats` exceeds that of the validation split: negative if events are
        harder to predict, or the model is worse; None if either is not known.
      nats_change_se: its standard error, of means over blocks; None if either is not known.
      gain_change: by how many nats an event `quality.gain_nats` exceeds that of the validation split: negative if the
        model is worse beside counts than it was; None if either is not known.
      gain_change_se: its standard error, of means over blocks; None if either is not known.
    """

    seen: int
    drift: Mapping[str, Drift]
    outside_hours: float | None
    scored: int
    quality: Quality
    comparable: bool
    nats_change: float | None
    nats_change_se: float | None
    gain_change: float | None
    gain_change_se: float | None


class Monitor:
    """Compares what a model meets with its training; to be used from one thread at a time."""

    def __init__(
        self,
        reference: Reference,
        *,
        seen_window: int = drift.WINDOW,
        scored_window: int = quality.WINDOW,
        seed: int = 0,
    ) -> None:
        """Begin with nothing.

        Args:
          reference: what training looked like.
          seen_window: how many of the latest events are compared with it.
          scored_window: how many of the latest scores are kept.
          seed: of the draws that the transforms of classes need, see `lob_jax.export.reference.quality`.
        """
        self._reference = reference
        self._shares = {name: Shares(counts) for name, counts in reference.features.items()}
        self._closed = reference.features["class"].sum(1) == 0  # half hours without training
        self._latest = Latest(seen_window)
        self._scores = Ring(len(Scores._fields), scored_window, np.float64)
        self._before: collections.OrderedDict[str, Before] = collections.OrderedDict()
        self._waiting: dict[str, list[tuple[Events, int | None, int | None]]] = {}
        self._count = self._seen = 0
        self._rng = np.random.default_rng(seed)

    def saw(self, events: Events, *, bid: int | None, ask: int | None, market: str = "") -> None:
        """Take note of events that a model was fed with.

        Args:
          events: the events.
          bid: the best bid after them, price quanta; None if there is none. The spread is known of the last event
            alone: that of the others is not counted, since one value for all of them would look like drift.
          ask: the best ask.
          market: whose events they are: gaps and steps are from one event of a market to the next.
        """
        count = len(events)
        if not count:
            return
        self._waiting.setdefault(market, []).append((events, bid, ask))
        self._seen += count
        self._count += count
        if self._count >= AT_ONCE:
            self._put_into_bins()

    def scored(self, events: Events, found: Scored, *, before: Events | None = None) -> None:
        """Take note of how likely events were.

        Args:
          events: the events that were scored.
          found: their scores.
          before: the events before them: the last 64 are enough. Without them, counts do not predict the first events.

        Raises:
          InputError: there is not one score for each event.
        """
        how = {"baseline": self._reference.baseline, "tick": self._reference.tick, "rng": self._rng}
        self._scores.add(np.stack(scores_of(events, found, before=before, **how)))

    def report(self) -> Report:
        """Return how the latest events, and the predictions of them, compare with training."""
        self._put_into_bins()
        (_, halves) = self._latest.of("class")
        live = quality_of(Scores(*self._scores.latest()))
        expected = self._reference.quality or NO_QUALITY
        nats = _change(live.nats, live.nats_se, expected.nats, expected.nats_se)
        gain = _change(live.gain_nats, live.gain_se, expected.gain_nats, expected.gain_se)
        return Report(
            seen=self._seen,
            drift=drifts(self._shares, self._latest),
            outside_hours=float(self._closed[halves].mean()) if len(halves) else None,
            scored=self._scores.added,
            quality=live,
            comparable=self._reference.comparable,
            nats_change=nats[0],
            nats_change_se=nats[1],
            gain_change=gain[0],
            gain_change_se=gain[1],
        )

    def _put_into_bins(self) -> None:
        """Put all events that wait into bins."""
        waiting, self._waiting, self._count = self._waiting, {}, 0
        for market, parts in waiting.items():
            columns = Columns(
                *(np.concatenate([getattr(one, name) for one, _, _ in parts]) for name in Columns._fields)
            )
            before = self._before.pop(market, Before())
            bins, self._before[market] = binned(columns, before=before, tick=self._reference.tick)
            halves = half_hours_of(columns.time_ns, self._reference.time_zone)
            spreads = [math.nan if bid is None or ask is None else ask - bid for _, bid, ask in parts]
            ticks = np.floor(np.array(spreads) / self._reference.tick)
            bins["spread"] = np.full(len(halves), UNKNOWN)
            bins["spread"][np.cumsum([len(one) for one, _, _ in parts]) - 1] = spread_bins(ticks)
            for name in FEATURES:
                self._latest.add(name, bins[name], halves)
        while len(self._before) > MARKETS:
            self._before.popitem(last=False)


def _change(
    live: float | None, live_se: float | None, expected: float | None, expected_se: float | None
) -> tuple[float | None, float | None]:
    """Return the difference of two means, and its standard error; None for what is not known."""
    change = None if live is None or expected is None else live - expected
    error = None if live_se is None or expected_se is None else math.hypot(live_se, expected_se)
    return change, error
