"""Sample the paths of a request: waves of rows, each event when it is complete."""

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Events
from lob_jax.generation.host.context import Inputs
from lob_jax.generation.host.continuation import Continuation
from lob_jax.generation.host.state import Newest, Number
from lob_jax.serving.engine.context import MarketContext, PathContexts
from lob_jax.serving.engine.jobs import RELEASE, Demand, Rows, Step
from lob_jax.serving.requests import Moved, PathEvent

Fill = Callable[[int, MarketContext], None]
Tell = Callable[[list[PathEvent]], None]


class RowReader:
    """The rows of a course: they continue the context of a market, and begin anew when they are full."""

    def __init__(self, context: MarketContext, fill: Fill, *, rows: int) -> None:
        """Let rows that have been granted continue a context."""
        self._fill, self._rows, self._contexts = fill, rows, PathContexts(context, paths=rows)
        for row in range(rows):
            fill(row, context)

    def read(self, inputs: Inputs) -> Generator[Demand, Any, np.ndarray]:
        """Read a token in each row, [B, 1, ...] each; return the logits, float32 [B, V]."""
        logits_BV = yield Step(inputs)
        self._contexts.note(inputs)
        if not self._contexts.full:
            return logits_BV
        yield RELEASE
        fresh = self._contexts.begin_anew()
        for context in fresh:
            yield from context.read()
        yield Rows(self._rows)
        for row, context in enumerate(fresh):
            self._fill(row, context)
        return np.stack([context.next_logits_V for context in fresh])


def sampled_rows(
    continuation: Continuation, context: MarketContext, fill: Fill, *, first: int, tell: Tell
) -> Generator[Demand, Any, None]:
    """Sample paths in rows that have been granted, and give the rows back.

    Args:
      continuation: the paths; at the end all their events are complete.
      context: what has been read of the market.
      fill: lets the row of a path continue a context.
      first: number of the first path.
      tell: called with events as they are complete.
    """
    paths = len(continuation.paths.token)
    reader = RowReader(context, fill, rows=paths)
    logits_BV, told = np.repeat(context.next_logits_V[None], paths, 0), np.zeros(paths, np.int64)
    while True:
        continuation.sample(logits_BV)
        complete = continuation.complete
        if new := np.flatnonzero(complete > told).tolist():
            tell([_event(continuation, path, first=first) for path in new])
            told = complete
        if continuation.done:
            break
        logits_BV = yield from reader.read(continuation.inputs())
    yield RELEASE


def _event(continuation: Continuation, path: int, *, first: int) -> PathEvent:
    """Return the event of a path that is complete now."""
    paths = continuation.paths
    event, number = paths.event[path].tolist(), paths.number[path]
    shown = tuple(event[Newest.SHOWN_SIDE : Newest.SHOWN_LOTS + 1])
    return PathEvent(
        path=first + path,
        number=int(continuation.complete[path]) - 1,
        time_ns=int(number[Number.CLOCK]),
        kind=event[Newest.KIND],
        code=event[Newest.CODE],
        side=event[Newest.SIDE],
        price=event[Newest.PRICE],
        size=event[Newest.SIZE],
        shown=(shown[0], shown[1], shown[2]) if shown[2] else None,
    )


def days_of(events: Sequence[Sequence[PathEvent]], *, instrument: Instrument, start: BookSnapshot) -> list[MarketDay]:
    """Return each path's events as a day that begins with the book before them."""
    return [_day(path, instrument, start) for path in events]


def _day(path: Sequence[PathEvent], instrument: Instrument, start: BookSnapshot) -> MarketDay:
    names = ("time_ns", "kind", "code", "side", "price", "size")
    columns = {name: np.array([getattr(event, name) for event in path], np.int64) for name in names}
    shown = [(event.number, *event.shown) for event in path if event.shown]
    rows = np.array(shown, np.int64).reshape(-1, 4).T
    corrections = Corrections(rows[0], rows[1].astype(np.int8), rows[2], rows[3])
    return MarketDay(instrument, start, Events.from_columns(**columns), corrections, {})


def middle_of(bid: tuple[int, int] | None, ask: tuple[int, int] | None, *, tick: int) -> float:
    """Return the sum of the prices of two quotes, (price quanta, lots), in ticks; NaN without both."""
    return float("nan") if bid is None or ask is None else bid[0] // tick + ask[0] // tick


def middles_of(continuation: Continuation) -> np.ndarray:
    """Return best bid plus best ask of each path, ticks, float64 [B]; NaN without both."""
    known = continuation.paths.known
    quoted = (known.size[:, :, 0] > 0).all(1)
    return np.where(quoted, known.price[:, :, 0].sum(1), np.nan)


def moved(before: float, after: np.ndarray, *, events: int) -> Moved:
    """Return how often the mid price has moved in paths.

    Args:
      before: the middle that all paths begin with, see `middle_of`.
      after: those of the paths after the events, see `middles_of`.
      events: how many.
    """
    change = (after - before)[np.isfinite(after - before)]
    count = max(len(change), 1)
    down, same, up = (float(found.sum()) / count for found in (change < 0, change == 0, change > 0))
    errors = tuple(float(np.sqrt(share * (1 - share) / count)) for share in (down, same, up))
    return Moved(len(change), events, down, same, up, (errors[0], errors[1], errors[2]))
