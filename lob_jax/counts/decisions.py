"""Records as the decisions that tokens stand for, and the samples of each decision that chains are fitted to."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from lob_jax.book.kernel import load
from lob_jax.book.loops import CorrectionColumns, correction_columns
from lob_jax.book.orders import Book
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.counts.candidates import View
from lob_jax.counts.contexts import CodeSets, Samples
from lob_jax.counts.mixture import N_ACTIONS, N_CLASSES
from lob_jax.counts.observe import Steps, observe
from lob_jax.counts.schemes import Decide
from lob_jax.counts.tables import hash_contexts
from lob_jax.counts.watch import Item, Past, gap_class, new_past
from lob_jax.data.records.records import Record, read_record
from lob_jax.events.schema import Kind
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.tokenizer import Tokenizer

# The class of each gap code, of TIME_SKIP and of TIME_BACK; the codes of a class are consecutive.
CODE_CLASS = np.array([*(gap_class(code) for code in range(v.CLASS_SIZE)), N_CLASSES - 2, N_CLASSES - 1])
_CODES = np.bincount(CODE_CLASS, minlength=N_CLASSES)
_FIRST_CODE = np.searchsorted(CODE_CLASS, np.arange(N_CLASSES))
_FIRST_CONTROL_ACTION = 12
_STATES = 64  # more than the grammar has states, or gaps have classes


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """A record in the form of the compiled loops.

    Attributes:
      tokens: int64 [T], without EOS.
      states: int64 [T], of the grammar, before each token.
      steps: its E events.
      counted: bool [E], False for the events of its lead.
      tick: price quanta per tick.
      start: the starting book, without order ids.
      corrections: its corrections.
      time_ns: int64 [E + 1], the clock at the start, and after each event.
    """

    tokens: np.ndarray
    states: np.ndarray
    steps: Steps
    counted: np.ndarray
    tick: int
    start: BookSnapshot
    corrections: CorrectionColumns
    time_ns: np.ndarray

    @classmethod
    def of(cls, record: Record, tokenizer: Tokenizer, sets: CodeSets) -> "Prepared":
        """Parse a record.

        Raises:
          InputError: its tokens are not those of the tokenizer.
        """
        day = read_record(record, tokenizer)
        tokens, events = np.asarray(record["tokens"][:-1], np.int64), day.events
        kind, side = np.asarray(events.kind, np.int64), (np.asarray(events.side) < 0).astype(np.int64)
        heads = np.flatnonzero(v.field_of(tokens) == v.FIELD_HEAD)
        control = _FIRST_CONTROL_ACTION + np.asarray(events.code, np.int64) - 1
        steps = Steps(
            action=np.where(kind == Kind.CONTROL, control, 2 * (kind - 1) + side),
            price=np.ascontiguousarray(events.price, np.int64),
            size=np.ascontiguousarray(events.size, np.int64),
            head=tokens[heads],
            gap=tokens[tokens >= v.TIME] - v.TIME,
            begin=heads,
        )
        return cls(
            tokens=tokens,
            states=sets.states(tokens),
            steps=steps,
            counted=np.arange(len(kind)) >= int(record["lead_events"]),
            tick=int(day.instrument.tick),
            start=dataclasses.replace(day.start, order_id=np.zeros(len(day.start), np.uint64)),
            corrections=correction_columns(day.corrections, len(kind)),
            time_ns=np.concatenate([[day.start.time_ns], events.time_ns]),
        )

    def fresh(self) -> tuple[Book, Past, CorrectionColumns]:
        """Return the starting book, with room for all orders, a memory of no events, and the corrections."""
        added = int((self.steps.action // 2 == Kind.ADD - 1).sum())
        return load(self.start, added + len(self.corrections.event)), new_past(self.time_ns), self.corrections


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """The counted events of some records.

    Attributes:
      items: int64 [E, I], by `Item`.
      slot: int64 [E, V], by `View`, the slot that has the price or size; the number of slots if none has.
      filled: int64 [E, V], number of slots with a value.
      action, head, gap: int64 [E], see `Steps`.
      gap_state: int64 [E], of the grammar, before the gap's leading token.
      digits: int64 [D, 6], positions where a group of digits may come: state, token, the number's first token and its
        last two groups, and the event's action.
    """

    items: np.ndarray
    slot: np.ndarray
    filled: np.ndarray
    action: np.ndarray
    head: np.ndarray
    gap: np.ndarray
    gap_state: np.ndarray
    digits: np.ndarray

    @classmethod
    def of(cls, records: Sequence[Prepared], sets: CodeSets) -> "Rows":
        """Return the rows of records."""
        none = np.zeros(0, np.int64)
        empty = [np.zeros((0, len(Item)), np.int64), *[np.zeros((0, len(View)), np.int64)] * 2, *[none] * 4]
        parts = [(*empty, np.zeros((0, 6), np.int64)), *(_record_rows(one, sets) for one in records)]
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _record_rows(one: Prepared, sets: CodeSets) -> tuple[np.ndarray, ...]:
    items, slot, filled = observe(*one.fresh(), one.steps, one.tick)
    steps, gap_state = one.steps, one.states[one.tokens >= v.TIME]
    by_event = (items, slot, filled, steps.action, steps.head, steps.gap, gap_state)
    return *(values[one.counted] for values in by_event), _digit_rows(one, sets)


def _digit_rows(one: Prepared, sets: CodeSets) -> np.ndarray:
    tokens, event = one.tokens, v.event_index(one.tokens)
    is_digits = tokens // v.CLASS_SIZE == v.CONTINUATION // v.CLASS_SIZE
    lead = np.maximum.accumulate(np.where(is_digits, 0, np.arange(len(tokens))))
    at = np.flatnonzero(sets.n_digits[one.states] > 0)
    at = at[one.counted[event[at - 1]]]
    first = lead[at - 1]
    groups = [np.where(at - k > first, tokens[at - k], -1) for k in (1, 2)]
    return np.stack([one.states[at], tokens[at], tokens[first], *groups, one.steps.action[event[at - 1]]], axis=1)


def samples_of(rows: Rows, sets: CodeSets, decision: int, columns: Sequence[int]) -> Samples:
    """Return the samples of a decision, with the contexts of 0 to K items.

    Args:
      rows: the events.
      sets: allowed codes of the grammar.
      decision: a `Decide`; from VIEW on, the decision between a view's slots.
      columns: the K items in the order in which longer contexts add them.
    """
    items = rows.items
    if decision in (Decide.END, Decide.GROUP):
        items, start, symbol, base, chosen = _digit_samples(rows, sets, decision)
    else:
        start, symbol, base, chosen = _event_samples(rows, decision)
    context = hash_contexts(start[chosen], items[chosen], np.array(columns, np.int64))
    return Samples(context={"": context}, symbol=symbol[chosen], base=base[chosen])


def _event_samples(rows: Rows, decision: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return what the shortest context knows, the symbol, its probability without counts, and which events count."""
    priced, code_class = rows.action < _FIRST_CONTROL_ACTION, CODE_CLASS[rows.gap]
    count, every = len(priced), np.ones(len(priced), bool)
    match decision:
        case Decide.ACTION:
            return np.full(count, decision), rows.action, np.full(count, 1 / N_ACTIONS), every
        case Decide.PRICE:
            return np.full(count, decision), rows.head % v.ASK_OFFSET, np.full(count, 1 / v.PRICE_CODES), priced
        case Decide.SIZE:
            return np.full(count, decision), rows.items[:, Item.SIZE_NOW], np.full(count, 1 / v.CLASS_SIZE), priced
        case Decide.CLASS:
            return decision + _STATES * rows.gap_state, code_class, _CODES[code_class] / _CODES.sum(), every
        case Decide.FINE:
            return decision + _STATES * code_class, rows.gap - _FIRST_CODE[code_class], 1 / _CODES[code_class], every
    view = decision - Decide.VIEW
    return np.full(count, decision), rows.slot[:, view], 1 / (rows.filled[:, view] + 1), priced


def _digit_samples(rows: Rows, sets: CodeSets, decision: int) -> tuple[np.ndarray, ...]:
    """Return the items, and the same as `_event_samples`."""
    state, token, lead, last, one_before, action = rows.digits.T
    items = np.zeros((len(state), len(Item)), np.int64)
    known = {Item.LEAD: lead, Item.DIGITS_1: last, Item.DIGITS_2: one_before, Item.ACTION: action}
    items[:, list(known)] = np.stack(list(known.values()), axis=1)
    goes_on = token // v.CLASS_SIZE == v.CONTINUATION // v.CLASS_SIZE
    start = decision + _STATES * state
    if decision == Decide.END:
        return items, start, goes_on.astype(np.int64), np.full(len(state), 0.5), sets.n_others[state] > 0
    return items, start, token - v.CONTINUATION, 1 / sets.n_digits[state], goes_on
