"""The compiled loop over the events of a live market whose model reads compact tokens, each a complete event."""

from typing import NamedTuple

import numpy as np

from lob_jax.book.loops import CorrectionColumns, EventColumns, amend, step
from lob_jax.events.schema import BID, Kind
from lob_jax.jit import in_place, inner
from lob_jax.serving.market.behind import note_view
from lob_jax.serving.market.faults import FINE, Limits, fault_of
from lob_jax.serving.market.follow import distance_of, escape_of, note_event, note_latest, note_market
from lob_jax.serving.market.state import CLOCK, CLOSED, Rows, State
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.bins import GAP_BINS, PRICE_BINS, SIZE_BINS, CompactBins
from lob_jax.tokens.sets.bins import Bins, Scan, bins_of, new_scan, put_bins
from lob_jax.tokens.sets.escape import Escape
from lob_jax.tokens.sets.ranges import BEGIN, END, ROW_ROOM, Ranges, new_ranges
from lob_jax.tokens.sets.token_sets import is_in

_CONTROL, _INSIDE = int(Kind.CONTROL), int(Escape.INSIDE)


class BinWork(NamedTuple):
    """The bins of the tokens, and memory for finding which of them the book allows.

    Attributes:
      bins: edges and values.
      gap_edges: int64 [GAP_BINS + 1], ns.
      scan: what the levels allow.
      ranges: of one row.
    """

    bins: Bins
    gap_edges: np.ndarray
    scan: Scan
    ranges: Ranges


def new_bin_work(bins: CompactBins) -> BinWork:
    """Return the bins, and memory."""
    return BinWork(bins_of(bins), np.array(bins.gap_edges, np.int64), new_scan(), new_ranges(ROW_ROOM))


@in_place
def follow_compact(
    state: State,
    events: EventColumns,
    time_ns: np.ndarray,
    corrections: CorrectionColumns,
    limits: Limits,
    rows: Rows,
    work: BinWork,
) -> tuple[int, int, int]:
    """Take events one after another, see `follow_exact`; there is a token for each."""
    cursor = amend(state.book, corrections, np.int64(0), np.int64(-1))
    note_market(state, rows, np.int64(0))
    for i in range(len(time_ns)):
        fault = fault_of(state.book, events, i, time_ns[i], state.number[CLOCK], state.number[CLOSED], limits)
        if fault != FINE:
            return i, i, fault
        _take(state, events, i, time_ns[i], rows, work)
        cursor = amend(state.book, corrections, cursor, i)
        note_market(state, rows, i + 1)
    return len(time_ns), len(time_ns), FINE


@inner
def _take(state: State, events: EventColumns, i: int, time_ns: int, rows: Rows, work: BinWork) -> None:
    """Take a valid event without its corrections, and write its token."""
    book, rules, bins = state.book, state.walk.rules, work.bins
    kind, code, side = np.int64(events.kind[i]), np.int64(events.code[i]), np.int64(events.side[i])
    price, size, s = events.price[i], events.size[i], 0 if side == BID else 1
    gap_bin = _bin_of(time_ns - state.number[CLOCK], work.gap_edges)
    token, lots, distance = v.CONTROL_BASE + code + v.CONTROL_GAP * gap_bin, np.int64(0), np.int64(0)
    if kind != _CONTROL:
        distance = distance_of(book, kind, side, price, rules)
        price_bin, size_bin = _bin_of(distance, bins.price[kind - 1]), _bin_of(size, bins.size[kind - 1])
        token = ((s * PRICE_BINS + price_bin) * SIZE_BINS + size_bin) * GAP_BINS + gap_bin + kind * v.CLASS_SIZE
        lots = bins.size_value[kind - 1, size_bin]
    escape = escape_of(book, kind, code, s, distance, size, state.number[CLOSED], rules)
    if escape != _INSIDE and _is_allowed(state, work, token):
        escape = _INSIDE
    rows.outside[i], rows.tokens[i] = escape, token
    rows.spelled_size[i], rows.gap_ns[i] = lots, bins.gap_value[kind - 1, gap_bin]
    rows.clock_row[i] = rows.book_row[i] = i + 1
    note_latest(state, rows, i)
    if len(rows.queue) > 0:
        rows.queue[i] = 0
    note_view(book, state.behind)
    step(book, events, i)
    note_event(state, kind, code, s, price, lots, time_ns)


@inner
def _bin_of(value: int, edges: np.ndarray) -> int:
    """Return the bin of a value; the first or the last one if it is beyond them."""
    return min(max(np.searchsorted(edges, value, side="right") - 1, 0), len(edges) - 2)


@inner
def _is_allowed(state: State, work: BinWork, token: int) -> bool:
    """Return whether the book allows any event in the bins of a token."""
    ranges = work.ranges
    ranges.at[BEGIN] = ranges.at[END] = 0
    work.scan.stale[:] = 1
    put_bins(ranges, state.book, work.scan, work.bins, state.number[CLOSED], state.walk.rules)
    return is_in(ranges.first, ranges.last, ranges.at[BEGIN], ranges.at[END], token)
