"""Events and corrections as JSON records, and back, without loss.

An event is {"time", "kind", "side", "price", "size", "order_id"?}; one that changes the state of the session or of the
feed is {"time", "kind": "control", "code"}. {"kind": "level", "side", "price", "size"} is no event but a correction:
the feed's own total at a price, 0 if there is none, after the events that come before it in the list.
"""

import dataclasses
import decimal
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lob_jax.book.snapshot import CORRECTION_COLUMNS, Corrections
from lob_jax.errors import InputError
from lob_jax.events.schema import ASK, BID, Code, Events, Kind
from lob_jax.serving.requests import PathEvent
from lob_jax.serving.units import Units, Unreadable, read_time, time_text

LEVEL = "level"
KINDS: dict[str, int] = {kind.name.lower(): int(kind) for kind in Kind}
CODES: dict[str, int] = {code.name.lower(): int(code) for code in Code if code is not Code.NONE}
SIDES: dict[str, int] = {"bid": BID, "ask": ASK}
KIND_NAMES = {number: name for name, number in KINDS.items()}
CODE_NAMES = {number: name for name, number in CODES.items()}
SIDE_NAMES = {number: name for name, number in SIDES.items()}
MOST_ID = 2**64 - 1
EXACT_JSON = 2**53  # from here on, JavaScript would round an id: it is written as text
SHOWN_FAULTS = 10
LONGEST_SHOWN = 80

_EVENT = frozenset({"time", "kind", "side", "price", "size"})
_CONTROL = frozenset({"time", "kind", "code"})
_LEVEL = frozenset({"kind", "side", "price", "size"})
_ID = frozenset({"order_id"})
_ALL = _EVENT | _CONTROL | _ID


@dataclasses.dataclass(frozen=True)
class Fault:
    """What is wrong in a document.

    Attributes:
      pointer: where, as a JSON pointer (RFC 6901).
      expected: what was expected there.
      was: what is there, as text.
    """

    pointer: str
    expected: str
    was: str


class InvalidRecords(InputError):
    """Raised for records that cannot be read.

    Attributes:
      faults: what is wrong, the first ones.
    """

    def __init__(self, what: str, faults: Sequence[Fault]):
        self.faults = tuple(faults)
        first = faults[0]
        super().__init__(what, where=first.pointer, expected=first.expected, was=first.was, remedy="correct it")


class Wrong(Exception):
    """Raised for a field of a record: its name, what was expected and what was there."""

    def __init__(self, field: str, expected: str, was: object):
        self.field, self.expected, self.was = field, expected, shown(was)
        super().__init__(field)

    def fault(self, pointer: str) -> Fault:
        """Return the fault of a record at a pointer."""
        return Fault(f"{pointer}/{self.field}" if self.field else pointer, self.expected, self.was)


def shown(value: object) -> str:
    """Return a value as text for an error, cut off if it is long."""
    return (str(value) if isinstance(value, decimal.Decimal) else repr(value))[:LONGEST_SHOWN]


@dataclasses.dataclass(frozen=True, eq=False)
class Read:
    """What records say.

    Attributes:
      events: the events.
      corrections: the corrections, by index of the event that they follow; -1 before the first.
      record: int64 [E], the index of the record of each event.
    """

    events: Events
    corrections: Corrections
    record: np.ndarray

    def pointer(self, event: int, inside: str) -> str:
        """Return the JSON pointer of an event's record in the list at the pointer `inside`."""
        return f"{inside}/{self.record[event]}" if 0 <= event < len(self.record) else inside


def read_records(records: Sequence[Any], units: Units, *, inside: str = "") -> Read:
    """Return the events and corrections of records.

    Args:
      records: the records, as parsed from JSON; numbers may be int, Decimal or float.
      units: the units of the instrument.
      inside: the JSON pointer of the list, for errors.

    Raises:
      InvalidRecords: some cannot be read.
    """
    events: list[tuple[int, ...]] = []
    levels: list[tuple[int, ...]] = []
    of: list[int] = []
    faults: list[Fault] = []
    for index, record in enumerate(records):
        try:
            if isinstance(record, Mapping) and record.get("kind") == LEVEL:
                levels.append((len(events) - 1, *_level(record, units)))
            else:
                events.append(_event(record, units))
                of.append(index)
        except Wrong as wrong:
            faults.append(wrong.fault(f"{inside}/{index}"))
            if len(faults) == SHOWN_FAULTS:
                break
    if faults:
        raise InvalidRecords("a record is invalid", faults)
    return Read(_events(events), _corrections(levels), np.asarray(of, np.int64))


def _events(rows: Sequence[tuple[int, ...]]) -> Events:
    names = ("time_ns", "kind", "code", "side", "price", "size", "order_id")
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    dtypes = (np.int64, np.uint8, np.uint8, np.int8, np.int64, np.int64, np.uint64)
    return Events.from_columns(
        **{name: np.array(column, dtype) for name, column, dtype in zip(names, columns, dtypes, strict=True)}
    )


def _corrections(rows: Sequence[tuple[int, ...]]) -> Corrections:
    columns = zip(*rows, strict=True) if rows else [()] * len(CORRECTION_COLUMNS)
    named = zip(CORRECTION_COLUMNS.items(), columns, strict=True)
    return Corrections(**{name: np.array(column, dtype) for (name, dtype), column in named})


