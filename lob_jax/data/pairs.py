"""Windows of two instruments at the same time: one to be scored, and beside it the newest of another."""

import bisect
import dataclasses

import numpy as np

from lob_jax.data.dataset import Beside, PreparedRecord, RecordSource, Span, TokenBookDataset, Window
from lob_jax.data.records import record_instrument

NEVER = np.iinfo(np.int64).max


@dataclasses.dataclass(frozen=True, eq=False)
class _Times:
    """The times of a record: UNIX ns.

    Attributes:
      symbol: of its instrument.
      day: trading day.
      known: int64 [E+1], the time known before each event and behind the last.
      latest: int64 [E], the latest time of any event up to each: it never falls, where a feed's own times may.
      own: the time of the first event behind the lead.
    """

    symbol: str
    day: str
    known: np.ndarray
    latest: np.ndarray
    own: int


class PairedDataset:
    """Each window of each instrument, with a window of another instrument of the same trading day and split.

    A pair is a dict of the arrays of `TokenBookDataset` with a leading axis of two, its `beside` clock among them:
    row 0 a window as there, row 1 the newest tokens of the peer whose events lie strictly before the latest time known
    in row 0, none of them scored; and peer_seen int32 [2, T+1], how many tokens of the other row belong to events that
    lie, whole, strictly before the time known at a token. Equal nanoseconds count as not seen, either way.

    The peer of an instrument is the next one, in the order of symbols, that has records of the day; the first follows
    the last. Without any, row 1 is blank. So every token of every instrument is scored as it is without peers.
    """

    def __init__(
        self, source: RecordSource, *, context: int, time_buckets: int, evaluation: bool, beside: Beside
    ) -> None:
        """Lay out the windows; reads each record once, for its times.

        Args:
          source: records by index, of one split.
          context: T, tokens that a model sees.
          time_buckets: buckets in a day.
          evaluation: whether windows overlap for evaluation.
          beside: what else windows hold; the clock they hold anyway.

        Raises:
          InputError: as `TokenBookDataset`.
        """
        asked = dataclasses.replace(beside, clock=True)
        self.windows = TokenBookDataset(
            source, context=context, time_buckets=time_buckets, evaluation=evaluation, beside=asked
        )
        self.context, self.evaluation = context, evaluation
        self._times = [_times_of(source, index) for index in range(len(source))]
        self._records: dict[tuple[str, str], list[int]] = {}  # of an instrument's day, in the order of time
        for index, times in enumerate(self._times):
            self._records.setdefault((times.day, times.symbol), []).append(index)
        for indices in self._records.values():
            indices.sort(key=lambda index: self._times[index].own)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Window:
        """Return one pair."""
        span = self.windows.spans[index]
        anchor, peer = self.windows.cut(span), self.windows.blank()
        other = self._peer(span.record, before=int(self._known(span).max()))
        held = 0 if other is None else other.score_from - other.start
        if other is not None:
            for name, array in self.windows.cut(other).items():
                places = slice(held) if array.ndim else ...  # a record's first window goes on beyond what is known
                peer[name][places] = array[places]
        peer["scored"][:] = False
        peer["record"][...] = -1 if other is None else other.record
        pair = {name: np.stack([array, peer[name]]) for name, array in anchor.items()}
        seen = np.stack([self._seen(span, other), self._seen(other, span)])
        seen[1, held:] = 0
        return {**pair, "peer_seen": seen}

    def blank(self) -> Window:
        """Return a pair of padding with nothing to score."""
        blank = self.windows.blank()
        pair = {name: np.stack([array, array]) for name, array in blank.items()}
        return {**pair, "peer_seen": np.zeros((2, self.context + 1), np.int32)}

    def _known(self, span: Span) -> np.ndarray:
        """Return the time known at each token of a window, int64 [T+1]."""
        record, times = self.windows.prepared(span.record), self._times[span.record]
        return _known_times(record, times, span.start, self.context + 1)

    def _peer(self, record: int, *, before: int) -> Span | None:
        """Return the newest window of a record's peer whose events lie strictly before a time, if there is one.

        Its `score_from` is where those events end.
        """
        times = self._times[record]
        symbols = sorted(symbol for day, symbol in self._records if day == times.day)
        peer = symbols[(symbols.index(times.symbol) + 1) % len(symbols)]
        if peer == times.symbol:
            return None
        indices = self._records[times.day, peer]
        place = bisect.bisect_left(indices, before, key=lambda index: self._times[index].own) - 1
        if place < 0:
            return None
        found = indices[place]
        events = int(np.searchsorted(self._times[found].latest, before))
        prepared = self.windows.prepared(found)
        end = int(np.searchsorted(prepared.event, events))  # tokens of those events
        return Span(found, max(end - self.context - 1, 0), score_from=end, score_to=end)

    def _seen(self, span: Span | None, other: Span | None) -> np.ndarray:
        """Return of how many of the other window's tokens each token knows, int32 [T+1]."""
        length = self.context + 1
        if span is None or other is None:
            return np.zeros(length, np.int32)
        ends = _event_times(self.windows.prepared(other.record), self._times[other.record], other.start, length)
        return np.searchsorted(ends, self._known(span)).astype(np.int32)


def _times_of(source: RecordSource, index: int) -> _Times:
    record = source[index]
    instrument = record_instrument(record)
    known = np.asarray(record["clock_ns"], np.int64)
    own = min(int(record["lead_events"]) + 1, len(known) - 1)
    return _Times(
        instrument.symbol, instrument.trading_day, known, np.maximum.accumulate(known[1:]), own=int(known[own])
    )


def _overlap(record: PreparedRecord, start: int, length: int) -> tuple[slice, slice]:
    """Return which of a record's tokens a window holds, and which of the window's places they take."""
    low, high = max(start, 0), min(start + length, len(record.tokens))
    return slice(low, high), slice(low - start, high - start)


def _known_times(record: PreparedRecord, times: _Times, start: int, length: int) -> np.ndarray:
    """Return the time known at each token of a window, int64 [length]; in front of a record that before its first."""
    inside, places = _overlap(record, start, length)
    known = np.full(length, times.known[0], np.int64)
    known[places] = times.known[record.clock_row[inside]]
    known[places.stop :] = np.iinfo(np.int64).min  # padding knows nothing
    return known


def _event_times(record: PreparedRecord, times: _Times, start: int, length: int) -> np.ndarray:
    """Return the time from which on each token of a window is past, int64 [length], never falling."""
    inside, places = _overlap(record, start, length)
    ends = np.full(length, NEVER, np.int64)
    ends[: places.start] = times.known[0]
    ends[places] = times.latest[record.event[inside]]
    return ends
