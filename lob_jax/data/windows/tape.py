"""`Tape`: the records of a split, replayed and concatenated, one row for each state of the book and the next event.

Forecasts need states and flow across the boundaries of records, which were chosen for tokens; a tape has none.
"""

import dataclasses
import datetime
from typing import Any

import numpy as np

from lob_jax.book.replay import BookStates, replay
from lob_jax.data.records.records import Record, RecordSource, read_record, record_instrument
from lob_jax.errors import InputError
from lob_jax.events.schema import BID, Events, Kind
from lob_jax.tokens.tokenizer import Tokenizer
from lob_jax.tokens.vocabulary import event_index

FLOW = ("side", "log size", "log gap", "order-flow imbalance", "trade sign")
_FAR = 2**62  # price of a missing ask; minus this, of a missing bid
_NS_PER_US = 1_000

Rows = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Tape:
    """R rows in consecutive segments; row r is the book before event r, and event r itself.

    A segment (`run`) has no gaps: it is one split's part of one day of one instrument, preceded by its lead. The last
    row of a segment has no event.

    Attributes:
      run: int32 [R], number of the segment.
      own: bool [R], whether there is an event that belongs to the split, not to the lead.
      price: int64 [R, 2, P], price quanta, bid then ask, best first; an empty level repeats the previous price.
      size: int64 [R, 2, P], lots, 0 for an empty level.
      mid2: int64 [R], best bid plus best ask, 0 where a side is empty, see `two_sided`.
      clock_ns: int64 [R], the time known before event r, which is the time of the previous event.
      kind: int32 [R], the event's `Kind`; 0 where there is none.
      flow: float32 [R, len(FLOW)], numbers of the event, see `event_flow`.
      features: float32 [R, F], the book features of the token model.
      tokens: int32 [N], the tokens of all events.
      token_event: int64 [N], the row of the event that a token belongs to.
      token_row: int64 [N], the row of `features` known after a token.
      symbols: symbol of each segment.
      tick: int64, price quanta per tick, of each segment.
      midnight_ns: int64, the venue's midnight, of each segment.
      day_of_week: int32, Monday 0, of each segment.
    """

    run: np.ndarray
    own: np.ndarray
    price: np.ndarray
    size: np.ndarray
    mid2: np.ndarray
    clock_ns: np.ndarray
    kind: np.ndarray
    flow: np.ndarray
    features: np.ndarray
    tokens: np.ndarray
    token_event: np.ndarray
    token_row: np.ndarray
    symbols: tuple[str, ...]
    tick: np.ndarray
    midnight_ns: np.ndarray
    day_of_week: np.ndarray

    def __len__(self) -> int:
        return len(self.run)

    def two_sided(self) -> np.ndarray:
        """Return whether a row has a bid and an ask, bool [R]."""
        return np.all(self.size[:, :, 0] > 0, axis=1)


def read_tape(source: RecordSource, tokenizer: Tokenizer, *, levels: int) -> Tape:
    """Replay the records of a split, and join consecutive ones to segments.

    The tape is in memory: about 600 bytes per row at 10 levels.

    Args:
      source: the records, in the order in which they were made.
      tokenizer: the tokenizer of their tokens.
      levels: P, levels per side to keep.

    Raises:
      InputError: there is no record.
    """
    runs: list[list[Rows]] = []
    instruments, end = [], None
    for index in range(len(source)):
        record = source[index]
        rows, lead = record_rows(record, tokenizer, levels=levels), int(record["lead_events"])
        begins = (record["instrument"], int(record["first_event"]) + lead)
        if begins == end:
            runs[-1][-1] = _first(runs[-1][-1], len(runs[-1][-1]["kind"]) - 1)
            runs[-1].append(_behind(rows, lead))
        else:
            runs.append([rows])
            instruments.append(record_instrument(record))
        end = (record["instrument"], int(record["first_event"]) + len(rows["kind"]) - 1)
    if not runs:
        raise InputError(
            "there are no records to forecast from",
            where="a split of the prepared records",
            expected="at least one record",
            was=0,
            remedy="prepare more events, or a larger fraction for this split",
        )
    dates = [datetime.date.fromisoformat(one.trading_day) for one in instruments]
    return Tape(
        **_join([_join(parts) for parts in runs], numbered=True),
        symbols=tuple(one.symbol for one in instruments),
        tick=np.array([one.tick for one in instruments], np.int64),
        midnight_ns=np.array([one.midnight_ns() for one in instruments], np.int64),
        day_of_week=np.array([date.weekday() for date in dates], np.int32),
    )


