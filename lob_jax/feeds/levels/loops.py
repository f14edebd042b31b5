"""The compiled loop of `changes`: convert messages of absolute level sizes, and trades, to events."""

import enum
from typing import NamedTuple

import numpy as np

from lob_jax.book.levels import (
    END,
    FIRST,
    Levels,
    best,
    change,
    clear_levels,
    is_bare,
    is_two_sided,
    set_level,
    size_at,
)
from lob_jax.events.schema import ASK, BID, Code, Flag, Kind
from lob_jax.feeds.reading.scale import divisor_with
from lob_jax.jit import in_place, released


class What(enum.IntEnum):
    """The kind of a row."""

    LEVEL = 0
    TRADE = 1
    SNAPSHOT = 2
    GAP = 3


class State(enum.IntEnum):
    """Indices of the state that is carried from block to block."""

    PHASE = 0  # see `Phase`
    AFTER_SNAPSHOT = 1  # whether the previous message was a snapshot
    SNAPSHOT_SIDES = 2  # the sides of these snapshots so far, see `_sides`
    CLOCK = 3  # time of the last event
    PENDING = 4  # number of pending trades
    STARTED = 5  # whether the starting book has been taken
    EMITTED = 6  # number of events so far


class Phase(enum.IntEnum):
    """The phase of the feed."""

    WAITING = 0  # no snapshot yet
    LIVE = 1  # in sync
    LOST = 2  # after a gap


class Count(enum.IntEnum):
    """The counters; COUNTS has their names in the report."""

    EARLY_ROWS = 0
    EARLY_TRADES = 1
    LOST_ROWS = 2
    SUPERSEDED = 3
    UNKNOWN_ZEROS = 4
    SNAPSHOTS = 5
    GROUPS = 6
    CROSSED = 7
    LOCKED = 8
    EXPLAINED = 9
    HIDDEN = 10


COUNTS = {
    Count.EARLY_ROWS: "rows before the first snapshot",
    Count.EARLY_TRADES: "trades before the first snapshot",
    Count.LOST_ROWS: "rows behind a gap",
    Count.SUPERSEDED: "rows superseded in their message",
    Count.UNKNOWN_ZEROS: "zero_of_unknown_level",
    Count.SNAPSHOTS: "snapshots",
    Count.GROUPS: "groups",
    Count.CROSSED: "crossed_groups",
    Count.LOCKED: "locked_groups",
    Count.EXPLAINED: "trades_explained",
    Count.HIDDEN: "trades_hidden",
}
_LEVEL_ROW, _TRADE_ROW, _SNAPSHOT_ROW = int(What.LEVEL), int(What.TRADE), int(What.SNAPSHOT)
SUPERSEDED_ROW = -1  # instead of the size of a level

_ADD, _CANCEL, _DELETE, _EXECUTE, _HIDDEN, _CONTROL = (
    int(kind) for kind in (Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE, Kind.EXECUTE_HIDDEN, Kind.CONTROL)
)
_CLEAR, _FEED_GAP = int(Code.CLEAR), int(Code.FEED_GAP)
_LAST, _BAD_TIME, _KNOWN = int(Flag.LAST_IN_GROUP), int(Flag.BAD_TIME), int(Flag.AGGRESSOR_KNOWN)


class LevelRows(NamedTuple):
    """Rows of an L2 feed, int64 [R] each, in order of arrival.

    Attributes:
      what: see `What`.
      group: number of the row's message, non-decreasing; becomes the events' sequence.
      time_ns: exchange time.
      receive_ns: capture time.
      side: +1 bid, -1 ask; for a trade the resting side, 0 if unknown; 0 for a GAP.
      price: in any unit.
      size: for a level its absolute size, 0 if it was removed; for a trade the traded size.
    """

    what: np.ndarray
    group: np.ndarray
    time_ns: np.ndarray
    receive_ns: np.ndarray
    side: np.ndarray
    price: np.ndarray
    size: np.ndarray


