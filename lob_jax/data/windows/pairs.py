"""Pairs of windows of two instruments at the same time: one with targets, and the latest tokens of a peer."""

import bisect
import dataclasses
from typing import NamedTuple

import numpy as np

from lob_jax.data.records.records import RecordSource, record_instrument
from lob_jax.data.windows.dataset import PreparedRecord, Span, TokenBookDataset, Window
from lob_jax.data.windows.known import Beside
from lob_jax.tokens.sets.token_sets import TokenSets

NEVER = np.iinfo(np.int64).max
HISTORY = 4  # one in this many tokens of a peer's window precedes the other window


@dataclasses.dataclass(frozen=True, eq=False)
class _Times:
    """The times of a record, in ns since 1970.

    Attributes:
      symbol: symbol of its instrument.
      day: trading day.
      known: int64 [E+1], the time known before each event and after the last.
      latest: int64 [E], the latest time of all events up to each: unlike a feed's own times, it never decreases.
      own: the time of the first event after the lead.
      lead_events: number of events of the lead.
      first_event: index in the day of the record's first event.
    """

    symbol: str
    day: str
    known: np.ndarray
    latest: np.ndarray
    own: int
    lead_events: int
    first_event: int


class _Run(NamedTuple):
    """Consecutive tokens of a record: start..stop-1."""

    record: int
    start: int
    stop: int


