"""Windows of two instruments at the same time: one to be scored, and beside it the newest of another."""

import bisect
import dataclasses
from typing import NamedTuple

import numpy as np

from lob_jax.data.records.records import RecordSource, record_instrument
from lob_jax.data.windows.dataset import PreparedRecord, Span, TokenBookDataset, Window
from lob_jax.data.windows.known import Beside

NEVER = np.iinfo(np.int64).max


HISTORY = 4  # one token in so many of a peer's window is from before the other window


@dataclasses.dataclass(frozen=True, eq=False)
class _Times:
    """The times of a record: UNIX ns.

    Attributes:
      symbol: of its instrument.
      day: trading day.
      known: int64 [E+1], the time known before each event and behind the last.
      latest: int64 [E], the latest time of any event up to each: it never falls, where a feed's own times may.
      own: the time of the first event behind the lead.
      lead_events: how many events those in front are.
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
    """Tokens start..stop-1 of a record."""

    record: int
    start: int
    stop: int


class PairedDataset:
    """Each window of each instrument, with a window of another instrument of the same trading day and split.

    A pair is a dict of the arrays of `TokenBookDataset` with a leading axis of two, its `beside` clock among them:
    row 0 a window as there, row 1 a window of the peer, none of it scored; and peer_seen int32 [2, T+1], how many
    tokens of the other row belong to events that lie, whole, strictly before the time known at a token. Equal
    nanoseconds count as not seen, either way.

    Row 1 begins a quarter of its length in front of what the peer had written when row 0 begins, and goes on from
    there, as far as the latest time known in row 0 and the window's length allow. Where it begins hangs on the past of
    row 0's first token alone: were it cut from its end, how much of the peer's past a token sees would tell it how much
    the peer is still to write. So of a peer that writes more than three tokens for four of row 0, the last tokens of
    row 0 do not see the newest.

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
        asked = dataclasses.replace(beside, names=tuple(dict.fromkeys((*beside.names, "clock"))))
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
        known = self._known(span)
        runs = self._peer_runs(span.record, known)
        anchor, peer = self.windows.cut(span), self._peer_window(runs)
        pair = {name: np.stack([array, peer[name]]) for name, array in anchor.items()}
        ends = _event_times(self.windows.prepared(span.record), self._times[span.record], span.start, len(known))
        peer_known, peer_ends = self._times_of_runs(runs)
        seen = np.stack([np.searchsorted(peer_ends, known), np.searchsorted(ends, peer_known)]).astype(np.int32)
        return {**pair, "peer_seen": seen}

    def _peer_window(self, runs: list[_Run]) -> Window:
        """Return the window of a peer, its events numbered from the first event of its first record."""
        window, place = self.windows.blank(), 0
        for record, start, stop in runs:
            places, length = slice(place, place + stop - start), stop - start
            for name, array in self.windows.cut(Span(record, start, score_from=stop, score_to=stop)).items():
                if array.ndim:
                    window[name][places] = array[:length]
            window["event"][places] += self._times[record].first_event - self._times[runs[0].record].first_event
            place = places.stop
        window["record"][...] = runs[0].record if runs else -1
        window["position"][...] = runs[0].start if runs else 0
        window["scored"][:] = False
        return window

    def blank(self) -> Window:
        """Return a pair of padding with nothing to score."""
        blank = self.windows.blank()
        pair = {name: np.stack([array, array]) for name, array in blank.items()}
        return {**pair, "peer_seen": np.zeros((2, self.context + 1), np.int32)}

    def _known(self, span: Span) -> np.ndarray:
        """Return the time known at each token of a window, int64 [T+1]."""
        record, times = self.windows.prepared(span.record), self._times[span.record]
        return _known_times(record, times, span.start, self.context + 1)

    def _peer_runs(self, record: int, known: np.ndarray) -> list[_Run]:
        """Return the tokens of a record's peer that stand beside a window at whose tokens these times are known."""
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
            if runs:  # records of a day follow one another; the lead of the next one has been shown
                start = int(np.searchsorted(tokens.event, self._times[index].lead_events))
            stop = max(start, min(self._tokens_before(index, until), start + room))
            if stop > start:
                runs.append(_Run(index, start, stop))
            room -= stop - start
            if stop < len(tokens.tokens):
                break
        return runs

    def _tokens_before(self, index: int, time_ns: int) -> int:
        """Return how many tokens of a record belong to events before the first that is not strictly before a time."""
        events = np.searchsorted(self._times[index].latest, time_ns)
        return int(np.searchsorted(self.windows.prepared(index).event, events))

    def _times_of_runs(self, runs: list[_Run]) -> tuple[np.ndarray, np.ndarray]:
        """Return the time known at each token of a peer's window, and that from which on it is past, int64 [T+1]."""
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
