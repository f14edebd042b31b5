"""`ExactTokenizer`: each event as about five tokens, which reproduce it exactly, to the lot and the nanosecond."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.kernel import load
from lob_jax.book.levels import load_levels, with_level_room
from lob_jax.book.loops import as_column, correction_columns, cut, event_columns, most_added
from lob_jax.book.orders import with_room
from lob_jax.book.replay import BookStates, reference_runs
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Code, Events, Flag, Kind
from lob_jax.tokens import compiled, numbers, ranks
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.compiled import Refusal
from lob_jax.tokens.grammar import Grammar, grammar_for
from lob_jax.tokens.sets.limits import Rules
from lob_jax.tokens.sets.streams import exact_anchors, exact_price_memory, exact_queues, exact_sets, rules_of
from lob_jax.tokens.sets.token_sets import TokenSets
from lob_jax.tokens.states import events_along, gaps_along
from lob_jax.tokens.tokenizer import Ability, Spelled

RUN_EVENTS = 1 << 18  # events per block: bounds the tokens and reference prices in memory at once
_NO_RANKS = np.empty(0, np.int64)


class ExactTokenizer:
    """Writes events as `[head] [size] [gap]`, each with as many digits as it needs; lossless except for rounded time.

    Orders have no ids in tokens. With references="newest", a removal takes from the newest order that it fits. With
    "rank", an event that several orders fit has the rank of its order between size and gap, see `tokens.ranks`, so
    that it takes from the same order as in the feed wherever that order was added in view.

    Attributes:
      vocabulary: everything that determines the meaning of ids, including `time_digits` and `references`.
      name, fewest_event_tokens, time_digits, references, fitted, lacks: see `Tokenizer`.
    """

    name: ClassVar[str] = "exact"
    fewest_event_tokens: ClassVar[int] = 2  # a CONTROL event: its code and its gap
    time_digits: ClassVar[tuple[int | None, ...]] = (None, *v.TIME_DIGITS)
    references: ClassVar[tuple[str, ...]] = v.REFERENCES
    fitted: ClassVar[bool] = False
    lacks: ClassVar[Mapping[Ability, str]] = MappingProxyType({})

    def __init__(self, time_digits: int | None = None, references: str = v.REFERENCES[0]):
        """Keep gaps exact, or round each to 2, 5 or 8 significant digits; with or without ranks."""
        self.vocabulary = v.Vocabulary(self.name, time_digits, references=references)

    @classmethod
    def from_settings(
        cls,
        *,
        time_digits: int | None = None,
        references: str = v.REFERENCES[0],
        bins: Mapping[str, Any] | None = None,
    ) -> Self:
        """Construct the tokenizer from its settings, which include no bins.

        Raises:
          InputError: there are bins, or `time_digits` or `references` is invalid.
        """
        if bins is not None:
            raise InputError(
                "exact tokens have no bins",
                where="the bins of the vocabulary",
                expected=None,
                was=bins,
                remedy="pass the vocabulary.json that was written with the records",
            )
        return cls(time_digits, references=references)

    @property
    def grammar(self) -> Grammar:
        """Return the automaton of the streams that this tokenizer writes."""
        return grammar_for(self.vocabulary.time_digits, self.vocabulary.references)

    def encode(self, day: MarketDay) -> np.ndarray:
        """Return the tokens of a day's events, uint16 [T], without BOS and EOS; the first gap counts from its start.

        Raises:
          InputError: an event cannot be encoded; names the event, what was expected, and a remedy.
        """
        return np.concatenate([np.empty(0, np.uint16), *self.encode_runs(day)])

    def encode_runs(self, day: MarketDay, *, run_events: int = RUN_EVENTS) -> Iterator[np.ndarray]:
        """Yield the same tokens as `encode`, block by block of `run_events` events, in memory for one block.

        Raises:
          InputError: as `encode`.
        """
        clock, carry = day.start.time_ns, 0  # carried from block to block, so that tokens do not depend on `run_events`
        runs = zip(reference_runs(day, run_events), self._rank_runs(day, run_events), strict=True)
        for (rows, before), rank in runs:
            events = day.events[rows]
            tokens, carry = self._encode(events, before, rank, day.instrument, clock, carry=carry, first=rows.start)
            yield tokens
            clock = int(events.time_ns[-1])

    def tokenize_events(self, day: MarketDay, book_states: BookStates) -> np.ndarray:
        """Return the same tokens as `encode`, from the states of a replay of the same day.

        Raises:
          InputError: as `encode`; or the number of states does not match the events.
        """
        before = book_states.reference[:-1]
        if len(before) != len(day.events):
            raise InputError(
                "the book states do not match the events",
                where="tokenize_events",
                expected=f"{len(day.events) + 1} states",
                was=len(before) + 1,
                remedy="replay the events that are tokenized",
            )
        rank = next(self._rank_runs(day, max(len(day.events), 1)), _NO_RANKS)
        return self._encode(day.events, before, rank, day.instrument, book_states.start_ns, carry=0, first=0)[0]

    def decode(self, tokens: np.ndarray, day: MarketDay, *, own: np.ndarray | None = None) -> Events:
        """Return the events of tokens; leading BOS, trailing EOS and PAD are optional.

        Only the instrument, the starting book and the corrections of the day are read, not its events.

        Order ids are 0; flags are BAD_TIME where time runs backwards, and OWN for tokens with `own`, bool [T];
        `sequence` counts from 0. With ranks, an added order has a new id, and a removal the id of the order that it
        takes from, or ANONYMOUS_ID.

        Raises:
          InputError: the tokens are ill-formed or end inside an event, or a rank is missing or wrong; names the
            position.
        """
        parsed, places = self._parse_whole(tokens)
        of_user = np.zeros(len(places), bool) if own is None else np.asarray(own, bool)[places]
        resolved = (
            self._resolve_ranks(parsed, of_user, day) if self.vocabulary.has_ranks else self._resolve(parsed, day)
        )
        if resolved.done < len(resolved.time_ns):
            refusal = _wrong_rank if resolved.stop == ranks.WRONG_RANK else _out_of_range
            raise refusal(parsed, resolved.done, places[resolved.done])
        return _as_events(parsed, resolved).flagged(Flag.OWN, of_user)

    def sets(
        self, tokens: np.ndarray, day: MarketDay, *, closed: int = 0, rows: tuple[int, int] | None = None
    ) -> TokenSets:
        """Return the set in the place of each token, see `Tokenizer.sets`; the day's events are not read.

        Raises:
          InputError: the tokens are ill-formed; names the position. Or a price is out of range.
        """
        return exact_sets(self._accepted(tokens)[0], day, self._rules(day), closed=closed, rows=rows)

    def queues(self, tokens: np.ndarray, day: MarketDay) -> np.ndarray:
        """Return the orders and sizes that belong to what is spelled after each token, see `Tokenizer.queues`.

        Raises:
          InputError: the tokens are ill-formed; names the position. Or a price is out of range.
        """
        return exact_queues(self._accepted(tokens)[0], day, self._rules(day))

    def anchors(self, tokens: np.ndarray, day: MarketDay) -> np.ndarray:
        """Return the prices that the next event may well name, see `Tokenizer.anchors`.

        Raises:
          InputError: the tokens are ill-formed; names the position. Or a price is out of range.
        """
        return exact_anchors(self._accepted(tokens)[0], day, self._rules(day))

    def price_memory(self, tokens: np.ndarray, day: MarketDay) -> np.ndarray:
        """Return what last happened at the price that is spelled after each token, see `Tokenizer.price_memory`.

        Raises:
          InputError: the tokens are ill-formed; names the position. Or a price is out of range.
        """
        return exact_price_memory(self._accepted(tokens)[0], day, self._rules(day))

    def spelled(self, tokens: np.ndarray) -> Spelled:
        """Return what the tokens of complete events say without a book, see `Tokenizer.spelled`.

        Raises:
          InputError: the tokens are ill-formed or end inside an event; names the position.
        """
        parsed, _ = self._parse_whole(tokens)
        return Spelled(*(getattr(parsed, name).astype(np.int64) for name in Spelled._fields))

    @staticmethod
    def known_rows(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of clock and book known at each token, int32 [T] each, see `Tokenizer.known_rows`.

        The book includes an event from its first gap token on, when everything but its time has been read. The clock
        includes it only from the next head on, because further digits of the gap may follow until then.
        """
        event = events_along(tokens)
        return event, event + gaps_along(tokens)

    def cell_log2_widths(self, tokens: np.ndarray) -> np.ndarray:
        """Return log2 of the width, in ns, of the interval that was rounded to each event's gap, float64 [E].

        Added to the bits of the tokens, it gives the bits of the exact time, if gaps are uniform within an interval.

        Raises:
          InputError: the tokens are ill-formed or end inside an event.
        """
        return numbers.gap_cell_log2_width(self._parse_whole(tokens)[0].gap_ns, self._kept_digits)

    def cell_log2_width(self, tokens: np.ndarray) -> float:
        """Return the mean of `cell_log2_widths`, in bits per event; 0 if there are no events."""
        widths = self.cell_log2_widths(tokens)
        return float(widths.mean()) if len(widths) else 0.0

    def describe(self, token: int) -> str:
        """Describe a token in words."""
        return v.describe(token)

    def _rules(self, day: MarketDay) -> Rules:
        rules = rules_of(day, gap_digits=self._kept_digits, ranks=self.vocabulary.has_ranks)
        return rules._replace(tick=_tick(day.instrument))

    @property
    def _kept_digits(self) -> int:
        return self.vocabulary.time_digits or numbers.ALL_DIGITS

    def _rank_runs(self, day: MarketDay, run_events: int) -> Iterator[np.ndarray]:
        """Yield the ranks of each block of events, int64 [E']; no rank at all if the vocabulary has none."""
        blocks = range(0, len(day.events), run_events)
        if not self.vocabulary.has_ranks:
            yield from (_NO_RANKS for _ in blocks)
            return
        columns, corrected = event_columns(day.events), correction_columns(day.corrections, len(day.events))
        book = load(day.start.identified(), 0)
        for first in blocks:
            stop = min(first + run_events, len(day.events))
            book = with_room(book, most_added(*cut(columns, corrected, first, stop)))
            rank = np.empty(stop - first, np.int64)
            ranks.follow_ranks(book, columns, corrected, first, stop, rank)
            yield rank

    def _encode(
        self,
        events: Events,
        before: np.ndarray,
        rank: np.ndarray,
        instrument: Instrument,
        start_ns: int,
        *,
        carry: int,
        first: int,
    ) -> tuple[np.ndarray, int]:
        """Return the tokens and the accumulated rounding error; `first` is the first event's index, for errors."""
        tick = _tick(instrument)
        _check_clock(start_ns)
        columns, time_ns = event_columns(events), as_column(events.time_ns, np.int64)
        tokens, fault, i, carry = compiled.write_events(
            columns, time_ns, as_column(before, np.int64), rank, int(start_ns), carry, tick, self._kept_digits
        )
        if fault != Refusal.FINE:
            raise _refusal(fault, i, events, before, tick, first)
        return tokens, carry

    def _accepted(self, tokens: np.ndarray) -> tuple[np.ndarray, int, int]:
        """Return the tokens, the number of BOS in front of them, and the grammar's final state."""
        ids = _as_ids(tokens)
        offset = int(ids.size > 0 and ids[0] == v.BOS)
        accepted, state = compiled.walk(self.grammar.transition, ids[offset:], self.grammar.start)
        if offset + accepted < len(ids):
            raise self.grammar.refusal(offset + accepted, state, int(ids[offset + accepted]))
        return ids, offset, state

    def _parse_whole(self, tokens: np.ndarray) -> tuple[compiled.Parsed, np.ndarray]:
        ids, offset, state = self._accepted(tokens)
        ends = np.flatnonzero(ids == v.EOS)
        core = ids[offset : ends[0] if ends.size else len(ids)]
        if not self.grammar.at_boundary[state]:
            raise self.grammar.refusal(offset + len(core), state, None)
        return _parse(core, offset)

    def _resolve(self, parsed: compiled.Parsed, day: MarketDay) -> "_Resolved":
        _check_clock(day.start.time_ns)
        corrected = correction_columns(day.corrections, len(parsed.kind))
        added = int(np.count_nonzero(parsed.kind == Kind.ADD))
        levels = with_level_room(load_levels(day.start), added + len(day.corrections))
        time_ns, price, order_id = np.zeros((3, len(parsed.kind)), np.int64)
        begin = int(day.start.time_ns), _tick(day.instrument)
        done = compiled.resolve(levels, parsed, corrected, *begin, time_ns, price)
        return _Resolved(time_ns, price, order_id, done, ranks.OUT_OF_RANGE)

    def _resolve_ranks(self, parsed: compiled.Parsed, of_user: np.ndarray, day: MarketDay) -> "_Resolved":
        _check_clock(day.start.time_ns)
        corrected = correction_columns(day.corrections, len(parsed.kind))
        added = int(np.count_nonzero(parsed.kind == Kind.ADD))
        start = day.start.identified()
        book, ids = load(start, added + len(day.corrections)), start.new_ids(added).view(np.int64)
        begin = int(day.start.time_ns), _tick(day.instrument)
        time_ns, price, order_id = np.zeros((3, len(parsed.kind)), np.int64)
        done, stop = ranks.resolve_ranks(book, parsed, of_user, corrected, ids, *begin, time_ns, price, order_id)
        return _Resolved(time_ns, price, order_id, done, stop)


