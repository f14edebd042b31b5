"""Convert the MBO records of one instrument to its starting book, events and corrections."""

import itertools
from collections.abc import Callable

import numpy as np

from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_DAY
from lob_jax.events.schema import COLUMNS, Code, Events, Flag, Kind
from lob_jax.feeds.databento import events as loops
from lob_jax.feeds.databento import work as w
from lob_jax.feeds.databento.checks import BAD_BOOK, BAD_RECEIVE, SNAPSHOT, A, F, Fault, M, R
from lob_jax.feeds.databento.records import RECORD, Rows
from lob_jax.feeds.databento.work import Count, State
from lob_jax.feeds.reading.faults import Faults
from lob_jax.feeds.reading.order_table import new_table, room_for
from lob_jax.feeds.reading.scale import common_divisor
from lob_jax.feeds.reading.store import EventStore

_ROWS_AT_ONCE = 1 << 14  # so few that their orders and events stay in the processor's cache
_UNDEFINED = -1  # instead of a time
_REMEDY = "fetch the file again, from the start of its UTC day; skip or quarantine leaves such records out"
_A_DAY_A_FILE = (
    'request one file per day from Databento (split_duration="day"): in this file, the book of the next day does not '
    "start with a snapshot or a clear; skip or quarantine keeps the first 24 hours"
)


