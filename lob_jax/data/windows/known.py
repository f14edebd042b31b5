"""Compute the inputs known at each token of a record besides the token: one function per array, found by its name.

The arrays, and the models that need them, are listed in `lob_jax.models.inputs`.
"""

import dataclasses
import datetime
import functools
from collections.abc import Callable

import numpy as np

from lob_jax.book.anchors import remembered_prices
from lob_jax.book.flow import FlowState, blank_flow
from lob_jax.book.price_memory import PAST_EVENTS, no_past, past_events
from lob_jax.book.queue import recent_sizes
from lob_jax.data.labels.moves import NO_LABEL, Outlooks
from lob_jax.data.labels.regimes import Regimes
from lob_jax.data.records.records import Record, read_record, record_instrument, record_opening, record_tokenizer
from lob_jax.data.windows.flow import flow_at, record_flow
from lob_jax.data.windows.sets import RecordSets
from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_DAY, NS_PER_SECOND, Instrument
from lob_jax.statistics.recent import LOOK_BACK
from lob_jax.tokens.latest import latest_along
from lob_jax.tokens.states import events_along, kinds_along, states_along
from lob_jax.tokens.tokenizer import Tokenizer

FLOW = "flow"  # the array that needs a record's state of the flow
ALWAYS = ("time_of_day", "day_of_week", "book")
SETS = "allowed"  # the array of token sets, which is made when a window is cut: whole records of bits are too large


@dataclasses.dataclass(frozen=True)
class Beside:
    """The arrays of windows in addition to tokens and their events.

    Attributes:
      names: names of the arrays, those of MAKERS and SETS.
      regimes: thresholds of "regime".
      prefix: whether a window begins with a token of the regime before it, see `TokenBookDataset`.
      symbols: the instruments, whose order determines the numbers of "instrument".
      outlooks: thresholds of "direction" and "log_volatility".
      tokenizer: the tokenizer of the records, for "flow", "queue", "price_memory", "anchors", "state" and
        "allowed".
    """

    names: tuple[str, ...] = ALWAYS
    regimes: Regimes | None = None
    prefix: bool = False
    symbols: tuple[str, ...] = ()
    outlooks: Outlooks | None = None
    tokenizer: Tokenizer | None = None

    @property
    def blank_flow(self) -> FlowState | None:
        """Return the state of the flow before a day's first event, if the arrays need one."""
        return blank_flow() if FLOW in self.names else None

    @property
    def look_back(self) -> int:
        """Return how many events before a window its arrays may depend on, other than the flow: it has all of them."""
        return max(LOOK_BACK, PAST_EVENTS) if "price_memory" in self.names else LOOK_BACK


NOTHING = Beside()


@dataclasses.dataclass(frozen=True, eq=False)
class Known:
    """One array along a record's T tokens.

    Attributes:
      values: [R, ...], the distinct values; row 0 is known before the record's first token.
      row: int32 [T], the row of `values` that is known after a token.
      blank: the value of padding.
      is_label: whether it describes the future, so that a token prepended to a window must not have it.
    """

    values: np.ndarray
    row: np.ndarray
    blank: int = 0
    is_label: bool = False

    def at(self, tokens: slice | np.ndarray) -> np.ndarray:
        """Return the values known at some tokens."""
        return self.values[self.row[tokens]]

    def write(self, tokens: slice, out: np.ndarray) -> None:
        """Write the values known at some tokens to an array [n, ...]."""
        np.take(self.values, self.row[tokens], axis=0, out=out, mode="clip")  # any other mode writes to a copy first

    def behind(self, count: int) -> np.ndarray:
        """Return the value known after `count` tokens of the record, for a token inserted there; blank for a label."""
        if self.is_label:
            return np.full_like(self.values[0], self.blank)
        return self.values[self.row[count - 1] if count > 0 else 0]


