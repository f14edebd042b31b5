"""Let an engine do once all that requests will ask of it, so that none waits for a compiler."""

import threading
from typing import Any

import numpy as np

from lob_jax.book.snapshot import BookSnapshot
from lob_jax.events.instrument import NS_PER_SECOND
from lob_jax.events.schema import ASK, BID, Events, Kind
from lob_jax.export.contents import Contents
from lob_jax.generation.settings import SamplingConfig
from lob_jax.serving.engine.engine import Engine
from lob_jax.serving.requests import (
    Close,
    Failed,
    Feed,
    Finished,
    Generate,
    History,
    InSession,
    Item,
    Moves,
    OpenSession,
    Predict,
    Request,
    Score,
)

NOON_S = 12 * 3600
LEVELS, FIRST_TICK = 10, 1_000  # of the book of the market that is made up
EVENTS = 40  # more tokens than a block has
LONGEST_S = 600.0


def ask(engine: Engine, request: Request, *, seconds: float | None = None) -> Any:
    """Return the answer to a request, and the events that came before it; wait for it.

    Raises:
      InputError: the request is invalid.
      Refusal: it is not answered.
    """
    done, items = threading.Event(), list[Item]()

    def deliver(more: Any) -> None:
        items.extend(more)
        if isinstance(items[-1], Finished | Failed):
            done.set()

    engine.submit(request, deliver, deadline_s=seconds)
    done.wait()
    last = items[-1]
    if isinstance(last, Failed):
        raise last.error
    assert isinstance(last, Finished)
    return last.result if not items[:-1] else items[:-1]


def warm_up(engine: Engine, contents: Contents) -> Engine:
    """Let an engine answer requests of each kind on a market that is made up, and return it ready."""
    book, events = made_up(contents)
    history = History(book, events)
    try:
        state = ask(engine, OpenSession(History(book)), seconds=LONGEST_S)
        here = InSession(state.session)
        ask(engine, Feed(here, events), seconds=LONGEST_S)
        ask(engine, Predict(here, moves=Moves(paths=2, events=1)), seconds=LONGEST_S)
        ask(engine, Close(here), seconds=LONGEST_S)
        ask(engine, Generate(history, SamplingConfig(paths=1, events=2, seed=0)), seconds=LONGEST_S)
        ask(engine, Score(history), seconds=LONGEST_S)
    except BaseException:
        engine.drain(0.0)
        raise
    engine.set_ready()
    return engine


def made_up(contents: Contents) -> tuple[BookSnapshot, Events]:
    """Return a market of the instrument: a book of a few levels, to whose best bid and ask orders are added."""
    instrument, settings = contents.instrument, contents.settings
    start_ns = instrument.midnight_ns() + NOON_S * NS_PER_SECOND
    step = np.arange(LEVELS)
    prices = np.concatenate([FIRST_TICK - step, FIRST_TICK + 1 + step]) * instrument.tick
    start = BookSnapshot(
        time_ns=start_ns,
        side=np.repeat(np.array([BID, ASK], np.int8), LEVELS),
        price=prices,
        size=np.full(2 * LEVELS, 100),
        order_id=np.zeros(2 * LEVELS, np.uint64),
        anonymous=np.full(2 * LEVELS, not settings.pooled),
        last_best=prices[[0, LEVELS]],
        seen=np.ones(2, bool),
        window=settings.window,
        pooled=settings.pooled,
    )
    side = np.where(np.arange(EVENTS) % 2 == 0, BID, ASK).astype(np.int8)
    events = Events.from_columns(
        time_ns=start_ns + np.arange(1, EVENTS + 1) * NS_PER_SECOND,
        kind=np.full(EVENTS, Kind.ADD, np.uint8),
        side=side,
        price=np.where(side == BID, prices[0], prices[LEVELS]),
        size=np.full(EVENTS, 10),
    )
    return start, events