class Emitted(NamedTuple):
    """Output buffers: columns of events [M], with the dtypes of `COLUMNS`; corrections int64 [M, 4]; `at` int64 [2].

    `at` holds the number of events and of corrections.
    """

    time_ns: np.ndarray
    receive_ns: np.ndarray
    sequence: np.ndarray
    kind: np.ndarray
    code: np.ndarray
    side: np.ndarray
    price: np.ndarray
    size: np.ndarray
    flags: np.ndarray
    corrections: np.ndarray
    at: np.ndarray


class Workspace(NamedTuple):
    """The working memory of the loop.

    Attributes:
      state: int64, by `State`.
      counts: int64, by `Count`.
      pending: int64 [P, 6], trades since the last message of levels: time, receive time, side, price, size, group.
      places: int64 [2^k, 2], open-addressing hash table from a level of the current message to its last row there, and
        the stamp of the message to which an entry belongs.
      stamp: int64 [2], the stamp of the current message, and the last index of the part of the table that it uses, so
        that short messages stay in the processor's cache. Entries with other stamps count as free, so that the table
        need not be cleared between messages.
      held: int64 [R], the current size of the level of each row of the message; SUPERSEDED_ROW if a later row of the
        message is for the same level.
      lots: int64 [2, 2], the sizes of explained and of hidden trades, whose sum may exceed an int64: upper and lower 32
        bits, summed separately.
    """

    state: np.ndarray
    counts: np.ndarray
    pending: np.ndarray
    places: np.ndarray
    stamp: np.ndarray
    held: np.ndarray
    lots: np.ndarray


@released
def find_divisors(rows: LevelRows, price: int, quantum: int, size: int) -> tuple[int, int, int, int]:
    """Return common divisors of given ones and of some rows, and the lowest price of a level.

    Args:
      rows: any rows.
      price: a divisor of the prices of levels; 0 for none yet, as the others.
      quantum: a divisor of those and of the prices of trades.
      size: a divisor of the sizes.

    Returns:
      The three divisors, and the lowest price of the rows that are levels; 1 if all are positive.
    """
    lowest = np.int64(1)
    for i in range(len(rows.what)):
        size = divisor_with(size, rows.size[i])
        if rows.what[i] == _LEVEL_ROW or rows.what[i] == _SNAPSHOT_ROW:
            price = divisor_with(price, rows.price[i])
            lowest = min(lowest, rows.price[i])
        elif rows.what[i] == _TRADE_ROW:
            quantum = divisor_with(quantum, rows.price[i])
    return price, divisor_with(quantum, price), size, lowest


@released
def convert(levels: Levels, work: Workspace, rows: LevelRows, first: int, out: Emitted) -> int:
    """Convert rows to events, from row `first` on.

    Args:
      levels: the book; changed in place.
      work: working memory; changed in place.
      rows: R rows of complete messages.
      first: where to begin.
      out: where events and corrections are written.

    Returns:
      The row at which it stopped: R, or the first message after the starting book, which the caller must record.
    """
    state = work.state
    i = first
    while i < len(rows.what):
        stop = i + 1
        while stop < len(rows.what) and rows.group[stop] == rows.group[i] and rows.what[stop] == rows.what[i]:
            stop += 1
        what = rows.what[i]
        if what == What.TRADE:
            _hold(work, rows, i, stop)
        elif what == What.SNAPSHOT and _begins(work, rows, i, stop):
            _enter_snapshot(levels, work, rows, i, stop)
        else:
            if state[State.PHASE] != Phase.WAITING and state[State.STARTED] == 0:
                return i
            if what == What.GAP:
                _lose(levels, work, rows, i, out)
            elif what == What.SNAPSHOT:
                _take_snapshot(levels, work, rows, i, stop, out)
            else:
                _take_levels(levels, work, rows, i, stop, out)
        i = stop
    return i


@in_place
def _hold(work: Workspace, rows: LevelRows, i: int, stop: int) -> None:
    """Buffer trades until the next message of levels."""
    if work.state[State.PHASE] == Phase.WAITING:
        work.counts[Count.EARLY_TRADES] += stop - i
        return
    for j in range(i, stop):
        trade = work.pending[work.state[State.PENDING]]
        trade[0], trade[1], trade[2] = rows.time_ns[j], rows.receive_ns[j], rows.side[j]
        trade[3], trade[4], trade[5] = rows.price[j], rows.size[j], rows.group[j]
        work.state[State.PENDING] += 1