@dataclasses.dataclass(frozen=True, eq=False)
class Along:
    """A record and its tokens, in the form that makers read.

    The tokenizer defines which book and which time are known at a token, see `Tokenizer.known_rows`. Rows are those of
    the record's E + 1 states, where row i is known before event i.

    Attributes:
      record: the record.
      instrument: its instrument.
      event: int32 [T], the event that a token belongs to.
      clock_row: int32 [T], the row of the clock known after a token.
      book_row: int32 [T], the row of the book known after a token.
      time_buckets: number of time buckets per day.
      beside: the requested arrays.
    """

    record: Record
    instrument: Instrument
    event: np.ndarray
    clock_row: np.ndarray
    book_row: np.ndarray
    time_buckets: int
    beside: Beside

    @functools.cached_property
    def outlook(self) -> tuple[np.ndarray, np.ndarray]:
        """Return directions and log volatilities, see `Outlooks.of`; computed once for both arrays."""
        if self.beside.outlooks is None:
            raise _not_given("an outlook", "outlooks")
        return self.beside.outlooks.of(self.record)

    def tokenizer_for(self, name: str) -> Tokenizer:
        """Return the tokenizer of the record, which an array needs.

        Raises:
          InputError: it is not given.
        """
        if self.beside.tokenizer is None:
            raise _not_given(name, "tokenizer")
        return self.beside.tokenizer

    def since_midnight_ns(self) -> np.ndarray:
        """Return the record's clock in ns since the venue's midnight, int64 [E+1]."""
        return self.record["clock_ns"] - self.instrument.midnight_ns()

    def constant(self, value: int) -> Known:
        """Return an array with the same value at every token."""
        return Known(np.array([value], np.int32), np.zeros_like(self.event))


def along(record: Record, *, time_buckets: int, beside: Beside) -> Along:
    """Return a record in the form that makers read."""
    tokens = record["tokens"][:-1]
    clock_row, book_row = record_tokenizer(record).known_rows(tokens)
    return Along(
        record=record,
        instrument=record_instrument(record),
        event=events_along(tokens),
        clock_row=clock_row,
        book_row=book_row,
        time_buckets=time_buckets,
        beside=beside,
    )


def known_along(record: Along) -> dict[str, Known]:
    """Return the requested arrays but SETS, by name.

    Raises:
      InputError: an array has no maker, or its thresholds, symbols or tokenizer are not given.
    """
    for name in record.beside.names:
        if name not in (*MAKERS, SETS):
            raise InputError(
                f"no function makes the array {name} of a window",
                where="Beside(names=...)",
                expected=f"names among {', '.join(MAKERS)}",
                was=name,
                remedy="add its maker to lob_jax/data/windows/known.py",
            )
    return {name: MAKERS[name](record) for name in record.beside.names if name != SETS}


def sets_along(record: Record, beside: Beside) -> RecordSets | None:
    """Return the token sets of a record, if they are requested; they are found later.

    Raises:
      InputError: the tokenizer is not given.
    """
    if SETS not in beside.names:
        return None
    if beside.tokenizer is None:
        raise _not_given(SETS, "tokenizer")
    return RecordSets(record, beside.tokenizer)


