"""Convert the rows of a table to the integers of events, checking each row in isolation."""

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute

from lob_jax.events.schema import ASK, BID, Code, Flag, Kind
from lob_jax.feeds.reading import csv_fields as cf
from lob_jax.feeds.reading.csv_rows import Fault
from lob_jax.feeds.table import values as tv
from lob_jax.feeds.table.book import ALL_LEFT

pc: Any = pa.compute  # it defines its functions by name when it is imported, which no type checker follows
KINDS = {**{kind.name: int(kind) for kind in Kind}, **{str(int(kind)): int(kind) for kind in Kind}}
SIDES = {**dict.fromkeys(("BID", "BUY", "B", "1"), BID), **dict.fromkeys(("ASK", "SELL", "S", "-1"), ASK)}
CODES = {code.name: int(code) for code in Code if code} | {str(int(code)): int(code) for code in Code if code}
_NO_SIDE, _NO_CODE = {**SIDES, "": 0, "0": 0}, {**CODES, "": 0, "0": 0, "NONE": 0}
_FLAGS = int(sum(Flag))
MOST_PRICE, MOST_SIZE = 2**60, 2**53  # in units of the last decimal place; sums stay within an int64
_REMEDY = "correct the row; on_error=skip leaves such rows out and counts them"
_RANGE = "set the tick (for prices) or the lot (for sizes) if another row has too many decimal places by mistake"


@dataclasses.dataclass(frozen=True)
class Layout:
    """Properties of a table's columns that are known before its rows are read.

    Attributes:
      columns: the table's name of each of our columns that it has.
      where: the table, for errors.
      first: the number of the first row.
      time_zone: time zone of times without one; None if not specified.
      price_places: decimal places with which prices are stored.
      size_places: decimal places with which sizes are stored.
    """

    columns: dict[str, str]
    where: str
    first: int = 1
    time_zone: str | None = None
    price_places: int = 0
    size_places: int = 0

    @property
    def time(self) -> str:
        """Our name for the column of times."""
        return next(name for name in self.columns if name.startswith("time"))


class Judged(NamedTuple):
    """Rows as integers.

    Attributes:
      columns: int64 [R] by the column names of `Events`; undefined in bad rows.
      wrong: the faults, by row.
    """

    columns: dict[str, np.ndarray]
    wrong: dict[int, Fault]


def judge(batch: pa.RecordBatch, number: np.ndarray, layout: Layout) -> Judged:
    """Convert the rows of a batch, whose columns have our names, to integers.

    Args:
      batch: R rows.
      number: int64 [R], their numbers in the table.
      layout: the table's columns.
    """
    rows, wrong = batch.num_rows, {}
    found = _read_columns(batch, layout)
    kind, code = found["kind"].values, found["code"].values
    control = kind == Kind.CONTROL
    for name, column in found.items():
        ours = layout.columns.get(name, name)
        may_be_empty = column.empty & _may_be_empty(name, kind)
        for row, fault in column.wrong.items():
            if not may_be_empty[row]:
                wrong.setdefault(row, fault._replace(name=ours))
    columns = {name: column.values for name, column in found.items() if name not in ("symbol", "trading_day")}
    columns["time_ns"] = columns.pop(layout.time)
    columns.setdefault("receive_ns", np.zeros(rows, np.int64))
    columns.setdefault("sequence", number - layout.first + 1)
    columns.setdefault("order_id", np.zeros(rows, np.int64))
    columns.setdefault("flags", _usual_flags(kind))
    columns["size"] = np.where((kind == Kind.DELETE) & found["size"].empty, ALL_LEFT, columns["size"])
    for name in ("side", "price", "size"):
        columns[name] = np.where(control & found[name].empty, 0, columns[name])
    for row, fault in _misfits(columns, control, code, layout).items():
        wrong.setdefault(row, fault)
    return Judged(columns, wrong)


def _may_be_empty(name: str, kind: np.ndarray) -> np.ndarray:
    """Return a mask of the rows in which a column may be empty."""
    control = (kind == Kind.CONTROL) & (name in ("side", "price", "size"))
    return control | ((kind == Kind.DELETE) & (name == "size"))


def _read_columns(batch: pa.RecordBatch, layout: Layout) -> dict[str, tv.Values]:
    """Parse each column by its grammar, in the order in which faults are reported."""
    found: dict[str, tv.Values] = {}
    for name, theirs in layout.columns.items():
        column = batch.column(batch.schema.get_field_index(name))
        if name in ("symbol", "trading_day"):
            found[name] = _read_key(tv.text_of(column, theirs, where=layout.where), name)
        elif name.startswith("time"):
            where = {"time_zone": layout.time_zone, "where": layout.where}
            found[name] = tv.times_of(column, name, theirs, **where)
        elif name == "receive_ns":
            found[name] = _optional_time(column, theirs, layout)
        else:
            text = tv.text_of(column, theirs, where=layout.where)
            found[name] = _read_text(text, name, layout, inexact=pa.types.is_floating(column.type))
    if "code" not in found:
        found["code"] = tv.Values(np.zeros(batch.num_rows, np.int64), {}, np.ones(batch.num_rows, bool))
    return found