def _event(record: Any, units: Units) -> tuple[int, ...]:
    """Return time, kind, code, side, price, size and id of an event; raise Wrong."""
    if not isinstance(record, Mapping):
        raise Wrong("", "an object", record)
    kind = KINDS.get(record.get("kind")) if isinstance(record.get("kind"), str) else None
    if kind is None:
        raise Wrong("kind", f"one of {', '.join(KINDS)}, {LEVEL}", record.get("kind"))
    control = kind == Kind.CONTROL
    _check_fields(record, _CONTROL if control else _EVENT, frozenset() if control else _ID)
    time_ns = _field(record, "time", read_time)
    if control:
        code = CODES.get(record["code"]) if isinstance(record["code"], str) else None
        if code is None:
            raise Wrong("code", f"one of {', '.join(CODES)}", record["code"])
        return time_ns, kind, code, 0, 0, 0, 0
    side, price, size = _placed(record, units, least=1)
    return time_ns, kind, 0, side, price, size, read_id(record["order_id"]) if "order_id" in record else 0


def _level(record: Mapping[str, Any], units: Units) -> tuple[int, int, int]:
    """Return side, price and size of a correction; raise Wrong."""
    _check_fields(record, _LEVEL, frozenset())
    return _placed(record, units, least=0)


def _placed(record: Mapping[str, Any], units: Units, *, least: int) -> tuple[int, int, int]:
    side = SIDES.get(record["side"]) if isinstance(record["side"], str) else None
    if side is None:
        raise Wrong("side", "bid or ask, the side of the resting order", record["side"])
    price = _field(record, "price", units.read_price)
    try:
        return side, price, units.read_size(record["size"], least=least)
    except Unreadable as error:
        raise Wrong("size", error.expected, record["size"]) from error
    except TypeError as error:
        raise Wrong("size", "a number", record["size"]) from error


def _field(record: Mapping[str, Any], name: str, read: Any) -> int:
    try:
        return read(record[name])
    except Unreadable as error:
        raise Wrong(name, error.expected, record[name]) from error
    except TypeError as error:  # a list or an object, which has no hash
        raise Wrong(name, "a number or text", record[name]) from error


def read_id(value: object) -> int:
    """Return an order's id, from an integer or decimal text; raise Wrong."""
    text = value if isinstance(value, str) else ""
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else value
    if type(number) is not int or not 0 <= number <= MOST_ID:
        raise Wrong("order_id", "a whole number from 0 to 2^64 - 1, or its decimal digits as text", value)
    return number


def _check_fields(record: Mapping[str, Any], wanted: frozenset[str], optional: frozenset[str]) -> None:
    """Check that a record has the fields of its kind and no others; raise Wrong."""
    present = record.keys()
    if present == wanted:
        return
    for name in sorted(wanted - present):
        raise Wrong(name, "this field", "absent")
    for name in sorted(present - wanted - optional):
        known = name if name in _ALL else ""
        raise Wrong(known, f"only the fields {', '.join(sorted(wanted | optional))}", name)


def records_of(events: Events, corrections: Corrections, units: Units) -> list[dict[str, Any]]:
    """Return the records of events and corrections, in the order in which they apply."""
    columns = (events.time_ns, events.kind, events.code, events.side, events.price, events.size, events.order_id)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    after = zip(*(getattr(corrections, name).tolist() for name in CORRECTION_COLUMNS), strict=True)
    levels: dict[int, list[dict[str, Any]]] = {}
    for event, side, price, size in after:
        levels.setdefault(event, []).append(level_record(side, price, size, units))
    records = [*levels.get(-1, ())]
    for index, (time_ns, kind, code, side, price, size, order_id) in enumerate(rows):
        record = event_record(time_ns, kind, units, code=code, side=side, price=price, size=size)
        records.append(record | (_id_field(order_id) if order_id else {}))
        records += levels.get(index, ())
    return records


def _id_field(order_id: int) -> dict[str, Any]:
    return {"order_id": order_id if order_id < EXACT_JSON else str(order_id)}


def event_record(
    time_ns: int, kind: int, units: Units, *, code: int, side: int, price: int, size: int
) -> dict[str, Any]:
    """Return the record of an event without an id."""
    head = {"time": time_text(time_ns), "kind": KIND_NAMES[kind]}
    if kind == Kind.CONTROL:
        return {**head, "code": CODE_NAMES[code]}
    return {**head, "side": SIDE_NAMES[side], "price": units.price_text(price), "size": units.size_text(size)}


def level_record(side: int, price: int, size: int, units: Units) -> dict[str, Any]:
    """Return the record of a level's total."""
    placed = {"side": SIDE_NAMES[side], "price": units.price_text(price), "size": units.size_text(size)}
    return {"kind": LEVEL, **placed}


def path_records(event: PathEvent, units: Units) -> list[dict[str, Any]]:
    """Return the records of an event of a path: the event, and the level that it brought into view."""
    placed = {"code": event.code, "side": event.side, "price": event.price, "size": event.size}
    first = event_record(event.time_ns, event.kind, units, **placed)
    return [first] if event.shown is None else [first, level_record(*event.shown, units)]


def path_json(event: PathEvent, units: Units) -> str:
    """Return the JSON text of `path_records`, which no value in it has to be escaped for: a stream writes thousands."""
    if event.kind == Kind.CONTROL:
        text = f'{{"time":"{time_text(event.time_ns)}","kind":"control","code":"{CODE_NAMES[event.code]}"}}'
    else:
        placed = _placed_json(event.side, event.price, event.size, units)
        text = f'{{"time":"{time_text(event.time_ns)}","kind":"{KIND_NAMES[event.kind]}",{placed}}}'
    shown = "" if event.shown is None else f',{{"kind":"level",{_placed_json(*event.shown, units)}}}'
    return f"[{text}{shown}]"


def _placed_json(side: int, price: int, size: int, units: Units) -> str:
    return f'"side":"{SIDE_NAMES[side]}","price":"{units.price_text(price)}","size":"{units.size_text(size)}"'
