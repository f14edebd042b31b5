"""Records: consecutive events as tokens with their clock and book features; each can be decoded on its own."""

import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.flow import FlowState, blank_flow
from lob_jax.book.replay import replay, snapshots_at
from lob_jax.book.snapshot import CORRECTION_COLUMNS, ORDER_COLUMNS, BookSnapshot, Corrections
from lob_jax.data.records.flow import flow_before, flow_states, stored_flow
from lob_jax.data.records.split import Part, check_embargo, lead_events
from lob_jax.data.records.stored_sets import stored, stores_sets
from lob_jax.errors import InputError
from lob_jax.events.halts import OPEN, closed_before, halts_of
from lob_jax.events.instrument import Instrument
from lob_jax.tokens.registry import tokenizer_class
from lob_jax.tokens.tokenizer import Tokenizer
from lob_jax.tokens.vocabulary import EOS, event_index

Record = Mapping[str, Any]


class RecordSource(Protocol):
    """Records by index; with an attribute `outlines`, windows are laid out without reading any record."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Record: ...


MOST_SAMPLED = 1000  # maximum number of records that thresholds are fitted to
START_NUMBERS = {"time_ns": np.int64, "window": np.int64, "pooled": np.bool_}
START_COLUMNS = {**ORDER_COLUMNS, "last_best": np.dtype(np.int64), "seen": np.dtype(np.bool_)}


@dataclasses.dataclass(frozen=True)
class RecordPlan:
    """How days are divided into splits and records.

    Attributes:
      record_events: maximum number of events per record, not counting its lead.
      context: context length of the model, in tokens; it determines the minimum embargo and the lead.
      book_levels: occupied levels per side in the book features.
      train_fraction: see `split.split_day`.
      validation_fraction: see `split.split_day`.
      embargo_events: events between two splits of one day.
      flow_state: whether records hold the state of the flow before them, see `lob_jax.data.records.flow`.
    """

    record_events: int
    context: int
    book_levels: int
    train_fraction: float
    validation_fraction: float
    embargo_events: int
    flow_state: bool = False

    def __post_init__(self):
        for name in ("record_events", "context", "book_levels"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"{name} is too small",
                    where="the record plan",
                    expected="at least 1",
                    was=getattr(self, name),
                    remedy="correct the config",
                )
        check_embargo(self.embargo_events, context_tokens=self.context)


@dataclasses.dataclass(frozen=True)
class Outline:
    """The properties of a record that determine its windows, available without reading the record.

    Attributes:
      tokens: number of tokens of the record, not counting EOS.
      lead_tokens: number of tokens of its lead, the leading events that serve as context only.
      first_event: index in the day of its first event, including the lead; 0 at the start of a day.
    """

    tokens: int
    lead_tokens: int
    first_event: int


def record_spans(part: Part, *, record_events: int, context: int) -> list[tuple[int, int, int]]:
    """Divide a part into records of nearly equal length.

    Returns:
      (begin, first, last) of each record, as event indices of the day: events begin..first-1 are its lead, taken from
      the embargo before the part or from the previous record; first..last-1 are the events of the record.
    """
    count = -(-part.events // record_events)
    edges = [part.first + part.events * k // count for k in range(count + 1)]
    earliest = part.first - part.lead
    return [(max(earliest, first - lead_events(context)), first, last) for first, last in itertools.pairwise(edges)]


def make_records(
    day: MarketDay,
    parts: Sequence[Part],
    tokenizer: Tokenizer,
    *,
    record_events: int,
    context: int,
    book_levels: int,
    flow_state: bool = False,
) -> Iterator[tuple[Part, dict[str, Any]]]:
    """Yield the records of some parts of a day, in order, each with its part; only one is in memory at a time.

    A record of E events is a dict of
      tokens uint16 [T+1], ending in EOS;
      features float32 [E+1, 4P], row i the book before event i, row E the book after the last one;
      clock_ns int64 [E+1], the time known before event i, which is the time of the previous event;
      mid2 int64 [E+1], best bid plus best ask of the same books, 0 where a side is empty, see `two_sided`;
      lead_events int64, number of leading events that serve as context only;
      first_event int64, index in the day of the first event, including the lead;
      closed int64, what is closed before the first event, see `lob_jax.events.halts`; nothing at the start of a day;
      start_*, the columns of the starting `BookSnapshot`; correction_*, those of the `Corrections`;
      instrument, the `Instrument` as JSON;
      tokenizer, the name of the tokenizer;
      sets_*, the token sets, for tokens that do not give their events back, see `stored_sets.stored`;
      flow_*, the `FlowState` before the first event, if asked for.

    Args:
      day: the day; its columns may be memory-mapped.
      parts: its parts, in order.
      tokenizer: the tokenizer of the events.
      record_events: maximum number of events per record, not counting its lead.
      context: context length of the model, in tokens.
      book_levels: P, occupied levels per side in the features.
      flow_state: whether records hold the state of the flow; events between the parts are then encoded, too.

    Raises:
      InputError: an event cannot be encoded.
    """
    cuts = [(part, span) for part in parts for span in record_spans(part, record_events=record_events, context=context)]
    at = np.array([begin for _, (begin, _, _) in cuts], np.int64)
    starts, halts = snapshots_at(day, at), halts_of(day.events.kind, day.events.code)
    at_start: Iterable[tuple[BookSnapshot, FlowState | None]] = ((start, None) for start in starts)
    if flow_state:
        at_start = flow_states(day, starts, at, tokenizer, before=blank_flow())
    for (part, span), (start, flow) in zip(cuts, at_start, strict=True):
        known = {"book_levels": book_levels, "closed": closed_before(halts, span[0]), "flow": flow}
        yield part, _make_record(day, span, start, tokenizer, **known)


def day_record(
    day: MarketDay,
    first: int,
    last: int,
    tokenizer: Tokenizer,
    *,
    book_levels: int,
    closed: int = OPEN,
    flow: FlowState | None = None,
) -> Record:
    """Return events first..last-1 of a day as one record without a lead, in the form of records read from disk.

    Args:
      day: the day.
      first: index of the first event.
      last: index after the last event, greater than `first`.
      tokenizer: the tokenizer of the events.
      book_levels: P, occupied levels per side in the features.
      closed: what is closed before the day's first event, see `lob_jax.events.halts`.
      flow: the state of the flow before the day's first event; None leaves it out of the record.

    Raises:
      InputError: an event cannot be encoded.
    """
    (start,) = snapshots_at(day, np.array([first]))
    closed = closed_before(halts_of(day.events.kind[:first], day.events.code[:first]), first, closed=closed)
    flow = None if flow is None else flow_before(day, first, tokenizer, before=flow)
    return _make_record(day, (first, first, last), start, tokenizer, book_levels=book_levels, closed=closed, flow=flow)


def _make_record(
    day: MarketDay,
    span: tuple[int, int, int],
    start: BookSnapshot,
    tokenizer: Tokenizer,
    *,
    book_levels: int,
    closed: int,
    flow: FlowState | None,
) -> dict[str, Any]:
    """Return the record of events begin..last-1, with lead begin..first-1; all else is that before them."""
    begin, first, last = span
    part = day.part(begin, last, start=start)
    states, tokens = replay(part, book_levels), tokenizer.encode(part)
    return {
        "tokens": np.append(tokens, np.uint16(EOS)),
        "features": states.features(),
        "clock_ns": np.concatenate([np.array([start.time_ns], np.int64), part.events.time_ns]),
        "mid2": states.mid2(),
        "lead_events": np.int64(first - begin),
        "first_event": np.int64(begin),
        "closed": np.int64(closed),
        **{f"start_{name}": dtype(getattr(start, name)) for name, dtype in START_NUMBERS.items()},
        **{f"start_{name}": getattr(start, name) for name in START_COLUMNS},
        **{f"correction_{name}": np.asarray(getattr(part.corrections, name)) for name in CORRECTION_COLUMNS},
        "instrument": json.dumps(day.instrument.to_dict(), sort_keys=True),
        "tokenizer": tokenizer.name,
        **(stored(tokenizer.sets(tokens, part, closed=closed)) if stores_sets(tokenizer) else {}),
        **({} if flow is None else stored_flow(flow)),
    }


def record_opening(record: Record) -> MarketDay:
    """Return a day without events to decode a record's tokens on: its instrument, starting book and corrections."""
    corrections = Corrections(**{name: record[f"correction_{name}"] for name in CORRECTION_COLUMNS})
    opening = MarketDay.opening(record_instrument(record), record_start(record))
    return dataclasses.replace(opening, corrections=corrections)