def _read_key(text: pa.StringArray, name: str) -> tv.Values:
    """Parse a column of dates; for symbols, only report missing ones."""
    if name == "trading_day":
        return tv.days_of(text, name)
    empty = np.asarray(pc.equal(text, ""))
    fault = Fault(None, name, "an empty field", "a symbol", "an empty field", _REMEDY)
    return tv.Values(np.zeros(len(text), np.int64), dict.fromkeys(np.flatnonzero(empty).tolist(), fault), empty)


def _read_text(text: pa.StringArray, name: str, layout: Layout, *, inexact: bool) -> tv.Values:
    if name in ("kind", "side", "code"):
        return tv.words_of(text, name, {"kind": KINDS, "side": _NO_SIDE, "code": _NO_CODE}[name])
    decimal = functools.partial(tv.numbers_of, text, name, content=cf.DECIMAL, inexact=inexact, remedy=_RANGE)
    if name == "price":
        return decimal(low=-MOST_PRICE, high=MOST_PRICE, scale=layout.price_places)
    if name == "size":
        return decimal(low=0, high=MOST_SIZE, scale=layout.size_places)
    if name == "order_id":
        return _zero_if_empty(tv.numbers_of(text, name, content=cf.ID, inexact=inexact))
    limits: dict[str, Any] = {"low": 0, "high": _FLAGS} if name == "flags" else {}
    return _zero_if_empty(tv.numbers_of(text, name, inexact=inexact, **limits))


def _zero_if_empty(found: tv.Values) -> tv.Values:
    wrong = {row: fault for row, fault in found.wrong.items() if not found.empty[row]}
    return found._replace(values=np.where(found.empty, 0, found.values), wrong=wrong)


def _optional_time(column: pa.Array, theirs: str, layout: Layout) -> tv.Values:
    """Parse capture times; 0 and an empty field mean that there is none."""
    found = tv.times_of(column, "receive_ns", theirs, time_zone=layout.time_zone, where=layout.where)
    none = found.empty.copy()
    if not pa.types.is_timestamp(column.type):
        none |= np.asarray(pc.is_in(tv.text_of(column, theirs, where=layout.where), pa.array(["0", ""])))
    return _zero_if_empty(found._replace(empty=none))


def _usual_flags(kind: np.ndarray) -> np.ndarray:
    traded = (kind == Kind.EXECUTE) | (kind == Kind.EXECUTE_HIDDEN)
    return np.where(traded, int(Flag.LAST_IN_GROUP | Flag.AGGRESSOR_KNOWN), int(Flag.LAST_IN_GROUP))


def _misfits(columns: dict[str, np.ndarray], control: np.ndarray, code: np.ndarray, layout: Layout) -> dict[int, Fault]:
    """Return the faults of rows whose fields are valid individually."""
    kind, side, price, size = (columns[name] for name in ("kind", "side", "price", "size"))
    unnamed = (kind <= Kind.EXECUTE) & (columns["order_id"] == 0) & ("order_id" in layout.columns)
    rules = (
        ("code", code, control & (code == 0), "a CONTROL event without a code", " or ".join(Code.__members__)),
        ("code", code, ~control & (code != 0), "a code in an event that is not CONTROL", "an empty field"),
        ("side", side, control & (side != 0), "a CONTROL event with a side", "an empty field, or 0"),
        ("price", price, control & (price != 0), "a CONTROL event with a price", "an empty field, or 0"),
        ("size", size, control & (size != 0), "a CONTROL event with a size", "an empty field, or 0"),
        ("side", side, ~control & (side == 0), "an event without a side", "bid or ask"),
        ("size", size, ~control & (size == 0), "an event of size 0", "more than 0"),
        ("order_id", columns["order_id"], unnamed, "an order without an order_id", "1 or more"),
    )
    remedies = {
        "order_id": "leave out the column if orders have no ids: each level is then a single order",
        "size": "correct the row; the size may be empty only for a DELETE of all that remains",
    }
    wrong: dict[int, Fault] = {}
    for name, values, bad, what, expected in rules:
        for row in np.flatnonzero(bad).tolist():
            ours = layout.columns.get(name, name)
            wrong.setdefault(row, Fault(None, ours, what, expected, int(values[row]), remedies.get(name, _REMEDY)))
    return wrong
