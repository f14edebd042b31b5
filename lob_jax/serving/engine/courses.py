"""How each request is answered: courses of steps, see `lob_jax.serving.engine.jobs`."""

import dataclasses
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

import numpy as np

from lob_jax.book.snapshot import Corrections
from lob_jax.errors import InputError
from lob_jax.events.schema import Events
from lob_jax.export.contents import Contents
from lob_jax.generation.fan import fan
from lob_jax.generation.host.context import Inputs
from lob_jax.generation.host.continuation import Continuation
from lob_jax.generation.prompt import Prompt
from lob_jax.generation.settings import SamplingConfig
from lob_jax.serving.engine.ahead import Wanted, begun, of_session
from lob_jax.serving.engine.context import MarketContext
from lob_jax.serving.engine.jobs import Aside, Course, Demand, Rows
from lob_jax.serving.engine.network import Network
from lob_jax.serving.engine.sampled import Fill, Tell, days_of, middle_of, middles_of, moved, sampled_rows
from lob_jax.serving.engine.sessions import Session, Sessions
from lob_jax.serving.market.market import NO_EVENTS, LiveMarket
from lob_jax.serving.requests import (
    Close,
    Feed,
    Forecast,
    Generate,
    History,
    Infer,
    InSession,
    Look,
    Market,
    Moves,
    OpenSession,
    PathEvent,
    Predict,
    Request,
    Score,
    Scored,
    SessionState,
)
from lob_jax.tokens.registry import tokenizer_for
from lob_jax.tokens.tokenizer import Tokenizer

AT_ONCE = 256  # events that are followed in one call, which other threads wait for


@dataclasses.dataclass(frozen=True, eq=False)
class Served:
    """A model that an engine serves.

    Attributes:
      contents: its configuration and what generation needs.
      tokenizer: the tokenizer of its tokens.
      network: the network.
      score: how likely the events of a history were, those that are asked for.
      infer: runs the graph of complete windows on arrays by name.
    """

    contents: Contents
    tokenizer: Tokenizer
    network: Network
    score: Callable[[Score], Scored]
    infer: Callable[[Mapping[str, np.ndarray], tuple[str, ...]], dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True, eq=False)
class Work:
    """What courses of an engine work with.

    Attributes:
      served: the model.
      sessions: the sessions.
      idle_s: after which a session ends that nobody uses.
      most_rows: rows that one request may hold.
    """

    served: Served
    sessions: Sessions
    idle_s: float
    most_rows: int

    def state(self, session: Session) -> SessionState:
        """Return how a session stands."""
        return session.state(idle_s=self.idle_s)


@dataclasses.dataclass(eq=False)
class Followed:
    """A market of a history, and what the network has read of it; as in a `Session`."""

    market: LiveMarket
    context: MarketContext


Place = Followed | Session


def course_of(request: Request, work: Work, *, fill: Fill, tell: Tell) -> Course:
    """Return the course of a request, which returns what it is answered by.

    Args:
      request: the request.
      work: what it works with.
      fill: lets the row of a path continue a context.
      tell: delivers events.
    """
    match request:
        case OpenSession():
            return _open(request, work)
        case Feed():
            return _feed(request, work)
        case Look():
            return _at_once(lambda: work.state(work.sessions.find(request.market)))
        case Close():
            return _at_once(lambda: work.state(work.sessions.close(request.market)))
        case Predict():
            return _predict(request, work, fill)
        case Generate():
            return _generate(request, work, fill, tell)
        case Forecast():
            return _forecast(request, work, fill)
        case Score():
            return _aside(lambda: work.served.score(request))
        case Infer():
            return _aside(lambda: work.served.infer(request.inputs, request.outputs))


def _at_once(answer: Callable[[], Any]) -> Course:
    yield from ()
    return answer()


def _aside(answer: Callable[[], Any]) -> Course:
    return (yield Aside(answer))


def follow(market: LiveMarket, events: Events, corrections: Corrections) -> Iterator[dict[str, np.ndarray]]:
    """Let a market take events in parts, and yield the inputs at the tokens of each part."""
    for first in range(0, max(len(events), 1), AT_ONCE):
        last = min(first + AT_ONCE, len(events))
        since = corrections.event if first else np.maximum(corrections.event, 0)  # -1 is before the first event
        mine = corrections[slice(*np.searchsorted(since, (first, max(last, first + 1))))]
        yield market.take(events[first:last], dataclasses.replace(mine, event=mine.event - first), first=first)


def divided(corrections: Corrections) -> tuple[Corrections, Corrections]:
    """Return the corrections that come before all events, and the others."""
    count = int(np.searchsorted(corrections.event, 0))
    return corrections[:count], corrections[count:]


def followed(history: History, served: Served) -> Followed:
    """Return the market of a history.

    Raises:
      InputError: an event contradicts the book before it.
    """
    context = MarketContext(served.network, served.contents.model)
    market = checked_market(history, served.contents, take=context.extend)
    return Followed(market, context)