class _Resolved(NamedTuple):
    """Events of tokens: times, prices and bits of order ids, int64 [E] each; how many, and what stopped the rest."""

    time_ns: np.ndarray
    price: np.ndarray
    order_id: np.ndarray
    done: int
    stop: int


def _as_ids(tokens: np.ndarray) -> np.ndarray:
    """Return tokens as int64 [T]."""
    tokens = np.asarray(tokens)
    if tokens.ndim != 1 or (tokens.size and tokens.dtype.kind not in "iu"):
        raise InputError(
            "not an array of tokens",
            where="decode",
            expected="a one-dimensional array of integers",
            was=f"{tokens.dtype} of shape {tokens.shape}",
            remedy="pass the ids of one stream",
        )
    return np.ascontiguousarray(tokens, np.int64)


def _parse(core: np.ndarray, offset: int) -> tuple[compiled.Parsed, np.ndarray]:
    """Return the fields of complete events, and the position of each head in the stream."""
    places = np.flatnonzero(v.field_of(core) == v.FIELD_HEAD)
    return compiled.parse(core, len(places)), places + offset


def _as_events(parsed: compiled.Parsed, resolved: _Resolved) -> Events:
    return Events.from_columns(
        time_ns=resolved.time_ns,
        kind=parsed.kind,
        code=parsed.code,
        side=parsed.side,
        price=resolved.price,
        size=parsed.size,
        order_id=resolved.order_id.view(np.uint64),
        flags=np.where(parsed.gap_ns < 0, int(Flag.BAD_TIME), 0).astype(np.uint16),
    )


