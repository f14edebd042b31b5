"""`CompactTokenizer`: each event as one token, decoded approximately, for the longest context at the least cost."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from lob_jax.book.anchors import ANCHORS
from lob_jax.book.day import MarketDay
from lob_jax.book.oracle import OracleBook, Order
from lob_jax.book.price_memory import PRICE_MEMORIES
from lob_jax.book.queue import QUEUE_NUMBERS
from lob_jax.book.replay import BookStates, reference_runs
from lob_jax.book.snapshot import Corrections
from lob_jax.errors import InputError
from lob_jax.events.schema import ASK, BID, Code, Events, Flag, Kind
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.bins import GAP_BINS, MOST_DISTANCE, MOST_LOTS, PRICE_BINS, SIZE_BINS, CompactBins, fit_bins
from lob_jax.tokens.distortion import Distortion, summarize_errors
from lob_jax.tokens.grammar import Automaton
from lob_jax.tokens.seen import IN_QUANTA, Seen, joined, seen_in
from lob_jax.tokens.sets.streams import compact_sets, rules_of
from lob_jax.tokens.sets.token_sets import TokenSets
from lob_jax.tokens.states import events_along
from lob_jax.tokens.tokenizer import Ability, Spelled

RUN_EVENTS = 1 << 18  # events per block: bounds the tokens and reference prices in memory at once


def compact_grammar() -> Automaton:
    """Return the automaton of compact streams: events until EOS, then PAD."""
    transition = np.full((2, v.VOCAB_SIZE), -1, np.int16)
    for kind in range(1, Kind.CROSS + 1):
        transition[0, kind * v.CLASS_SIZE : (kind + 1) * v.CLASS_SIZE] = 0
    for gap in range(GAP_BINS):
        transition[0, v.FIRST_CONTROL + v.CONTROL_GAP * gap : v.LAST_CONTROL + 1 + v.CONTROL_GAP * gap] = 0
    transition[0, v.EOS] = transition[1, v.PAD] = 1
    state_field = np.array([v.FIELD_HEAD, v.FIELD_SPECIAL], np.int8)
    return Automaton(transition, start=0, state_field=state_field, at_boundary=np.array([True, True]))


class Words(NamedTuple):
    """The parts of compact tokens, int64 [E] each: kind, code of a CONTROL, side (+1, -1, 0), and the three bins."""

    kind: np.ndarray
    code: np.ndarray
    side: np.ndarray
    price: np.ndarray
    size: np.ndarray
    gap: np.ndarray


def read_words(tokens: np.ndarray) -> Words:
    """Split compact tokens into their parts."""
    tokens = np.asarray(tokens, np.int64)
    control, low = tokens < v.CLASS_SIZE, tokens % v.CLASS_SIZE
    rest, gap = np.divmod(low, GAP_BINS)
    rest, size = np.divmod(rest, SIZE_BINS)
    side, price = np.divmod(rest, PRICE_BINS)
    control_gap, code = np.divmod(tokens - v.CONTROL_BASE, v.CONTROL_GAP)
    return Words(
        kind=np.where(control, int(Kind.CONTROL), tokens // v.CLASS_SIZE),
        code=np.where(control, code, 0),
        side=np.where(control, 0, np.where(side == 0, BID, ASK)),
        price=np.where(control, 0, price),
        size=np.where(control, 0, size),
        gap=np.where(control, control_gap, gap),
    )


class CompactTokenizer:
    """Writes an event as one token: kind, side, and the bins of its price, size and gap.

    A token is decoded on the live book, to the event in its bins that is possible there and nearest to the values of
    the bins (`resolve`). The decoder's book therefore diverges from the encoder's: decoding yields a similar flow of
    events, not the same one. `distortion` measures how much each event loses.

    Attributes:
      vocabulary: everything that determines the meaning of ids, including the bins.
      grammar: the automaton of valid token streams.
      name, fewest_event_tokens, time_digits, references, fitted, lacks: see `Tokenizer`.
    """

    name: ClassVar[str] = "compact"
    fewest_event_tokens: ClassVar[int] = 1
    time_digits: ClassVar[tuple[int | None, ...]] = (None,)  # gaps have bins instead
    references: ClassVar[tuple[str, ...]] = v.REFERENCES[:1]  # the live book resolves bins to an order
    fitted: ClassVar[bool] = True
    lacks: ClassVar[Mapping[Ability, str]] = MappingProxyType(
        {
            Ability.EVENTS: "compact tokens decode to events of the same kind, not to the same events",
            Ability.PARTS: "a compact token is a complete event",
            # Nor the size of a level that it removes: only the live book turns its bins into a price and a size.
            Ability.DIRECTION: "a compact token does not determine the price of its event",
            Ability.ORDERS: "compact tokens cannot express a given order",
        }
    )

    def __init__(self, bins: CompactBins):
        self.vocabulary = v.Vocabulary(self.name, None, bins)
        self.grammar = compact_grammar()

    @classmethod
    def from_settings(
        cls, *, time_digits: int | None = None, references: str = "newest", bins: Mapping[str, Any] | None = None
    ) -> Self:
        """Construct the tokenizer from its bins.

        Raises:
          InputError: there are none, or `time_digits` or ranks are asked for as well.
        """
        v.check_references(references, cls.references)
        if time_digits is not None:
            raise InputError(
                "unsupported rounding of times",
                where="tokens.time_digits",
                expected="None for compact tokens",
                was=time_digits,
                remedy="leave it out: their gaps are in bins",
            )
        return cls(CompactBins.from_json(bins))

    @classmethod
    def fit(cls, seen: Sequence[Seen]) -> Self:
        """Fit the bins to the events of the given days, see `fit_bins`."""
        return cls(fit_bins(joined(seen)))

    @property
    def bins(self) -> CompactBins:
        """Return the bins."""
        return self.vocabulary.bins

    def encode(self, day: MarketDay) -> np.ndarray:
        """Return the tokens of a day's events, uint16 [E], without BOS and EOS; values beyond the bins get the last."""
        return np.concatenate([np.empty(0, np.uint16), *self.encode_runs(day)])

    def encode_runs(self, day: MarketDay, *, run_events: int = RUN_EVENTS) -> Iterator[np.ndarray]:
        """Yield the same tokens as `encode`, block by block of `run_events` events."""
        clock = day.start.time_ns
        for rows, before in reference_runs(day, run_events):
            run = day.events[rows]
            yield self._tokens(run, seen_in(run, before, day.instrument, clock))
            clock = int(run.time_ns[-1])

    def tokenize_events(self, day: MarketDay, book_states: BookStates) -> np.ndarray:
        """Return the same tokens from the states of a replay of the same day."""
        before = book_states.reference[:-1]
        return self._tokens(day.events, seen_in(day.events, before, day.instrument, book_states.start_ns))

    def decode(self, tokens: np.ndarray, day: MarketDay, *, own: np.ndarray | None = None) -> Events:
        """Return the events of tokens, decoded one after the other on the decoder's own book.

        Leading BOS, trailing EOS and PAD are optional. Only the instrument, the starting book and the corrections of
        the day are read, not its events. Decodes about 20,000 events per second. Events of tokens with `own`, bool [T],
        get `Flag.OWN`.

        Raises:
          InputError: a token is not in the vocabulary, or no event in its bins is possible; names the position.
        """
        tokens = np.asarray(tokens)
        self.grammar.check(tokens)
        offset = int(len(tokens) > 0 and tokens[0] == v.BOS)
        ends = np.flatnonzero(tokens == v.EOS)
        words = read_words(tokens[offset : ends[0] if len(ends) else len(tokens)])
        book, clock, cursor = OracleBook(day.start), int(day.start.time_ns), 0
        rows = np.zeros((len(words.kind), 3), np.int64)
        is_own = np.zeros(len(rows), bool) if own is None else own[offset : offset + len(rows)]
        rules = {"tick": day.instrument.tick, "signed": day.instrument.signed}
        for i, (kind, code, side, price, size, gap) in enumerate(zip(*(w.tolist() for w in words), strict=True)):
            clock += self.bins.gap_values[kind - 1][gap]
            if kind != Kind.CONTROL:
                found = resolve(book, self.bins, kind, side, price, size, **rules)
                if found is None:
                    raise _nothing_lives(offset + i, int(tokens[offset + i]), self.describe(int(tokens[offset + i])))
                book.apply(kind, side, *found, 0, own=bool(is_own[i]))
                rows[i, 1:] = found
            elif code == Code.CLEAR:
                book.clear()
            rows[i, 0] = clock
            cursor = _correct(book, day.corrections, cursor, i)  # after the event: corrections refer to its result
        columns = {name: getattr(words, name) for name in ("kind", "code", "side")}
        events = Events.from_columns(time_ns=rows[:, 0], price=rows[:, 1], size=rows[:, 2], **columns)
        return events.flagged(Flag.OWN, is_own)

    def sets(
        self, tokens: np.ndarray, day: MarketDay, *, closed: int = 0, rows: tuple[int, int] | None = None
    ) -> TokenSets:
        """Return the set in the place of each token, on the true book before its event, see `Tokenizer.sets`.

        Raises:
          InputError: a token is not in the vocabulary, or there are more tokens than events.
        """
        tokens = np.asarray(tokens)
        self.grammar.check(tokens)
        rules = rules_of(day, gap_digits=v.MAX_NUMBER_DIGITS)
        sets = compact_sets(tokens.astype(np.int64), day, self.bins, rules, closed=closed)
        return sets if rows is None else sets.between(*rows)

    def queues(self, tokens: np.ndarray, day: MarketDay) -> np.ndarray:
        """Return zeros: after a token, its event is complete, see `Tokenizer.queues`."""
        return np.zeros((len(tokens), QUEUE_NUMBERS), np.int16)

    def anchors(self, tokens: np.ndarray, day: MarketDay) -> np.ndarray:
        """Return zeros: a token names no price, but a bin of prices, see `Tokenizer.anchors`."""
        return np.zeros((1 + int((v.field_of(tokens) == v.FIELD_HEAD).sum()), ANCHORS), np.int16)

    def price_memory(self, tokens: np.ndarray, day: MarketDay) -> np.ndarray:
        """Return zeros: after a token, its event is complete, see `Tokenizer.price_memory`."""
        return np.zeros((len(tokens), PRICE_MEMORIES), np.int16)

    def spelled(self, tokens: np.ndarray) -> Spelled:
        """Return what tokens say without a book, see `Tokenizer.spelled`: size and gap are the values of their bins."""
        words, bins = read_words(tokens), self.bins
        size_KJ = np.pad(np.asarray(bins.size_values, np.int64), [(0, 1), (0, 0)])  # 0 for CONTROL
        row = words.kind - 1
        gap_ns = np.asarray(bins.gap_values, np.int64)[row, words.gap]
        return Spelled(words.kind, words.side, size_KJ[row, words.size], gap_ns)

    @staticmethod
    def known_rows(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of clock and book known at each token, int32 [T] each; each token completes its event."""
        behind = events_along(tokens) + np.int32(1)
        return behind, behind

    def loss(self, day: MarketDay) -> Distortion:
        """Measure what the events of a day lose as compact tokens, see `distortion`."""
        return distortion(self, day)

    def describe(self, token: int) -> str:
        """Describe a token in words, such as "ADD bid 1..2 ticks deeper, size 100..199, gap 0..1523 ns"."""
        if not 0 <= token < v.VOCAB_SIZE or token == v.EOS or not self.grammar.allowed[self.grammar.start, token]:
            return v.describe(token)
        kind, code, side, price, size, gap = (int(part[0]) for part in read_words(np.array([token])))
        gap_text = f"gap {_range(self.bins.gap_edges, gap)} ns"
        if kind == Kind.CONTROL:
            return f"{Code(code).name}, {gap_text}"
        unit = "quanta" if kind in IN_QUANTA else "ticks"
        where = f"{_range(self.bins.price_edges[kind - 1], price)} {unit} deeper"
        lots = _range(self.bins.size_edges[kind - 1], size)
        return f"{Kind(kind).name} {'bid' if side == BID else 'ask'} {where}, size {lots}, {gap_text}"

    def _tokens(self, events: Events, seen: Seen) -> np.ndarray:
        gap = _bin_of(np.clip(seen.gap, 0, None), self.bins.gap_edges)
        low = np.zeros(len(events), np.int64)
        for kind in range(1, Kind.CROSS + 1):
            mine = seen.kind == kind
            price = _bin_of(seen.distance[mine], self.bins.price_edges[kind - 1])
            size = _bin_of(seen.size[mine], self.bins.size_edges[kind - 1])
            side = np.where(events.side[mine] == BID, 0, 1)
            low[mine] = ((side * PRICE_BINS + price) * SIZE_BINS + size) * GAP_BINS + gap[mine]
        control = v.CONTROL_BASE + events.code.astype(np.int64) + v.CONTROL_GAP * gap
        return np.where(seen.kind == Kind.CONTROL, control, seen.kind * v.CLASS_SIZE + low).astype(np.uint16)


def _bin_of(values: np.ndarray, edges: tuple[int, ...]) -> np.ndarray:
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)


def _range(edges: tuple[int, ...], at: int) -> str:
    low, high = edges[at], edges[at + 1] - 1
    return str(low) if low == high else f"{low}..{high}"


def resolve(
    book: OracleBook,
    bins: CompactBins,
    kind: int,
    side: int,
    price_bin: int,
    size_bin: int,
    *,
    tick: int,
    signed: bool = False,
) -> tuple[int, int] | None:
    """Return the price, in quanta, and the size, in lots, of a token's event on a book; None if no event is possible.

    An ADD gets the price nearest to the value of its bin that does not cross the book and is in view, and a hidden
    execution the nearest one between the quotes. A CANCEL or DELETE applies to the level in its bin, with an order of a
    matching size, that is nearest to the value of the bin; of two equally near ones, to the better. A CANCEL leaves at
    least one lot of the largest order there; a DELETE removes the newest order whose size is in the bin, else the size
    nearest to the value of its bin from an anonymous order. An EXECUTE removes from the front of the best level's
    queue.

    Args:
      book: orders by side and price.
      bins: the bins of the tokenizer.
      kind: kind of the event, 1..6.
      side: +1 or -1.
      price_bin: bin of the price.
      size_bin: bin of the size.
      tick: price quanta per tick.
      signed: whether prices may be zero or negative, see `Instrument`.
    """
    edges, prices = bins.price_edges[kind - 1], bins.price_values[kind - 1]
    low, high, value = edges[price_bin], edges[price_bin + 1] - 1, prices[price_bin]
    edges = bins.size_edges[kind - 1]
    size = _Size(edges[size_bin], edges[size_bin + 1] - 1, bins.size_values[kind - 1][size_bin])
    reference, best = book.reference(side), book.best(side)
    if kind in IN_QUANTA:
        least, most = (
            _hidden_range(book, side) if kind == Kind.EXECUTE_HIDDEN else _cross_range(reference, side, signed)
        )
        if max(low, least) > min(high, most):
            return None
        return reference - side * min(max(value, low, least), high, most), size.value
    if kind == Kind.ADD:
        return _resolve_add(book, side, (low, high, value), size, tick, signed)
    if kind == Kind.EXECUTE:
        if best is None or not low <= 0 <= high:
            return None
        lots = size.upto(book.sides[side][best][0].size)
        return None if lots is None else (best, lots)
    found = None
    for price, queue in book.sides[side].items():
        distance = side * (reference - price) // tick
        lots = _taken(kind, queue, size) if low <= distance <= high else None
        rank = (abs(distance - value), distance)
        if lots is not None and (found is None or rank < found[0]):
            found = (rank, price, lots)
    return None if found is None else found[1:]


class _Size(NamedTuple):
    """A bin of sizes: its smallest, largest and representative size."""

    low: int
    high: int
    value: int

    def upto(self, most: int) -> int | None:
        """Return the size in the bin, up to `most`, that is nearest to its representative; None if there is none."""
        return None if most < self.low else min(max(self.value, self.low), self.high, most)


def _taken(kind: int, queue: list[Order], size: _Size) -> int | None:
    """Return how much a CANCEL or DELETE removes from a level, None if it can remove nothing there."""
    queue = [order for order in queue if not order.own]
    if kind == Kind.CANCEL:
        return size.upto(max((order.size for order in queue), default=0) - 1)
    whole = next((order.size for order in reversed(queue) if size.low <= order.size <= size.high), None)
    if whole is not None:
        return whole
    return size.upto(max((order.size for order in queue if order.anonymous), default=0) - 1)


def _resolve_add(
    book: OracleBook, side: int, price: tuple[int, int, int], size: _Size, tick: int, signed: bool
) -> tuple[int, int] | None:
    low, high, value = price
    reference, opposite = book.reference(side), book.best(-side)
    least, most = -MOST_DISTANCE, MOST_DISTANCE
    if opposite is not None:
        least = side * (reference - opposite) // tick + 1
    if side == BID and not signed:
        most = min(most, reference // tick - 1)
    elif not signed:
        least = max(least, 1 - reference // tick)
    if 0 < book.window <= len(book.sides[side]):  # behind the last level, it would be out of view
        most = min(most, max(side * (reference - price) // tick for price in book.sides[side]))
    least, most = max(low, least), min(high, most)
    if least > most:
        return None
    at = reference - side * min(max(value, least), most) * tick
    lots = size.upto(MOST_LOTS - sum(book.sizes(side, at)))
    return None if lots is None else (at, lots)


def _hidden_range(book: OracleBook, side: int) -> tuple[int, int]:
    bid, ask = book.best(BID), book.best(ASK)
    return (1, 0) if bid is None or ask is None else (min(0, bid - ask), 0)


def _cross_range(reference: int, side: int, signed: bool) -> tuple[int, int]:
    """Return the range of distances of a cross: those with a positive price, unless the instrument is signed."""
    if signed:
        return -MOST_DISTANCE, MOST_DISTANCE
    return (-MOST_DISTANCE, min(reference - 1, MOST_DISTANCE)) if side == BID else (1 - reference, MOST_DISTANCE)


def _correct(book: OracleBook, corrections: Corrections, cursor: int, event: int) -> int:
    """Apply the corrections from `cursor` on that follow an event; return the cursor after them."""
    while cursor < len(corrections) and corrections.event[cursor] <= event:
        book.correct(*(int(getattr(corrections, name)[cursor]) for name in ("side", "price", "size")))
        cursor += 1
    return cursor


def distortion(tokenizer: CompactTokenizer, day: MarketDay) -> Distortion:
    """Measure what a day's events lose as compact tokens, each decoded on the true book before it."""
    bins, events, tick = tokenizer.bins, day.events, day.instrument.tick
    words = read_words(tokenizer.encode(day))
    book, cursor, signed = OracleBook(day.start), 0, day.instrument.signed
    found = np.zeros((len(events), 2), np.int64)
    lost = np.zeros(len(events), bool)
    columns = (events.kind, events.code, events.side, events.price, events.size, events.order_id)
    true = zip(*(column.tolist() for column in columns), words.price.tolist(), words.size.tolist(), strict=True)
    for i, (kind, code, side, price, size, order_id, price_bin, size_bin) in enumerate(true):
        if kind != Kind.CONTROL:
            resolved = resolve(book, bins, kind, side, price_bin, size_bin, tick=tick, signed=signed)
            found[i], lost[i] = resolved or (0, 0), resolved is None
            book.apply(kind, side, price, size, order_id)
        elif code == Code.CLEAR:
            book.clear()
        cursor = _correct(book, day.corrections, cursor, i)
    gap = np.diff(events.time_ns, prepend=day.start.time_ns)
    coded = np.array([bins.gap_values[kind - 1][at] for kind, at in zip(words.kind, words.gap, strict=True)], np.int64)
    return summarize_errors(found - np.stack([events.price, events.size], 1), coded - gap, lost, tick)


def _nothing_lives(position: int, token: int, told: str) -> InputError:
    return InputError(
        "no event in the bins of a token is possible",
        where=f"token {position}",
        expected="a price and a size in its bins that the book allows",
        was=f"{token} ({told})",
        remedy="decode tokens generated from the same book; real events decode only one by one, on the true book",
    )