def time_bucket(since_midnight_ns: np.ndarray, *, time_buckets: int) -> np.ndarray:
    """Return the index of each time among `time_buckets` equal parts of a day, int32, clipped to the day."""
    within = np.clip(since_midnight_ns, 0, NS_PER_DAY - 1)
    return (within * time_buckets // NS_PER_DAY).astype(np.int32)  # in this order, integer division truncates once


def _time_of_day(record: Along) -> Known:
    return Known(time_bucket(record.since_midnight_ns(), time_buckets=record.time_buckets), record.clock_row)


def _day_of_week(record: Along) -> Known:
    return record.constant(datetime.date.fromisoformat(record.instrument.trading_day).weekday())


def _book(record: Along) -> Known:
    return Known(record.record["features"], record.book_row)


def _flow(record: Along) -> Known:
    # With the clock, not the book: the flow of an event includes its gap, of which further digits may follow.
    return Known(record_flow(record.record, record.tokenizer_for(FLOW)), record.clock_row)


def _queue(record: Along) -> Known:
    codes_TQ = record.tokenizer_for("queue").queues(record.record["tokens"][:-1], record_opening(record.record))
    return Known(np.concatenate([np.zeros_like(codes_TQ[:1]), codes_TQ]), _next_row(record))


def _price_memory(record: Along) -> Known:
    tokens, opening = record.record["tokens"][:-1], record_opening(record.record)
    codes_TN = record.tokenizer_for("price_memory").price_memory(tokens, opening)
    return Known(np.concatenate([np.zeros_like(codes_TN[:1]), codes_TN]), _next_row(record))


def _anchors(record: Along) -> Known:
    tokens, opening = record.record["tokens"][:-1], record_opening(record.record)
    return Known(record.tokenizer_for("anchors").anchors(tokens, opening), record.book_row)


def _latest(record: Along) -> Known:
    return Known(latest_along(record.record["tokens"][:-1]), _next_row(record))


def flow_of(record: Record, beside: Beside, event: int) -> FlowState | None:
    """Return the state of the flow before an event of a record, if the arrays need one."""
    if FLOW not in beside.names or beside.tokenizer is None:
        return None
    return flow_at(record, beside.tokenizer, event)


def recent_of(record: Record, beside: Beside, event: int) -> np.ndarray:
    """Return the last sizes before an event of a record, see `recent_sizes`, if the arrays need them; else zeros."""
    if "queue" not in beside.names or beside.tokenizer is None:
        return recent_sizes(*np.zeros((3, 0), np.int64))
    spelled = beside.tokenizer.spelled(record["tokens"][:-1])
    return recent_sizes(spelled.kind[:event], spelled.side[:event], spelled.size[:event])


def past_of(record: Record, beside: Beside, event: int) -> np.ndarray:
    """Return the past events before an event of a record, see `past_events`, if the arrays need them; else none."""
    if "price_memory" not in beside.names or beside.tokenizer is None:
        return no_past()
    events = read_record(record, beside.tokenizer).events
    return past_events(events.kind[:event], events.side[:event], events.price[:event], events.size[:event])


def remembered_of(record: Record, beside: Beside, event: int) -> np.ndarray:
    """Return the last prices before an event of a record, see `remembered_prices`, if the arrays need them."""
    if "anchors" not in beside.names or beside.tokenizer is None:
        return remembered_prices(*np.zeros((3, 0), np.int64))
    events = read_record(record, beside.tokenizer).events
    return remembered_prices(events.kind[:event], events.side[:event], events.price[:event])


def _clock(record: Along) -> Known:
    parts = np.divmod(record.since_midnight_ns(), NS_PER_SECOND)
    return Known(np.stack(parts, -1).astype(np.int32), record.clock_row)


def _regime(record: Along) -> Known:
    if record.beside.regimes is None:
        raise _not_given("regime", "regimes")
    return Known(record.beside.regimes.of(record.record), record.book_row)


def _instrument(record: Along) -> Known:
    symbol, symbols = record.instrument.symbol, record.beside.symbols
    if symbol not in symbols:
        raise InputError(
            "an instrument is not in the list of symbols",
            where="the records",
            expected=list(symbols),
            was=symbol,
            remedy="list the instruments of all records",
        )
    return record.constant(symbols.index(symbol))


def _direction(record: Along) -> Known:
    return _label(record, record.outlook[0], blank=NO_LABEL)


def _log_volatility(record: Along) -> Known:
    return _label(record, record.outlook[1], blank=0)


def _label(record: Along, labels: np.ndarray, *, blank: int) -> Known:
    """Place labels [E+1, K] at the first time token of each event, where the book has just advanced."""
    none = np.full_like(labels[:1], blank)
    advances = np.diff(record.book_row, prepend=0) > 0
    row = np.where(advances, record.book_row + 1, 0).astype(np.int32)
    return Known(np.concatenate([none, labels]), row, blank=blank, is_label=True)


def _state(record: Along) -> Known:
    grammar = record.tokenizer_for("state").grammar
    return Known(states_along(grammar, record.record["tokens"][:-1]), _next_row(record))


def _kind(record: Along) -> Known:
    return Known(kinds_along(record.record["tokens"][:-1]), _next_row(record))


def _next_row(record: Along) -> np.ndarray:
    """Return the rows of what is known after each token, where row t is known before token t."""
    return np.arange(1, len(record.event) + 1, dtype=np.int32)


def _not_given(name: str, needed: str) -> InputError:
    return InputError(
        f"{name} is requested without its {needed}",
        where=f"Beside({needed}=...)",
        expected="the tokenizer of the records" if needed == "tokenizer" else "thresholds of the training split",
        was=None,
        remedy=f"pass them, or leave {name} out of the names",
    )


MAKERS: dict[str, Callable[[Along], Known]] = {
    "time_of_day": _time_of_day,
    "day_of_week": _day_of_week,
    "book": _book,
    FLOW: _flow,
    "queue": _queue,
    "price_memory": _price_memory,
    "anchors": _anchors,
    "latest": _latest,
    "clock": _clock,
    "regime": _regime,
    "instrument": _instrument,
    "state": _state,
    "kind": _kind,
    "direction": _direction,
    "log_volatility": _log_volatility,
}