class PairedDataset:
    """Each window of each instrument, paired with a window of another instrument of the same trading day and split.

    A pair is a dict of the arrays of `TokenBookDataset`, always including the clock, with a leading axis of two: row 0
    is a window as there, row 1 a window of the peer without targets. In addition, peer_seen int32 [2, T+1] is the
    number of tokens of the other row whose events are entirely before the time known at a token. Events at the same
    nanosecond do not see each other.

    Row 1 begins a quarter of its length before the peer's last token at the start of row 0, and continues as far as the
    latest time known in row 0 and the window's length allow. Its beginning depends only on what precedes row 0's first
    token. If row 1 were aligned at its end instead, the amount of the peer's past that a token sees would reveal how
    much the peer is still to write. Hence, if a peer writes more than three tokens for every four of row 0, the last
    tokens of row 0 do not see the peer's latest ones.

    The peer of an instrument is the next one in alphabetical order that has records of the day; the last is followed by
    the first. If there is none, row 1 is blank. Every token of every instrument is thus a target just as without peers.
    """

    def __init__(
        self, source: RecordSource, *, context: int, time_buckets: int, evaluation: bool, beside: Beside
    ) -> None:
        """Lay out the windows, which reads each record once for its times.

        Args:
          source: records of one split, by index.
          context: T, context length of the model, in tokens.
          time_buckets: number of time buckets per day.
          evaluation: whether windows overlap for evaluation.
          beside: the additional arrays of windows; the clock is always among them.

        Raises:
          InputError: as `TokenBookDataset`.
        """
        asked = dataclasses.replace(beside, names=tuple(dict.fromkeys((*beside.names, "clock"))))
        self.windows = TokenBookDataset(
            source, context=context, time_buckets=time_buckets, evaluation=evaluation, beside=asked
        )
        self.context, self.evaluation = context, evaluation
        self._times = [_times_of(source, index) for index in range(len(source))]
        self._records: dict[tuple[str, str], list[int]] = {}  # by day and symbol, in order of time
        for index, times in enumerate(self._times):
            self._records.setdefault((times.day, times.symbol), []).append(index)
        for indices in self._records.values():
            indices.sort(key=lambda index: self._times[index].own)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Window:
        """Return one pair."""
        span = self.windows.spans[index]
        known = self._known(span)
        runs = self._peer_runs(span.record, known)
        anchor, peer = self.windows.cut(span), self._peer_window(runs)
        pair = {name: np.stack([array, peer[name]]) for name, array in anchor.items()}
        ends = _event_times(self.windows.prepared(span.record), self._times[span.record], span.start, len(known))
        peer_known, peer_ends = self._times_of_runs(runs)
        seen = np.stack([np.searchsorted(peer_ends, known), np.searchsorted(ends, peer_known)]).astype(np.int32)
        return {**pair, "peer_seen": seen}

    def _peer_window(self, runs: list[_Run]) -> Window:
        """Return the window of a peer, with events counted from the first event of its first record."""
        window, position = self.windows.blank(), 0
        for record, start, stop in runs:
            inside, length = slice(position, position + stop - start), stop - start
            for name, array in self.windows.cut(Span(record, start, score_from=stop, score_to=stop)).items():
                if array.ndim:
                    window[name][inside] = array[:length]
            window["event"][inside] += self._times[record].first_event - self._times[runs[0].record].first_event
            position = inside.stop
        window["record"][...] = runs[0].record if runs else -1
        window["position"][...] = runs[0].start if runs else 0
        window["scored"][:] = False
        return window

    def blank(self) -> Window:
        """Return a pair of padding without targets."""
        blank = self.windows.blank()
        pair = {name: np.stack([array, array]) for name, array in blank.items()}
        return {**pair, "peer_seen": np.zeros((2, self.context + 1), np.int32)}

    def sets(self, record: int) -> TokenSets:
        """Return the sets in the places of a record's tokens, see `TokenBookDataset.sets`."""
        return self.windows.sets(record)

    def _known(self, span: Span) -> np.ndarray:
        """Return the time known at each token of a window, int64 [T+1]."""
        record, times = self.windows.prepared(span.record), self._times[span.record]
        return _known_times(record, times, span.start, self.context + 1)

    def _peer_runs(self, record: int, known: np.ndarray) -> list[_Run]:
        """Return the tokens of a record's peer for a window at whose tokens the given times are known."""
        times = self._times[record]
        symbols = sorted(symbol for day, symbol in self._records if day == times.day)
        peer = symbols[(symbols.index(times.symbol) + 1) % len(symbols)]
        if peer == times.symbol:
            return []
        indices = self._records[times.day, peer]
        place = max(bisect.bisect_left(indices, known[0], key=lambda index: self._times[index].own) - 1, 0)
        start = max(self._tokens_before(indices[place], known[0]) - (self.context + 1) // HISTORY, 0)
        runs: list[_Run] = []
        room, until = self.context + 1, known.max()
        for index in indices[place:]:
            tokens = self.windows.prepared(index)
            if runs:  # records of a day are consecutive: the previous one contained the lead of this one
                start = int(np.searchsorted(tokens.event, self._times[index].lead_events))
            stop = max(start, min(self._tokens_before(index, until), start + room))
            if stop > start:
                runs.append(_Run(index, start, stop))
            room -= stop - start
            if stop < len(tokens.tokens):
                break
        return runs

    def _tokens_before(self, index: int, time_ns: int) -> int:
        """Return the number of tokens of the events before the first one that is not strictly before a time."""
        events = np.searchsorted(self._times[index].latest, time_ns)  # left: events at this very time do not count
        return int(np.searchsorted(self.windows.prepared(index).event, events))

    def _times_of_runs(self, runs: list[_Run]) -> tuple[np.ndarray, np.ndarray]:
        """Return the time known at each token of a peer's window, and the time after which it is past, int64 [T+1]."""
        known, ends = np.full(self.context + 1, np.iinfo(np.int64).min), np.full(self.context + 1, NEVER)
        place = 0
        for run in runs:
            record, times = self.windows.prepared(run.record), self._times[run.record]
            places, inside = slice(place, place + run.stop - run.start), slice(run.start, run.stop)
            known[places] = times.known[record.clock_row[inside]]
            ends[places] = times.latest[record.event[inside]]
            place = places.stop
        return known, np.maximum.accumulate(ends)


def _times_of(source: RecordSource, index: int) -> _Times:
    record = source[index]
    instrument = record_instrument(record)
    known = np.asarray(record["clock_ns"], np.int64)
    lead_events = int(record["lead_events"])
    return _Times(
        symbol=instrument.symbol,
        day=instrument.trading_day,
        known=known,
        latest=np.maximum.accumulate(known[1:]),
        own=int(known[min(lead_events + 1, len(known) - 1)]),
        lead_events=lead_events,
        first_event=int(record["first_event"]),
    )


def _overlap(record: PreparedRecord, start: int, length: int) -> tuple[slice, slice]:
    """Return the slice of a record's tokens that a window contains, and their slice of the window."""
    low, high = max(start, 0), min(start + length, len(record.tokens))
    return slice(low, high), slice(low - start, high - start)


def _known_times(record: PreparedRecord, times: _Times, start: int, length: int) -> np.ndarray:
    """Return the time known at each token of a window, int64 [length]; before the record, its starting time."""
    inside, places = _overlap(record, start, length)
    known = np.full(length, times.known[0], np.int64)
    known[places] = times.known[record.clock_row[inside]]
    known[places.stop :] = np.iinfo(np.int64).min  # padding knows nothing
    return known


def _event_times(record: PreparedRecord, times: _Times, start: int, length: int) -> np.ndarray:
    """Return the time after which each token of a window is past, int64 [length], non-decreasing."""
    inside, places = _overlap(record, start, length)
    ends = np.full(length, NEVER, np.int64)
    ends[: places.start] = times.known[0]
    ends[places] = times.latest[record.event[inside]]
    return ends
