"""Faults to plant in real flow: a yardstick for generators must be able to tell the result from real flow."""

import dataclasses
from collections.abc import Callable

import numpy as np

from lob_jax.events.schema import Kind
from lob_jax.statistics.flow import Flow

MESSAGES, BOOKS, BOTH = "messages", "books", "messages and books"
_ROWS = ("kind", "side", "price", "size", "order_id", "book_price", "book_size")  # all columns but times


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault that a generator may have.

    Attributes:
      name: its key in JSON.
      label: its name in tables and figures.
      changes: what it alters; the rest stays as it is, even if messages then contradict the books.
      plant: (real flow, training flow, random generator) -> the flow with the fault; sequence s stays sequence s.
    """

    name: str
    label: str
    changes: str
    plant: Callable[[Flow, Flow, np.random.Generator], Flow]


def _flip_sides(flow: Flow, training: Flow, rng: np.random.Generator) -> Flow:
    return dataclasses.replace(flow, side=-flow.side)


def _set_sizes(flow: Flow, training: Flow, rng: np.random.Generator) -> Flow:
    return dataclasses.replace(flow, size=np.ones_like(flow.size))


def _shuffle_rows(flow: Flow, training: Flow, rng: np.random.Generator) -> Flow:
    """Permute messages with their books in each sequence; the times stay."""
    order = np.lexsort((rng.random(len(flow.kind)), flow.sequence()))
    return dataclasses.replace(flow, **{name: getattr(flow, name)[order] for name in _ROWS})


def _copy_training(flow: Flow, training: Flow, rng: np.random.Generator) -> Flow:
    """Return training sequences, as different ones as there are."""
    rounds = -(-len(flow) // len(training))
    return training.select(np.concatenate([rng.permutation(len(training)) for _ in range(rounds)])[: len(flow)])


def _freeze_mid(flow: Flow, training: Flow, rng: np.random.Generator) -> Flow:
    """Shift every message and book by the move of the mid since the sequence's first book, to the half quantum."""
    moved = (flow.book_price[:, :, 0].sum(axis=1) - _first(flow)[:, :, 0].sum(axis=1)) // 2
    book_price = np.where(flow.book_size > 0, flow.book_price - moved[:, None, None], flow.book_price)
    return dataclasses.replace(flow, price=flow.price - moved, book_price=book_price)


def _double_times(flow: Flow, training: Flow, rng: np.random.Generator) -> Flow:
    return dataclasses.replace(flow, time_ns=2 * flow.time_ns - _first_time(flow))


def _drop_hidden(flow: Flow, training: Flow, rng: np.random.Generator) -> Flow:
    return _repeated(flow, np.where(flow.kind == Kind.EXECUTE_HIDDEN, 0, 1))


def _double_tick(flow: Flow, training: Flow, rng: np.random.Generator) -> Flow:
    """Double every distance from the best bid of the sequence's first book: prices of twice the tick."""
    origin = _first(flow)[:, 0, 0]
    book_price = np.where(flow.book_size > 0, 2 * flow.book_price - origin[:, None, None], flow.book_price)
    return dataclasses.replace(flow, price=2 * flow.price - origin, book_price=book_price)


def _double_trades(flow: Flow, training: Flow, rng: np.random.Generator) -> Flow:
    """Repeat every execution, with its book."""
    return _repeated(flow, np.where(np.isin(flow.kind, (Kind.EXECUTE, Kind.EXECUTE_HIDDEN)), 2, 1))


def _swap_levels(flow: Flow, training: Flow, rng: np.random.Generator) -> Flow:
    """Exchange the first two levels of each side that has two."""
    changed = {}
    two = (flow.book_size[:, :, 1:2] > 0).all(axis=2, keepdims=True) if flow.levels > 1 else False
    for name in ("book_price", "book_size"):
        column = getattr(flow, name)
        swapped = column[:, :, [1, 0, *range(2, flow.levels)]] if flow.levels > 1 else column
        changed[name] = np.where(two, swapped, column)
    return dataclasses.replace(flow, **changed)


def _drop_cancels(flow: Flow, training: Flow, rng: np.random.Generator) -> Flow:
    """Leave out half of the cancellations, with their books; the books of other messages still reflect them."""
    cancels = np.isin(flow.kind, (Kind.CANCEL, Kind.DELETE))
    return _repeated(flow, np.where(cancels & (rng.random(len(flow.kind)) < 0.5), 0, 1))


def _mix_gaps(flow: Flow, training: Flow, rng: np.random.Generator) -> Flow:
    """Exchange the times between messages among all sequences at random: the same gaps, but independent ones."""
    gap = np.diff(flow.time_ns, prepend=0)
    inner = np.ones(len(gap), bool)
    inner[flow.edges[:-1][np.diff(flow.edges) > 0]] = False
    gap[inner] = rng.permutation(gap[inner])
    gap[~inner] = 0
    since = np.cumsum(gap)
    return dataclasses.replace(flow, time_ns=_first_time(flow) + since - since[flow.edges[flow.sequence()]])


def _first(flow: Flow) -> np.ndarray:
    """Return for each message the prices of its sequence's first book."""
    return flow.book_price[flow.edges[flow.sequence()]]


def _first_time(flow: Flow) -> np.ndarray:
    return flow.time_ns[flow.edges[flow.sequence()]]


def _repeated(flow: Flow, times: np.ndarray) -> Flow:
    """Return a flow with each message, and its book, as often as `times` says, int64 [E]."""
    columns = {name: np.repeat(getattr(flow, name), times, axis=0) for name in ("time_ns", *_ROWS)}
    return dataclasses.replace(flow, edges=np.concatenate([[0], np.cumsum(times)])[flow.edges], **columns)


FAULTS = (
    Fault("sides_flipped", "sides flipped", MESSAGES, _flip_sides),
    Fault("sizes_one", "sizes 1", MESSAGES, _set_sizes),
    Fault("rows_shuffled", "rows shuffled", BOTH, _shuffle_rows),
    Fault("training_copied", "training copied", BOTH, _copy_training),
    Fault("mid_frozen", "mid frozen", BOTH, _freeze_mid),
    Fault("times_doubled", "times doubled", MESSAGES, _double_times),
    Fault("hidden_dropped", "hidden executions dropped", BOTH, _drop_hidden),
    Fault("tick_doubled", "wrong tick", BOTH, _double_tick),
    Fault("trades_doubled", "trades doubled", BOTH, _double_trades),
    Fault("levels_swapped", "levels swapped", BOOKS, _swap_levels),
    Fault("cancels_halved", "half of the cancels missing", BOTH, _drop_cancels),
    Fault("gaps_mixed", "gaps independent", MESSAGES, _mix_gaps),
)