def read_record(record: Record, tokenizer: Tokenizer) -> MarketDay:
    """Decode a record of exact tokens to a part of a day."""
    opening = record_opening(record)
    if tokenizer.vocabulary.has_ranks:
        opening = dataclasses.replace(opening, start=opening.start.identified())
    return opening.with_events(tokenizer.decode(record["tokens"][:-1], opening))


def record_start(record: Record) -> BookSnapshot:
    """Return the starting book of a record."""
    return BookSnapshot(
        time_ns=int(record["start_time_ns"]),
        window=int(record["start_window"]),
        pooled=bool(record["start_pooled"]),
        **{name: record[f"start_{name}"] for name in START_COLUMNS},
    )


def record_instrument(record: Record) -> Instrument:
    """Return the instrument of a record."""
    return Instrument(**json.loads(record["instrument"]))


def record_tokenizer(record: Record) -> type[Tokenizer]:
    """Return the class of the tokenizer that wrote a record's tokens."""
    return tokenizer_class(record["tokenizer"], where="a record")


def sampled_records(source: RecordSource) -> Iterator[Record]:
    """Yield at most MOST_SAMPLED records of a source, evenly spaced, which are enough to fit thresholds."""
    for index in evenly_spaced(len(source), min(len(source), MOST_SAMPLED)):
        yield source[index]


def evenly_spaced(length: int, count: int) -> list[int]:
    """Return so many evenly spaced indices below a length."""
    return np.linspace(0, length - 1, count).round().astype(int).tolist()


def two_sided(record: Record) -> np.ndarray:
    """Return whether the book before each event, and after the last, has a bid and an ask, bool [E+1]."""
    features = record["features"]  # `book_features` begins with the sizes of P bids, followed by those of P asks
    return (features[:, 0] > 0) & (features[:, features.shape[1] // 4] > 0)


def mids(record: Record) -> np.ndarray:
    """Return the mid price of the same books, price quanta, float64 [E+1]; NaN where a side is empty."""
    return np.where(two_sided(record), record["mid2"] / 2, np.nan)


def direction(record: Record) -> np.ndarray:
    """Return the direction in which each event moves the mid price, int8 [E]: +1, 0 or -1; 0 if a side is empty."""
    known = two_sided(record)  # integers mid2, not mids: their differences are exact
    return np.where(known[:-1] & known[1:], np.sign(np.diff(record["mid2"])), 0).astype(np.int8)


def outline(record: Record) -> Outline:
    """Return the outline of a record."""
    tokens = record["tokens"][:-1]
    lead_tokens = np.count_nonzero(event_index(tokens) < int(record["lead_events"])) if len(tokens) else 0
    return Outline(len(tokens), int(lead_tokens), int(record["first_event"]))