def _tick(instrument: Instrument) -> int:
    if not 1 <= instrument.tick < compiled.MOST:
        raise InputError(
            "the instrument's tick is not a valid number of price quanta",
            where=f"instrument {instrument.symbol}",
            expected="at least 1",
            was=instrument.tick,
            remedy="set it to the smallest price step of visible orders, in price quanta",
        )
    return int(instrument.tick)


def _check_clock(start_ns: int) -> None:
    if abs(int(start_ns)) >= compiled.MOST:
        raise InputError(
            "the starting clock is out of range",
            where="start.time_ns",
            expected=f"ns since 1970, within ±{compiled.MOST}",
            was=start_ns,
            remedy="check the clock's unit",
        )


def _out_of_range(parsed: compiled.Parsed, event: int, position: int) -> InputError:
    return InputError(
        "a decoded price or time is out of range",
        where=f"token {position} (event {event})",
        expected=f"prices and times within ±{compiled.MOST}",
        was=f"a gap of {parsed.gap_ns[event]} ns, {parsed.distance[event]} units from the reference price",
        remedy="decode with the starting book and clock that the tokens were encoded with",
    )


def _wrong_rank(parsed: compiled.Parsed, event: int, position: int) -> InputError:
    rank = parsed.rank[event]
    return InputError(
        "a removal does not say which of several orders it takes from, or says it although there is no choice",
        where=f"token {position} (event {event})",
        expected="a rank below the number of orders that it fits, if they are several",
        was="no rank" if rank == ranks.NO_RANK else f"rank {rank}",
        remedy="decode with the starting book and corrections that the tokens were encoded with",
    )