@in_place
def _sides(rows: LevelRows, i: int, stop: int) -> int:
    """Return the sides that a message contains: 1 bid, 2 ask, 3 both."""
    shown = 0
    for j in range(i, stop):
        shown |= 1 if rows.side[j] > 0 else 2
    return shown


@in_place
def _begins(work: Workspace, rows: LevelRows, i: int, stop: int) -> bool:
    """Return whether a snapshot is the starting book, or the other side of it in a separate message."""
    if work.state[State.PHASE] == Phase.WAITING:
        return True
    apart = work.state[State.SNAPSHOT_SIDES] & _sides(rows, i, stop) == 0
    return work.state[State.STARTED] == 0 and work.state[State.AFTER_SNAPSHOT] == 1 and apart


@in_place
def _enter_snapshot(levels: Levels, work: Workspace, rows: LevelRows, i: int, stop: int) -> None:
    """Enter a snapshot into the book without an event."""
    state = work.state
    if state[State.PHASE] == Phase.WAITING:
        state[State.SNAPSHOT_SIDES] = 0
    for j in range(i, stop):
        set_level(levels, rows.side[j], rows.price[j], rows.size[j])
    work.counts[Count.SNAPSHOTS] += 1
    state[State.PHASE], state[State.AFTER_SNAPSHOT], state[State.CLOCK] = Phase.LIVE, 1, rows.time_ns[i]
    state[State.SNAPSHOT_SIDES] |= _sides(rows, i, stop)
    work.counts[Count.EARLY_TRADES] += state[State.PENDING]
    state[State.PENDING] = 0


@in_place
def _lose(levels: Levels, work: Workspace, rows: LevelRows, i: int, out: Emitted) -> None:
    """Write a FEED_GAP event; later rows are ignored until the next snapshot."""
    if work.state[State.PHASE] == Phase.WAITING:
        return
    _flush(levels, work, out)
    _emit(work, out, rows.time_ns[i], rows.receive_ns[i], rows.group[i], _CONTROL, _FEED_GAP, 0, 0, 0, _LAST)
    work.state[State.PHASE], work.state[State.AFTER_SNAPSHOT] = Phase.LOST, 0


@in_place
def _take_snapshot(levels: Levels, work: Workspace, rows: LevelRows, i: int, stop: int, out: Emitted) -> None:
    """Replace the book: by a CLEAR and corrections, or by the differences if snapshots follow each other."""
    state, sides = work.state, _sides(rows, i, stop)
    work.counts[Count.SNAPSHOTS] += 1
    follows = state[State.PHASE] == Phase.LIVE and state[State.AFTER_SNAPSHOT] == 1
    whole = follows and state[State.SNAPSHOT_SIDES] & sides != 0
    if whole or (follows and state[State.EMITTED] == 0):  # without an event there is nothing to correct
        _take_levels(levels, work, rows, i, stop, out)
    else:
        if not follows:
            _flush(levels, work, out)
            _emit(work, out, rows.time_ns[i], rows.receive_ns[i], rows.group[i], _CONTROL, _CLEAR, 0, 0, 0, _LAST)
            clear_levels(levels)
            state[State.SNAPSHOT_SIDES] = 0
        _note_rows(levels, work, rows, i, stop)
        for j in range(i, stop):
            if work.held[j] != SUPERSEDED_ROW and rows.size[j] > 0:
                row = out.corrections[out.at[1]]
                row[0], row[1], row[2], row[3] = out.at[0] - 1, rows.side[j], rows.price[j], rows.size[j]
                out.at[1] += 1
                set_level(levels, rows.side[j], rows.price[j], rows.size[j])
    state[State.PHASE], state[State.AFTER_SNAPSHOT] = Phase.LIVE, 1
    state[State.SNAPSHOT_SIDES] = sides if whole else state[State.SNAPSHOT_SIDES] | sides