class InstrumentBook:
    """Converts the records of one instrument to events in a store.

    Records flagged SNAPSHOT at the beginning form the starting book. Later ones replace the book: they become a CLEAR
    with one correction per order of the snapshot. The orders also enter the order table, so that their cancels find
    them.

    Attributes:
      start: the starting book, None until it is complete.
      publisher: the publisher of all records, None before the first.
      rows: number of records seen.
      snapshots: number of snapshots that replaced the book.
      price_divisor: common divisor of the prices of visible orders so far.
      quantum_divisor: common divisor of those and of the prices of hidden trades and crosses.
      signed: whether the price of a visible order so far was zero or negative.
    """

    def __init__(self, where: Callable[[int], str], store: EventStore, faults: Faults):
        """Begin a day; `where` returns the location of a record, given its number."""
        self.start: BookSnapshot | None = None
        self.rows = self.snapshots = self.price_divisor = self.quantum_divisor = 0
        self.signed = False
        self.publisher: int | None = None
        self._where, self._store, self._faults = where, store, faults
        self._begun_ns = 0  # capture time of the first record
        self._only_clears = True  # whether all records so far are clears
        self._snapshot: _Snapshot | None = None
        self._held = np.empty((len(w.COLUMNS), 0), np.int64)
        self._work = w.Work(
            table=new_table(1 << 10),
            state=np.zeros(len(State), np.int64),
            counts=np.zeros(len(Count), np.int64),
            filled=np.zeros(0, np.int64),
            out=self._held,
            last=np.zeros(1, RECORD),
            last_number=np.zeros(1, np.int64),
        )

    @property
    def counts(self) -> dict[str, int]:
        """Return the counts by name."""
        return {count.name.lower(): int(self._work.counts[count]) for count in Count}

    def push(self, rows: Rows) -> None:
        """Process the next records.

        Raises:
          InputError: the first bad record, if reading is strict.
        """
        self.rows += len(rows.records)
        rows = self._of_one_day(self._of_one_publisher(rows))
        opening = self._opening(rows.records)
        edges = [0, *(np.flatnonzero(np.diff(opening)) + 1).tolist(), len(opening)]
        for first, stop in itertools.pairwise(edges):
            if stop > first:
                part = Rows(rows.records[first:stop], rows.number[first:stop])
                self._take_snapshot(part) if opening[first] else self._take_updates(part)

    def finish(self) -> BookSnapshot:
        """End the instrument's day, and return its starting book."""
        if self._snapshot is not None:
            self._end_snapshot(self._snapshot, _UNDEFINED)
        if self.start is None:
            self.start = BookSnapshot.empty()
        self._break_group()
        return self.start

    def _of_one_publisher(self, rows: Rows) -> Rows:
        publishers = rows.records["publisher_id"]
        if self.publisher is None and len(publishers):
            self.publisher = int(publishers[0])
        other = publishers != self.publisher
        fault = "a second publisher of the same instrument", "publisher_id", f"{self.publisher}, as in the first record"
        for i in np.flatnonzero(other):
            self._refuse(rows, int(i), fault)
        return _without(rows, other)

    def _of_one_day(self, rows: Rows) -> Rows:
        received = rows.records["ts_recv"]
        if not self._begun_ns:
            self._begun_ns = int(next(iter(received[received > 0]), 0))
        late = received > (self._begun_ns or received.max(initial=0)) + NS_PER_DAY
        if late.any():
            fault = "a record more than 24 hours after the start of its day", "ts_recv", "records of one day"
            self._refuse(rows, int(np.argmax(late)), (*fault, _A_DAY_A_FILE), count=int(late.sum()))
        return _without(rows, late)

    def _opening(self, records: np.ndarray) -> np.ndarray:
        """Return a mask of the records that belong to a snapshot: flagged ones, and clears before any other record."""
        opening = (records["flags"] & SNAPSHOT) != 0
        if self._only_clears:
            clears = (records["action"] == R) & ~opening
            leading = len(clears) if clears.all() else int(np.argmin(clears))
            opening[:leading] = True
            self._only_clears = leading == len(clears)
        return opening

    def _take_updates(self, rows: Rows) -> None:
        if self._snapshot is not None:
            self._end_snapshot(self._snapshot, int(rows.records["ts_event"][0]))
        if self.start is None:
            self._begin(BookSnapshot.empty(max(int(rows.records["ts_event"][0]), 0)))
        for first in range(0, len(rows.records), _ROWS_AT_ONCE):
            some = slice(first, first + _ROWS_AT_ONCE)
            self._convert(Rows(rows.records[some], rows.number[some]))

    def _begin(self, start: BookSnapshot) -> None:
        self.start = start
        self._work.state[State.CLOCK] = start.time_ns

    def _convert(self, rows: Rows) -> None:
        records, work = rows.records, self._work
        fills = int(np.count_nonzero(records["action"] == F))
        table = room_for(work.table, int(np.count_nonzero(np.isin(records["action"], (A, M)))))
        self._work = work._replace(table=table, filled=_with_room(work.filled, int(work.state[State.FILLS]) + fills))
        done = 0
        while done < len(records):
            self._new_output(3 * (len(records) - done) + fills)
            done, fault = loops.convert(self._work, records, rows.number, done)
            self._keep()
            if fault != Fault.SOUND:
                self._refuse(rows, done - 1, (fault.what, fault.field, fault.expected))

    def _break_group(self) -> None:
        self._new_output(0)
        loops.break_group(self._work)
        self._keep()

    def _new_output(self, room: int) -> None:
        """Allocate output for `room` events, preceded by the held event, and for those that end the open group."""
        held = self._held.shape[1]
        out = np.empty((len(w.COLUMNS), held + room + 2 * int(self._work.state[State.FILLS]) + 1), np.int64)
        out[:, :held] = self._held
        self._work = self._work._replace(out=out)

    def _keep(self) -> None:
        """Store the events, except the last one of an open group, which may still have to be flagged as its last."""
        state, out = self._work.state, self._work.out
        events = int(state[State.EVENTS])
        whole = events - (state[State.IN_GROUP] > 0)
        self._held = out[:, whole:events].copy()
        state[State.EVENTS] = events - whole
        columns = dict(zip(w.COLUMNS, out[:, :whole], strict=True))
        self._find_divisors(columns["price"], columns["kind"])
        self._store.append(Events(**{name: values.astype(COLUMNS[name]) for name, values in columns.items()}))

    def _find_divisors(self, price: np.ndarray, kind: np.ndarray) -> None:
        visible = price[kind <= Kind.EXECUTE]
        self.price_divisor = common_divisor(visible, self.price_divisor)
        self.signed |= bool(visible.min(initial=1) <= 0)
        unseen = price[kind > Kind.EXECUTE]
        self.quantum_divisor = common_divisor(np.append(unseen, self.price_divisor), self.quantum_divisor)

    def _take_snapshot(self, rows: Rows) -> None:
        if self._snapshot is None:
            if self.start is not None:
                self._break_group()
            loops.forget_orders(self._work.table)
            self._snapshot = _Snapshot(rows, 0)
        self._snapshot.see(rows.records)
        self._work = self._work._replace(table=room_for(self._work.table, len(rows.records)))
        done = 0
        while done < len(rows.records):
            orders = np.empty((len(rows.records) - done, 4), np.int64)
            done, fault, count, cleared = loops.take_snapshot(self._work.table, rows.records, done, orders)
            if cleared >= 0:
                self._snapshot = _Snapshot(rows, cleared)
                self._snapshot.see(rows.records[cleared:])
            self._snapshot.parts.append(orders[:count].copy())
            if fault != Fault.SOUND:
                self._refuse(rows, done - 1, (fault.what, fault.field, fault.expected))

    def _end_snapshot(self, snapshot: "_Snapshot", next_ns: int) -> None:
        """Use the snapshot as the starting book, or replace the book by it; `next_ns` is the next record's time."""
        self._snapshot = None
        side, price, size, order_id = snapshot.orders().T
        self._find_divisors(price, np.full(len(price), Kind.ADD))
        if self.start is not None:
            self.snapshots += 1
            self._replace_book(snapshot, side, price, size)
            return
        best = [prices[0] if len(prices) else 0 for prices in (price[side > 0], price[side < 0])]
        clock = snapshot.time_ns if next_ns < 0 else min(snapshot.time_ns, next_ns)
        self._begin(
            BookSnapshot(
                time_ns=clock,
                side=side.astype(np.int8),
                price=price.copy(),
                size=size.copy(),
                order_id=order_id.copy().view(np.uint64),
                anonymous=np.zeros(len(price), bool),
                last_best=np.array(best, np.int64),
            )
        )

    def _replace_book(self, snapshot: "_Snapshot", side: np.ndarray, price: np.ndarray, size: np.ndarray) -> None:
        """Store a CLEAR and one correction per order, which lets the levels grow order by order, front first."""
        state = self._work.state
        clear_ns = int(state[State.CLOCK]) if snapshot.clear_ns < 0 else snapshot.clear_ns
        flags = Flag.FROM_SNAPSHOT | Flag.LAST_IN_GROUP
        if snapshot.flags & BAD_RECEIVE or clear_ns < state[State.CLOCK]:
            flags |= Flag.BAD_TIME
        if snapshot.flags & BAD_BOOK:
            flags |= Flag.MAYBE_BAD_BOOK
        clear = {"time_ns": clear_ns, "receive_ns": snapshot.receive_ns, "sequence": snapshot.number, "flags": flags}
        clear |= {"kind": Kind.CONTROL, "code": Code.CLEAR}
        begins = np.append(True, (np.diff(side) != 0) | (np.diff(price) != 0))[: len(side)]
        before = np.cumsum(size) - size
        absolute = before + size - before[begins][np.cumsum(begins) - 1]
        self._store.append(
            Events.from_columns(**{name: np.array([int(value)]) for name, value in clear.items()}),
            Corrections(np.zeros(len(side), np.int64), side.astype(np.int8), price.copy(), absolute),
        )
        state[State.CLOCK] = clear_ns

    def _refuse(self, rows: Rows, i: int, fault: tuple[str, ...], *, count: int = 1) -> None:
        """Refuse a record, which stands for `count` records."""
        what, field, expected, *remedy = fault
        record = rows.records[i]
        was = chr(record[field]) if field in ("action", "side") else int(record[field])
        where = f"{self._where(int(rows.number[i]))}, {field}"
        error = InputError(what, where=where, expected=expected, was=was, remedy=(remedy or [_REMEDY])[0])
        self._faults.refuse(error, raw=record.tobytes().hex(), rows=count)


