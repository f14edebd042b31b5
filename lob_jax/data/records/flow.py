"""The state of the flow at the start of a record: how far its model remembers what happened before the record."""

import collections
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.flow import FlowState, blank_flow
from lob_jax.book.flow_loop import flow_after, flow_events
from lob_jax.book.replay import replay, snapshots_at
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.errors import InputError
from lob_jax.tokens.tokenizer import Tokenizer

COLUMNS = {f"flow_{name}": column.dtype for name, column in blank_flow()._asdict().items()}
AXES = {f"flow_{name}": column.ndim for name, column in blank_flow()._asdict().items()}
_STRIDE = 1 << 16  # events whose tokens and books are in memory at once


def stored_flow(state: FlowState) -> dict[str, np.ndarray]:
    """Return a state as columns of a record."""
    return dict(zip(COLUMNS, state, strict=True))


def read_flow(record: Mapping[str, Any]) -> FlowState:
    """Return the state before the first event of a record.

    Raises:
      InputError: the record holds none, since it was prepared for a model that does not read the flow.
    """
    if not record.keys() >= COLUMNS.keys():
        raise InputError(
            "the records do not hold the state of the flow before them",
            where="a record of the prepared records",
            expected=", ".join(COLUMNS),
            was=", ".join(record),
            remedy="run --mode=prepare with --config.model.flow_state: it keeps the records beside new ones",
        )
    return FlowState(*(record[name] for name in COLUMNS))


def flow_states(
    day: MarketDay, starts: Iterable[BookSnapshot], at: np.ndarray, tokenizer: Tokenizer, *, before: FlowState
) -> Iterator[tuple[BookSnapshot, FlowState]]:
    """Yield book and state of the flow before each event `at[k]` of a day, from its events as tokens spell them.

    The gap of event `at[k]` counts from the true time before it, as it does in a record that begins there; other times
    are rounded as tokens round them.

    Args:
      day: the day.
      starts: the book before each of these events.
      at: ascending indices of events.
      tokenizer: the tokenizer of the events.
      before: the state before the day's first event.

    Raises:
      InputError: an event cannot be encoded.
    """
    state, first, start = before, 0, day.start
    for stop, snapshot in zip(at.tolist(), starts, strict=True):
        if stop > first:
            state = _behind(state, day.part(first, stop, start=start), tokenizer)
        yield snapshot, state
        first, start = stop, snapshot


def flow_before(day: MarketDay, first: int, tokenizer: Tokenizer, *, before: FlowState) -> FlowState:
    """Return the state of the flow before an event of a day; see `flow_states`."""
    at = np.append(np.arange(_STRIDE, first, _STRIDE), first)
    ((_, state),) = collections.deque(flow_states(day, snapshots_at(day, at), at, tokenizer, before=before), maxlen=1)
    return state


def _behind(state: FlowState, part: MarketDay, tokenizer: Tokenizer) -> FlowState:
    """Return the state after the events of a part of a day."""
    spelled, books = tokenizer.spelled(tokenizer.encode(part)), replay(part, 1)
    around = {"mid2": books.mid2(), "two_sided": books.two_sided(), "features_EF": books.features()}
    tick = part.instrument.tick
    return flow_after(state, flow_events(spelled, **around, tick=tick), start_ns=part.start.time_ns, tick=tick)