def record_rows(record: Record, tokenizer: Tokenizer, *, levels: int) -> Rows:
    """Replay one record from its tokens; return the columns of a `Tape` for its E + 1 rows."""
    day, tokens = read_record(record, tokenizer), record["tokens"][:-1]
    events, states = day.events, replay(day, levels)
    number, event = np.arange(len(events) + 1), event_index(tokens).astype(np.int64)
    return {
        "own": (number >= int(record["lead_events"])) & (number < len(events)),
        "price": filled(states.price, states.size),
        "size": states.size,
        "mid2": states.mid2(),
        "clock_ns": np.asarray(record["clock_ns"]),
        "kind": np.append(events.kind, 0).astype(np.int32),
        "flow": event_flow(events, states, np.diff(record["clock_ns"])),
        "features": np.asarray(record["features"]),
        "tokens": tokens.astype(np.int32),
        "token_event": event,
        "token_row": tokenizer.known_rows(tokens)[1].astype(np.int64),
    }


def filled(price: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return prices [..., P] in which an empty level repeats the price of the last occupied level before it."""
    occupied = np.where(size > 0, np.arange(price.shape[-1]), 0)
    return np.take_along_axis(price, np.maximum.accumulate(occupied, axis=-1), axis=-1)


def event_flow(events: Events, states: BookStates, gap_ns: np.ndarray) -> np.ndarray:
    """Describe E events by numbers, float32 [E+1, 5], the last row zero; the columns are named by `FLOW`.

    They are the side of the resting order (+1 bid, -1 ask); log(1 + lots); log(1 + gap in microseconds), where a
    negative gap counts as 0; sign(e) log(1 + |e|) of the order-flow imbalance e, see `order_flow_imbalance`; and the
    sign of a trade, visible or hidden, +1 if the buyer was the aggressor, 0 if the event is not a trade.
    """
    trade = np.isin(events.kind, (Kind.EXECUTE, Kind.EXECUTE_HIDDEN))
    imbalance = order_flow_imbalance(states)
    side = events.side.astype(np.float64)
    columns = [
        side,
        np.log1p(events.size),
        np.log1p(np.maximum(gap_ns, 0) / _NS_PER_US),
        np.sign(imbalance) * np.log1p(np.abs(imbalance)),
        np.where(trade, -BID * side, 0.0),
    ]
    return np.concatenate([np.stack(columns, axis=1), np.zeros((1, len(FLOW)))]).astype(np.float32)


def order_flow_imbalance(states: BookStates) -> np.ndarray:
    """Return each event's change of supply and demand at the best prices, lots, int64 [E].

    e = 1[b >= b']q - 1[b <= b']q' - 1[a <= a']r + 1[a >= a']r', with best bid b of size q and best ask a of size r
    after the event, dashed before it (Cont, Kukanov, Stoikov, 2014). An empty side has size 0, at a price far away.
    """
    size = states.size[..., 0]
    # Only compared, never subtracted: differences with _FAR could overflow.
    bid, ask = (np.where(size[:, s] > 0, states.price[:, s, 0], far) for s, far in enumerate((-_FAR, _FAR)))
    demand = np.where(bid[1:] >= bid[:-1], size[1:, 0], 0) - np.where(bid[1:] <= bid[:-1], size[:-1, 0], 0)
    supply = np.where(ask[1:] <= ask[:-1], size[1:, 1], 0) - np.where(ask[1:] >= ask[:-1], size[:-1, 1], 0)
    return demand - supply


_OF_TOKENS = ("tokens", "token_event", "token_row")
_ROW_NUMBERS = ("token_event", "token_row")


def _first(rows: Rows, count: int) -> Rows:
    """Return the first rows, leaving out only a last one without an event, and hence without tokens."""
    return {name: column if name in _OF_TOKENS else column[:count] for name, column in rows.items()}


def _behind(rows: Rows, lead: int) -> Rows:
    """Return the rows from `lead` on, and the tokens of their events."""
    kept = rows["token_event"] >= lead
    cut = {name: rows[name][kept] if name in _OF_TOKENS else column[lead:] for name, column in rows.items()}
    return {**cut, **{name: cut[name] - lead for name in _ROW_NUMBERS}}


def _join(parts: list[Rows], *, numbered: bool = False) -> dict[str, Any]:
    """Concatenate parts; with `numbered`, `run` is the number of each row's part."""
    lengths = [len(part["kind"]) for part in parts]
    offsets = np.cumsum([0, *lengths[:-1]])
    moved = [
        {**part, **{name: part[name] + offset for name in _ROW_NUMBERS}}
        for part, offset in zip(parts, offsets, strict=True)
    ]
    joined = {name: np.concatenate([part[name] for part in moved]) for name in parts[0]}
    return {**joined, "run": np.repeat(np.arange(len(parts), dtype=np.int32), lengths)} if numbered else joined
