"""What is known at each token of a record, beside the token: one maker an array, found by the array's name.

The arrays and the models that need them are listed in `lob_jax.models.inputs`.
"""

import dataclasses
import datetime
import functools
from collections.abc import Callable

import numpy as np

from lob_jax.data.labels.moves import NO_LABEL, Outlooks
from lob_jax.data.labels.regimes import Regimes
from lob_jax.data.records.records import Record, record_instrument, record_tokenizer
from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_DAY, NS_PER_SECOND, Instrument
from lob_jax.tokens.vocabulary import event_index

ALWAYS = ("time_of_day", "day_of_week", "book")


@dataclasses.dataclass(frozen=True)
class Beside:
    """What windows hold beside tokens and the events that these belong to.

    Attributes:
      names: the arrays, by their names in MAKERS.
      regimes: thresholds that "regime" is told by.
      prefix: whether a window begins with a token that names the regime before it, see `TokenBookDataset`.
      symbols: the instruments, in an order that numbers them, for "instrument".
      outlooks: thresholds that "direction" and "log_volatility" are told by.
    """

    names: tuple[str, ...] = ALWAYS
    regimes: Regimes | None = None
    prefix: bool = False
    symbols: tuple[str, ...] = ()
    outlooks: Outlooks | None = None


NOTHING = Beside()


@dataclasses.dataclass(frozen=True, eq=False)
class Known:
    """One array along a record's T tokens.

    Attributes:
      values: [R, ...], all that is known at one token or another; row 0 before the record's first token.
      row: int32 [T], which of them is known when the token is the newest one.
      blank: what padding holds.
      is_label: whether it says what comes next: then a token that is put in front of a window has none.
    """

    values: np.ndarray
    row: np.ndarray
    blank: int = 0
    is_label: bool = False

    def at(self, tokens: slice | np.ndarray) -> np.ndarray:
        """Return what is known at some tokens."""
        return self.values[self.row[tokens]]

    def behind(self, count: int) -> np.ndarray:
        """Return what is known behind so many tokens of the record, for a token put there; nothing of a label."""
        if self.is_label:
            return np.full_like(self.values[0], self.blank)
        return self.values[self.row[count - 1] if count > 0 else 0]


@dataclasses.dataclass(frozen=True, eq=False)
class Along:
    """A record and its tokens, as makers read them.

    Which book and which time are known at a token is defined by its tokenizer, see `Tokenizer.known_rows`. Rows are
    those of the record's E + 1 states: row i is what is known before event i.

    Attributes:
      record: the record.
      instrument: its instrument.
      event: int32 [T], the event that a token belongs to.
      clock_row: int32 [T], which time is known when the token is the newest one.
      book_row: int32 [T], which book is.
      time_buckets: buckets in a day.
      beside: what is asked for.
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
        """Return directions and log volatilities, see `Outlooks.of`; worked out once for the two arrays."""
        if self.beside.outlooks is None:
            raise _not_given("an outlook", "outlooks")
        return self.beside.outlooks.of(self.record)

    def since_midnight_ns(self) -> np.ndarray:
        """Return the times known, int64 [E+1], since the venue's midnight."""
        return self.record["clock_ns"] - self.instrument.midnight_ns()

    def constant(self, value: int) -> Known:
        """Return what is known of a number that stays the same."""
        return Known(np.array([value], np.int32), np.zeros_like(self.event))


def along(record: Record, *, time_buckets: int, beside: Beside) -> Along:
    """Return a record as makers read it."""
    tokens = record["tokens"][:-1]
    clock_row, book_row = record_tokenizer(record).known_rows(tokens)
    return Along(
        record=record,
        instrument=record_instrument(record),
        event=event_index(tokens),
        clock_row=clock_row,
        book_row=book_row,
        time_buckets=time_buckets,
        beside=beside,
    )


def known_along(record: Along) -> dict[str, Known]:
    """Return what is asked for, by name.

    Raises:
      InputError: nothing makes an array of such a name, or what it is made by is not given.
    """
    for name in record.beside.names:
        if name not in MAKERS:
            raise InputError(
                f"nothing makes the array {name} of a window",
                where="Beside(names=...)",
                expected=f"names among {', '.join(MAKERS)}",
                was=name,
                remedy="add its maker to lob_jax/data/windows/known.py",
            )
    return {name: MAKERS[name](record) for name in record.beside.names}


def time_bucket(since_midnight_ns: np.ndarray, *, time_buckets: int) -> np.ndarray:
    """Return which of a day's `time_buckets` equal parts each time lies in, int32; times outside it go to its ends."""
    within = np.clip(since_midnight_ns, 0, NS_PER_DAY - 1)
    return (within * time_buckets // NS_PER_DAY).astype(np.int32)


def _time_of_day(record: Along) -> Known:
    return Known(time_bucket(record.since_midnight_ns(), time_buckets=record.time_buckets), record.clock_row)


def _day_of_week(record: Along) -> Known:
    return record.constant(datetime.date.fromisoformat(record.instrument.trading_day).weekday())


def _book(record: Along) -> Known:
    return Known(record.record["features"], record.book_row)


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
            "an instrument has no number",
            where="the records",
            expected=list(symbols),
            was=symbol,
            remedy="name the instruments of all records",
        )
    return record.constant(symbols.index(symbol))


def _direction(record: Along) -> Known:
    return _label(record, record.outlook[0], blank=NO_LABEL)


def _log_volatility(record: Along) -> Known:
    return _label(record, record.outlook[1], blank=0)


def _label(record: Along, labels: np.ndarray, *, blank: int) -> Known:
    """Return labels [E+1, K] where the book has just advanced: at the first time token of an event, nowhere else."""
    none = np.full_like(labels[:1], blank)
    advances = np.diff(record.book_row, prepend=0) > 0
    row = np.where(advances, record.book_row + 1, 0).astype(np.int32)
    return Known(np.concatenate([none, labels]), row, blank=blank, is_label=True)


def _not_given(name: str, needed: str) -> InputError:
    return InputError(
        f"{name} is asked for, and not what it is told by",
        where=f"Beside({needed}=...)",
        expected="thresholds of the training split",
        was=None,
        remedy=f"fit them, or leave {name} out of the names",
    )


MAKERS: dict[str, Callable[[Along], Known]] = {
    "time_of_day": _time_of_day,
    "day_of_week": _day_of_week,
    "book": _book,
    "clock": _clock,
    "regime": _regime,
    "instrument": _instrument,
    "direction": _direction,
    "log_volatility": _log_volatility,
}