@in_place
def _take_levels(levels: Levels, work: Workspace, rows: LevelRows, i: int, stop: int, out: Emitted) -> None:
    """Convert one message to events: trades, then removals, then additions.

    In this order, no state within the message is crossed unless the book before or after the message is crossed.
    """
    state, counts = work.state, work.counts
    if state[State.PHASE] != Phase.LIVE:
        counts[Count.EARLY_ROWS if state[State.PHASE] == Phase.WAITING else Count.LOST_ROWS] += stop - i
        return
    begin = out.at[0]
    _note_rows(levels, work, rows, i, stop)
    for j in range(i, stop):
        counts[Count.UNKNOWN_ZEROS] += rows.size[j] == 0 and work.held[j] == 0
    whole = rows.what[i] == What.SNAPSHOT and state[State.SNAPSHOT_SIDES] & _sides(rows, i, stop) != 0
    for k in range(state[State.PENDING]):
        _trade(levels, work, rows, work.pending[k], whole, out)
    state[State.PENDING] = 0
    if whole:
        _remove_unshown(levels, work, rows, i, out)
    for adding in range(2):
        for j in range(i, stop):
            if work.held[j] != SUPERSEDED_ROW:
                _settle(levels, work, rows, j, adding == 1, out)
            elif adding == 0:
                counts[Count.SUPERSEDED] += 1
    if out.at[0] > begin:
        out.flags[out.at[0] - 1] |= _LAST
    counts[Count.GROUPS] += 1
    if is_two_sided(levels):
        spread = best(levels, 1) - best(levels, 0)
        counts[Count.CROSSED] += spread < 0
        counts[Count.LOCKED] += spread == 0
    state[State.AFTER_SNAPSHOT] = 0


@in_place
def _settle(levels: Levels, work: Workspace, rows: LevelRows, j: int, adding: bool, out: Emitted) -> None:
    """Change a level to its new size, by a removal, or by an addition if `adding`."""
    side, price, size = rows.side[j], rows.price[j], rows.size[j]
    held = work.held[j]
    if size == held or (size > held) != adding:
        return
    kind = _ADD if adding else _CANCEL if size > 0 else _DELETE
    _emit(work, out, rows.time_ns[j], rows.receive_ns[j], rows.group[j], kind, 0, side, price, abs(size - held), 0)
    change(levels, kind, side, price, abs(size - held))


@in_place
def _remove_unshown(levels: Levels, work: Workspace, rows: LevelRows, i: int, out: Emitted) -> None:
    """Remove the levels that a complete snapshot does not contain."""
    for s in range(2):
        side = BID if s == 0 else ASK
        for row in range(levels.side[s, END] - 1, levels.side[s, FIRST] - 1, -1):
            price = levels.price[s, row]
            size = size_at(levels, s, price) if row < levels.side[s, END] else 0
            if size > 0 and _row_of(work, rows, side, price) < 0:
                time_ns, receive_ns, sequence = rows.time_ns[i], rows.receive_ns[i], rows.group[i]
                _emit(work, out, time_ns, receive_ns, sequence, _DELETE, 0, side, price, size, 0)
                change(levels, _DELETE, side, price, size)


@in_place
def _trade(levels: Levels, work: Workspace, rows: LevelRows, trade: np.ndarray, whole: bool, out: Emitted) -> None:
    """Write a trade: an EXECUTE of up to the level's size if the message changes that level, the rest as hidden.

    A message with the complete book (`whole`) also changes the levels that it does not contain.
    """
    side, price, size = trade[2], trade[3], trade[4]
    flags = _KNOWN if side != 0 else 0
    if side == 0:
        side = _likely_side(levels, price)
    row = _row_of(work, rows, side, price)
    seen = min(size, size_at(levels, 0 if side > 0 else 1, price)) if row >= 0 or whole else 0
    if seen > 0:
        if row >= 0:
            work.held[row] -= seen
        _emit(work, out, trade[0], trade[1], trade[5], _EXECUTE, 0, side, price, seen, flags)
        _count_lots(work, 0, seen)
        change(levels, _EXECUTE, side, price, seen)
        work.counts[Count.EXPLAINED] += 1
    if seen < size:
        _emit(work, out, trade[0], trade[1], trade[5], _HIDDEN, 0, side, price, size - seen, flags)
        _count_lots(work, 1, size - seen)
        work.counts[Count.HIDDEN] += 1