class _Snapshot:
    """The orders of a snapshot read so far."""

    def __init__(self, rows: Rows, i: int):
        """Begin at record i: a clear (R), or the first order if there is no clear."""
        record = rows.records[i]
        self.parts: list[np.ndarray] = []
        self.time_ns = 0
        self.number = int(rows.number[i])
        self.flags = int(record["flags"])
        self.receive_ns = max(int(record["ts_recv"]), 0)
        # An R is as recent as its event time, but the first order may be days old: use its time of capture.
        self.clear_ns = int(record["ts_event"] if record["action"] == R else record["ts_recv"])

    def see(self, records: np.ndarray) -> None:
        """Update the time of the snapshot, which is the capture time of its last record."""
        received = int(records["ts_recv"].max(initial=0))
        self.time_ns = max(self.time_ns, received or int(records["ts_event"].max(initial=0)))

    def orders(self) -> np.ndarray:
        """Return [O, 4]: side, price, size, id; bids from the best down, asks from the best up, queues in order."""
        orders = np.concatenate([np.empty((0, 4), np.int64), *self.parts])
        side, price = orders[:, 0], orders[:, 1]
        return orders[np.lexsort((-side * price, -side))]


def _without(rows: Rows, bad: np.ndarray) -> Rows:
    """Return the records without the bad ones."""
    return Rows(rows.records[~bad], rows.number[~bad]) if bad.any() else rows


def _with_room(values: np.ndarray, count: int) -> np.ndarray:
    """Return an array of at least `count` elements that begins with the given values."""
    return values if count <= len(values) else np.pad(values, (0, 2 * count - len(values)))