def checked_market(
    history: History, contents: Contents, *, take: Callable[[Inputs], None] = lambda _: None
) -> LiveMarket:
    """Return the market at the end of a history.

    Args:
      history: the history.
      contents: the model.
      take: called with the inputs at the tokens of some events after the other.

    Raises:
      InputError: an event contradicts the book before it.
    """
    tokenizer = tokenizer_for(contents.vocabulary)
    market = LiveMarket(history.book, contents=contents, tokenizer=tokenizer, closed=history.closed)
    for inputs in follow(market, history.events, history.corrections):
        take(inputs)
    return market


def _open(request: OpenSession, work: Work) -> Course:
    work.sessions.check_room(request.owner)
    place = yield Aside(lambda: followed(request.history, work.served))
    yield from place.context.read()
    return work.state(work.sessions.open(request.owner, place.market, place.context))


def _feed(request: Feed, work: Work) -> Course:
    session = work.sessions.find(request.market)
    late, corrections = divided(request.corrections)
    is_late = len(late.event) > 0
    # One call takes all events or none by itself; several do so on a copy.
    market = session.market.copy() if is_late or len(request.events) > AT_ONCE else session.market
    if is_late:
        market.take(NO_EVENTS, late)
    corrected, parts = market.corrected, list(follow(market, request.events, corrections))
    session.market = market
    session.forget_prediction()
    if is_late:
        session.context.correct(*corrected)
    for inputs in parts:
        session.context.extend(inputs)
    yield from session.context.read_blocks()
    work.sessions.note_fed(session)
    return work.state(session)


def _place(market: Market, work: Work) -> Generator[Demand, Any, Place]:
    if isinstance(market, InSession):
        return work.sessions.find(market)
    return (yield Aside(lambda: followed(market, work.served)))


def _read(place: Place) -> Generator[Demand, Any, None]:
    """Read what there is; afterwards, only what a session has followed while others had their turns is left."""
    if place.context.length == 0:
        raise InputError(
            "nothing has happened yet",
            where="the events of the market",
            expected="at least one event after the opening",
            was=0,
            remedy="send the latest events, and as the opening the book before them",
        )
    yield from place.context.read()


def _predict(request: Predict, work: Work, fill: Fill) -> Course:
    served, place = work.served, (yield from _place(request.market, work))
    yield from _read(place)
    place.context.read_all()
    wanted = Wanted(request.heads, request.most)
    if isinstance(place, Session):
        prediction = of_session(place, wanted, served)
    else:
        prediction = begun(place, wanted, served).complete()
    if request.moves is None:
        return prediction
    place = Followed(place.market.copy(), place.context.copy())  # whatever a session follows meanwhile
    found = yield from _moves(request.moves, place, work, fill)
    return dataclasses.replace(prediction, moves=found)


def _moves(moves: Moves, place: Place, work: Work, fill: Fill) -> Generator[Demand, Any, Any]:
    sampling = SamplingConfig(paths=moves.paths, events=moves.events, seed=moves.seed)
    after: list[np.ndarray] = []
    yield from _sampled(
        place, sampling, work, fill, tell=lambda _: None, note=lambda part: after.append(middles_of(part))
    )
    before = middle_of(place.market.bid, place.market.ask, tick=place.market.instrument.tick)
    return moved(before, np.concatenate(after), events=moves.events)


def _generate(request: Generate, work: Work, fill: Fill, tell: Tell) -> Course:
    place = yield from _place(request.market, work)
    yield from _sampled(place, request.sampling, work, fill, tell=tell)


def _forecast(request: Forecast, work: Work, fill: Fill) -> Course:
    place = yield from _place(request.market, work)
    paths: list[list[PathEvent]] = [[] for _ in range(request.sampling.paths)]

    def keep(events: list[PathEvent]) -> None:
        for event in events:
            paths[event.path].append(event)

    prompt = yield from _sampled(place, request.sampling, work, fill, tell=keep)
    days = days_of(paths, instrument=place.market.instrument, start=prompt.start)
    return (yield Aside(lambda: fan(days, by=request.by, until=request.until, quantiles=request.quantiles)))


def _sampled(
    place: Place,
    sampling: SamplingConfig,
    work: Work,
    fill: Fill,
    *,
    tell: Tell,
    note: Callable[[Continuation], None] = lambda _: None,
) -> Generator[Demand, Any, Prompt]:
    """Sample all paths of a request, as many at a time as it may have rows; return the prompt that they continue.

    Args:
      place: the market.
      sampling: how many paths and events, and how they are drawn.
      work: what courses work with.
      fill: see `course_of`.
      tell: see `course_of`.
      note: called with the paths of each wave when all their events are complete.
    """
    served, most = work.served, work.most_rows
    yield from _read(place)
    yield Rows(min(most, sampling.paths))
    place.context.read_all()
    prompt = place.market.prompt()
    context = place.context if sampling.paths <= most else place.context.copy()  # all paths continue the same
    how = {"model": served.contents.model, "tokenizer": served.tokenizer, "instrument": place.market.instrument}
    whole = Continuation([prompt], sampling=sampling, **how)
    for first in range(0, sampling.paths, most):
        last = min(first + most, sampling.paths)
        if first:
            yield Rows(last - first)
        part = whole.part(first, last)
        yield from sampled_rows(part, context, fill, first=first, tell=tell)
        note(part)
    return prompt