@in_place
def _likely_side(levels: Levels, price: int) -> int:
    """Return the likely resting side of a trade of unknown side: the one with a level at its price, else the nearer."""
    for s, side in enumerate((BID, ASK)):
        if size_at(levels, s, price) > 0:
            return side
    if not is_two_sided(levels):
        return ASK if is_bare(levels, 0) else BID
    mid2 = best(levels, 0) + best(levels, 1)
    return BID if 2 * price <= mid2 else ASK


@in_place
def _flush(levels: Levels, work: Workspace, out: Emitted) -> None:
    """Write the pending trades, which no level explains, as hidden."""
    for k in range(work.state[State.PENDING]):
        trade = work.pending[k]
        flags = _LAST | (_KNOWN if trade[2] != 0 else 0)
        side = trade[2] if trade[2] != 0 else _likely_side(levels, trade[3])
        _emit(work, out, trade[0], trade[1], trade[5], _HIDDEN, 0, side, trade[3], trade[4], flags)
        _count_lots(work, 1, trade[4])
        work.counts[Count.HIDDEN] += 1
    work.state[State.PENDING] = 0


@in_place
def _count_lots(work: Workspace, hidden: int, size: int) -> None:
    work.lots[hidden, 0] += size >> 32
    work.lots[hidden, 1] += size & 0xFFFFFFFF


@in_place
def flush(levels: Levels, work: Workspace, out: Emitted) -> None:
    """Write the pending trades, which no message follows."""
    _flush(levels, work, out)


@in_place
def _emit(
    work: Workspace,
    out: Emitted,
    time_ns: int,
    receive_ns: int,
    sequence: int,
    kind: int,
    code: int,
    side: int,
    price: int,
    size: int,
    flags: int,
) -> None:
    """Write one event."""
    i = out.at[0]
    out.time_ns[i], out.receive_ns[i], out.sequence[i] = time_ns, receive_ns, sequence
    out.kind[i], out.code[i], out.side[i], out.price[i], out.size[i] = kind, code, side, price, size
    out.flags[i] = flags | (_BAD_TIME if time_ns < work.state[State.CLOCK] else 0)
    work.state[State.CLOCK] = time_ns
    work.state[State.EMITTED] += 1
    out.at[0] = i + 1


@in_place
def _index(side: int) -> int:
    return 0 if side > 0 else 1


@in_place
def _home(side: int, price: int, mask: int) -> int:
    mixed = np.uint64(2 * price + (side > 0)) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64(mixed >> np.uint64(32)) & mask


@in_place
def _note_rows(levels: Levels, work: Workspace, rows: LevelRows, i: int, stop: int) -> None:
    """Enter the rows of a message into the hash table and note their levels' sizes; a level's last row wins."""
    mask = 1
    while mask < 2 * (stop - i):
        mask = 2 * mask + 1
    work.stamp[0] += 1
    work.stamp[1] = mask
    for j in range(i, stop):
        work.held[j] = size_at(levels, _index(rows.side[j]), rows.price[j])
        place = _home(rows.side[j], rows.price[j], mask)
        while work.places[place, 1] == work.stamp[0]:
            other = work.places[place, 0]
            if rows.price[other] == rows.price[j] and rows.side[other] == rows.side[j]:
                work.held[other] = SUPERSEDED_ROW
                break
            place = (place + 1) & mask
        work.places[place, 0], work.places[place, 1] = j, work.stamp[0]


@in_place
def _row_of(work: Workspace, rows: LevelRows, side: int, price: int) -> int:
    """Return the last row for a level in the current message, -1 if there is none."""
    mask = work.stamp[1]
    place = _home(side, price, mask)
    while work.places[place, 1] == work.stamp[0]:
        row = work.places[place, 0]
        if rows.price[row] == price and rows.side[row] == side:
            return row
        place = (place + 1) & mask
    return -1
