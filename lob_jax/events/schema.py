"""`Events`: what happened in a market, one row per event, as equal-length integer columns."""

import dataclasses
import enum
from collections.abc import Sequence

import numpy as np

from lob_jax.errors import InputError

BID = 1
ASK = -1
# The id of a decoded removal from an anonymous order: the newest one that it fits. Feeds do give -1 in a uint64.
ANONYMOUS_ID = 2**64 - 2**32


class Kind(enum.IntEnum):
    """What an event does, numbered as LOBSTER numbers its message types."""

    ADD = 1
    CANCEL = 2  # part of an order is withdrawn
    DELETE = 3  # all that remains of an order is withdrawn
    EXECUTE = 4  # a visible order trades
    EXECUTE_HIDDEN = 5  # a hidden order trades; the book does not change
    CROSS = 6  # an auction trade; the book does not change
    CONTROL = 7  # the session or the feed changes state; see Code


class Code(enum.IntEnum):
    """What a CONTROL event announces; NONE for every other kind."""

    NONE = 0
    HALT = 1
    RESUME_QUOTE = 2
    RESUME_TRADE = 3
    CLEAR = 4  # the book is empty: a reset or a resynchronisation
    SESSION_OPEN = 5
    SESSION_CLOSE = 6
    FEED_GAP = 7


class Flag(enum.IntFlag):
    """What is known about an event in addition to its content; all but OWN are statements of a feed."""

    LAST_IN_GROUP = 1
    FROM_SNAPSHOT = 2
    BAD_TIME = 4
    MAYBE_BAD_BOOK = 8
    AGGRESSOR_KNOWN = 16
    OWN = 32  # an event of an order that the user has injected: its arrival among generated events


COLUMNS: dict[str, np.dtype] = {
    name: np.dtype(dtype)
    for name, dtype in {
        "time_ns": np.int64,
        "receive_ns": np.int64,
        "sequence": np.int64,
        "kind": np.uint8,
        "code": np.uint8,
        "side": np.int8,
        "price": np.int64,
        "size": np.int64,
        "order_id": np.uint64,
        "flags": np.uint16,
    }.items()
}


@dataclasses.dataclass(frozen=True, eq=False)
class Events:
    """Market events in exchange order; all columns have the same length E.

    Attributes:
      time_ns: exchange time, ns since the UNIX epoch, UTC.
      receive_ns: capture time on the same clock, 0 if unknown.
      sequence: position in the source, which breaks ties; events are never sorted by time alone.
      kind: a `Kind`.
      code: a `Code`; non-zero only for CONTROL.
      side: +1 bid, -1 ask, always the side of the resting order; 0 for CONTROL.
      price: in price quanta of the instrument; 0 for CONTROL.
      size: lots that this event adds or removes; 0 for CONTROL.
      order_id: the feed's order reference, 0 if the feed has none; see also ANONYMOUS_ID.
      flags: `Flag` bits.
    """

    time_ns: np.ndarray
    receive_ns: np.ndarray
    sequence: np.ndarray
    kind: np.ndarray
    code: np.ndarray
    side: np.ndarray
    price: np.ndarray
    size: np.ndarray
    order_id: np.ndarray
    flags: np.ndarray

    @classmethod
    def from_columns(cls, **columns: np.ndarray) -> "Events":
        """Build events from the given columns; missing ones are filled with 0, `sequence` counts from 0.

        Raises:
          InputError: a column is unknown, columns differ in length, or a value does not fit the column's dtype.
        """
        unknown = sorted(set(columns) - set(COLUMNS))
        if unknown:
            raise InputError(
                "unknown event column",
                where="Events.from_columns",
                expected=list(COLUMNS),
                was=unknown,
                remedy="use the column names of the schema",
            )
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise InputError(
                "event columns differ in length",
                where="Events.from_columns",
                expected="equal lengths",
                was=lengths,
                remedy="pass one value per event in every column",
            )
        rows = next(iter(lengths.values()), 0)
        given = {"sequence": np.arange(rows), **columns}
        return cls(**{name: _as_column(name, given.get(name), rows) for name in COLUMNS})

    @classmethod
    def concatenate(cls, parts: Sequence["Events"]) -> "Events":
        """Concatenate events in the given order, without sorting."""
        return cls(
            **{
                name: np.concatenate([np.zeros(0, dtype), *(getattr(part, name) for part in parts)])
                for name, dtype in COLUMNS.items()
            }
        )

    def __len__(self) -> int:
        return len(self.time_ns)

    def __getitem__(self, rows: slice | np.ndarray) -> "Events":
        """Select rows by slice, mask or index array; columns stay views where NumPy allows."""
        return Events(**{name: getattr(self, name)[rows] for name in COLUMNS})

    def flagged(self, flag: Flag, rows: np.ndarray) -> "Events":
        """Return a copy in which the given rows, bool [E], have a flag in addition."""
        return self.replace(flags=self.flags | np.where(rows, flag, 0).astype(np.uint16))

    def replace(self, **columns: np.ndarray) -> "Events":
        """Return a copy with the given columns replaced."""
        return Events.from_columns(**{**{name: getattr(self, name) for name in COLUMNS}, **columns})


def _as_column(name: str, values: np.ndarray | None, rows: int) -> np.ndarray:
    """Cast values to the column's dtype; raise InputError if the cast would change a value."""
    dtype = COLUMNS[name]
    if values is None:
        return np.zeros(rows, dtype)
    values = np.asarray(values)
    if values.dtype == dtype:
        return values
    cast = values.astype(dtype)
    changed = np.flatnonzero(cast != values)
    if changed.size:
        raise InputError(
            f"a value does not fit the event column {name!r}",
            where=f"row {changed[0]}",
            expected=f"a {dtype.name}",
            was=values[changed[0]],
            remedy="convert units before building events",
        )
    return cast