def _refusal(fault: Refusal, event: int, events: Events, before: np.ndarray, tick: int, first: int) -> InputError:
    """Return the error for an event that cannot be encoded."""
    row = {name: int(getattr(events, name)[event]) for name in ("time_ns", "kind", "code", "side", "price", "size")}
    what, expected, was, remedy = _reason(fault, row, events, before, tick, event)
    return InputError(what, where=f"event {first + event}", expected=expected, was=was, remedy=remedy)


def _reason(
    fault: Refusal, row: dict[str, int], events: Events, before: np.ndarray, tick: int, event: int
) -> tuple[str, Any, Any, str]:
    """Return (what, expected, was, remedy) of a fault."""
    origin = int(before[event, 0 if row["side"] > 0 else 1])
    match fault:
        case Refusal.BAD_KIND:
            return "unknown event kind", [f"{k.value} {k.name}" for k in Kind], row["kind"], "map it to one of these"
        case Refusal.BAD_CONTROL:
            content = {name: row[name] for name in ("side", "price", "size")}
            return "a CONTROL event carries more than its code", "side, price and size 0", content, "set them to 0"
        case Refusal.BAD_CODE:
            codes = [f"{c.value} {c.name}" for c in Code if c] if row["kind"] == Kind.CONTROL else 0
            return "the code does not fit the kind", codes, row["code"], "give CONTROL, and only CONTROL, a code"
        case Refusal.BAD_SIDE:
            return "an event has no side", "+1 (bid) or -1 (ask)", row["side"], "give the side of the resting order"
        case Refusal.BAD_SIZE:
            return "a size is negative", "0 or more lots", row["size"], "give what the event adds or removes"
        case Refusal.BIG_SIZE:
            return "a size has too many digits", f"up to {compiled.MOST_SIZE} lots", row["size"], _lot_remedy(events)
        case Refusal.BAD_PRICE:
            prices = {"price": row["price"], "reference": origin}
            return "a price is out of range", f"within ±{compiled.MOST}", prices, "choose a larger price quantum"
        case Refusal.OFF_TICK:
            prices = {"price": row["price"], "reference": origin, "tick": tick}
            return "a price lies between ticks", f"multiples of {tick}", prices, _tick_remedy(events, before, tick)
        case Refusal.FAR_PRICE:
            distance = f"{row['price']}, {abs(row['price'] - origin)} from the reference {origin}"
            most = f"up to {compiled.MOST_DISTANCE} {'ticks' if row['kind'] <= Kind.EXECUTE else 'quanta'} away"
            return "a price is too far from its reference", most, distance, "choose a larger price quantum"
        case Refusal.BAD_TIME:
            return "a time is out of range", f"ns within ±{compiled.MOST}", row["time_ns"], "check the clock's unit"
    raise AssertionError(fault)


def _tick_remedy(events: Events, before: np.ndarray, tick: int) -> str:
    """Return a remedy that names the largest tick of which all visible prices are multiples."""
    visible = events.kind <= Kind.EXECUTE
    fits = int(np.gcd.reduce(np.concatenate([[tick], np.abs(events.price[visible]), np.abs(before[visible]).ravel()])))
    return f"a tick of {fits} quanta fits all of them"


def _lot_remedy(events: Events) -> str:
    """Return a remedy that names a lot in which no size has too many digits."""
    largest, common = int(events.size.max()), int(np.gcd.reduce(np.abs(events.size)))
    if largest // common <= compiled.MOST_SIZE:
        return f"count in lots of {common}, which divides every size"
    return f"count in lots of {10 ** len(str(largest // compiled.MOST_SIZE))}, rounding what it does not divide"
