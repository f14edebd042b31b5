"""What an engine is asked and what it answers: plain data, in the integers of events.

A request is about a market: either a session, whose events the engine has followed one after another, or a history that
comes with the request. Both give the same answer where they hold the same events.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Events
from lob_jax.generation.settings import SamplingConfig
from lob_jax.serving.tally import NO_ROWS, NO_STEPS, Tallied

if TYPE_CHECKING:
    from lob_jax.export.reference.reference import Reference


@dataclasses.dataclass(frozen=True, eq=False)
class History:
    """A market from its opening on.

    Attributes:
      book: the book before the first event, and the time of what came before it.
      events: what has happened since; none at the opening of most sessions.
      corrections: level sizes of the feed's own book that override the replay.
      closed: what was closed at the opening, see `lob_jax.events.halts`.
    """

    book: BookSnapshot
    events: Events = dataclasses.field(default_factory=Events.from_columns)
    corrections: Corrections = dataclasses.field(default_factory=Corrections.none)
    closed: int = 0


@dataclasses.dataclass(frozen=True)
class InSession:
    """The market that a session follows.

    Attributes:
      session: its id.
      owner: who asks: the name of a key. Sessions of other owners do not exist for them.
    """

    session: str
    owner: str = ""


Market = History | InSession


@dataclasses.dataclass(frozen=True, eq=False)
class OpenSession:
    """Begin to follow a market; answered by `SessionState`."""

    history: History
    owner: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Feed:
    """Let a session follow more events, all of them or none; answered by `SessionState`.

    The indices of corrections count from the first of these events; -1 is before it.
    """

    market: InSession
    events: Events
    corrections: Corrections = dataclasses.field(default_factory=Corrections.none)


@dataclasses.dataclass(frozen=True)
class Look:
    """Ask how a session stands; answered by `SessionState`."""

    market: InSession


@dataclasses.dataclass(frozen=True)
class Close:
    """End a session; answered by its last `SessionState`."""

    market: InSession


@dataclasses.dataclass(frozen=True)
class Moves:
    """Ask in which direction the mid price will have moved after some events, by sampled paths."""

    paths: int
    events: int
    seed: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Predict:
    """Ask for the probabilities of the next event; answered by `Prediction`.

    Attributes:
      market: the market.
      heads: for how many of the likeliest heads sizes and times are predicted as well.
      most: how many of the likeliest heads are listed.
      moves: what to sample of the mid price; None for nothing.
    """

    market: Market
    heads: int = 3
    most: int = 20
    moves: Moves | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Generate:
    """Continue a market on several paths: each event is delivered as a `PathEvent`, then `Finished`."""

    market: Market
    sampling: SamplingConfig


@dataclasses.dataclass(frozen=True, eq=False)
class Forecast:
    """Ask for quantiles over sampled paths; answered by a `lob_jax.generation.fan.Fan`."""

    market: Market
    sampling: SamplingConfig
    by: str = "events"
    until: float | None = None
    quantiles: tuple[float, ...] = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclasses.dataclass(frozen=True, eq=False)
class Score:
    """Ask how likely each event of a history was; answered by `Scored`.

    Attributes:
      history: the events.
      first: the first event that is asked for; those before it are its context.
    """

    history: History
    first: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Infer:
    """Run the graph of complete windows on arrays [B, T, ...] by name; answered by its results by name."""

    inputs: Mapping[str, np.ndarray]
    outputs: tuple[str, ...] = ()


Request = OpenSession | Feed | Look | Close | Predict | Generate | Forecast | Score | Infer


@dataclasses.dataclass(frozen=True)
class SessionState:
    """How a session stands.

    Attributes:
      session: its id.
      events: how many events it has followed.
      time_ns: the time of the last one, UNIX ns.
      bid: price quanta and lots of the best bid; None if there is none.
      ask: those of the best ask.
      closed: what is closed, see `lob_jax.events.halts`.
      tokens: how many tokens of context the model has.
      seconds_left: how long the session lives on if nothing more is asked of it.
    """

    session: str
    events: int
    time_ns: int
    bid: tuple[int, int] | None
    ask: tuple[int, int] | None
    closed: int
    tokens: int
    seconds_left: float


@dataclasses.dataclass(frozen=True)
class Distribution:
    """The distribution of a number: its mean and quantiles, and the likeliest values or ranges of values.

    Attributes:
      quantiles: (level, value), ascending.
      likeliest: (lowest value, highest value, probability), the likeliest first.
    """

    quantiles: tuple[tuple[float, int], ...]
    likeliest: tuple[tuple[int, int, float], ...]


@dataclasses.dataclass(frozen=True)
class Head:
    """What the next event may be: its kind, side and price, with the exact probability of the three.

    Attributes:
      kind: a `Kind`.
      code: a `Code`; NONE unless the kind is CONTROL.
      side: +1 bid, -1 ask, 0 for CONTROL.
      price: the lowest and the highest price, price quanta: the same unless the price is far from the touch.
      probability: of the head among all that the book allows.
      size: lots, given the head; None for heads for which it was not asked, and for CONTROL.
      gap_ns: time since the last event, given the head and the likeliest size; None likewise.
    """

    kind: int
    code: int
    side: int
    price: tuple[int, int]
    probability: float
    size: Distribution | None = None
    gap_ns: Distribution | None = None


@dataclasses.dataclass(frozen=True)
class Moved:
    """How often the mid price had moved, in sampled paths.

    Attributes:
      paths: how many paths ended with both quotes.
      events: after how many events.
      down, same, up: shares of these paths.
      standard_errors: those of the three shares.
    """

    paths: int
    events: int
    down: float
    same: float
    up: float
    standard_errors: tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The probabilities of the next event.

    Attributes:
      heads: the likeliest heads, the likeliest first.
      kinds: (kind, side, probability) of all kinds and sides.
      entropy_bits: of the distribution over all heads.
      moves: what was asked of the mid price.
    """

    heads: tuple[Head, ...]
    kinds: tuple[tuple[int, int, float], ...]
    entropy_bits: float
    moves: Moved | None = None


@dataclasses.dataclass(frozen=True)
class Scored:
    """How likely events were, each given those before it.

    The classes are those of `Prediction.kinds`: kind and side.

    Attributes:
      nats: log-likelihood of each event.
      outside: whether an event is outside what the book allows, see `lob_jax.tokens.sets.escape`; by name, "" inside.
      brier: the Brier score of the classes, 0 to 2: the sum of squares of the errors of all probabilities.
      chance: the probability of the class that came.
      likelier: the probability of all classes that were likelier than it.
      entropy_bits: of the distribution over all heads before the event.
      removed: the share of the heads that the grammar allows which the book does not, as the network has them.
    """

    nats: tuple[float, ...]
    outside: tuple[str, ...]
    brier: tuple[float, ...]
    chance: tuple[float, ...]
    likelier: tuple[float, ...]
    entropy_bits: tuple[float, ...]
    removed: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class PathEvent:
    """An event of a path, when it is complete.

    Attributes:
      path: number of the path, from 0.
      number: number of the event in its path, from 0.
      time_ns: UNIX ns.
      kind: a `Kind`.
      code: a `Code`.
      side: +1 bid, -1 ask, 0 for CONTROL.
      price: price quanta.
      size: lots.
      shown: (side, price, lots) of the level that it brought into the view of a book with a window; None if none.
    """

    path: int
    number: int
    time_ns: int
    kind: int
    code: int
    side: int
    price: int
    size: int
    shown: tuple[int, int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Finished:
    """The last item of an answer.

    Attributes:
      result: what was asked for; None after `Generate`, whose events were delivered one by one.
      seconds: by part of the work: "queued", "read", "sampled".
    """

    result: Any
    seconds: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Failed:
    """The last item of an answer that could not be given."""

    error: Exception


Item = PathEvent | Finished | Failed
Deliver = Callable[[Sequence[Item]], None]


class Refusal(Exception):
    """Raised or delivered where a request is valid but is not answered."""


class Busy(Refusal):
    """The queue is full, or there is no room for another session.

    Attributes:
      retry_after_s: when it may be worth trying again.
    """

    def __init__(self, what: str, *, retry_after_s: float):
        super().__init__(what)
        self.retry_after_s = retry_after_s


class Late(Refusal):
    """The deadline of a request has passed."""


class Unknown(Refusal):
    """There is no such session."""


class Leaving(Refusal):
    """The engine takes no more requests, because it is about to end."""


class Cancelled(Refusal):
    """The request was cancelled."""


class Job(Protocol):
    """A request at work."""

    def cancel(self) -> None:
        """Give up the request; its place is free within one event. Safe from any thread, also when it is done."""


@dataclasses.dataclass(frozen=True)
class ModelFacts:
    """What a client may know of a model.

    Attributes:
      name: its name among those that are served.
      fingerprint: that of its bundle; of a checkpoint, a hash of its weights.
      version: the version of lob_jax that wrote it.
      instrument: the instrument, for its units.
      precision: of the weights.
      slots: tokens that its context holds.
      book_levels: levels per side that it reads.
      window: levels per side of the feed that it was trained on, 0 for all.
      pooled: whether that feed shows levels, not orders.
      parameters: how many it has.
      card: its model card; empty for a checkpoint.
      inputs, outputs: dtype and shape of the arrays of `Infer` by name; sizes that the caller chooses are names.
    """

    name: str
    fingerprint: str
    version: str
    instrument: Instrument
    precision: str
    slots: int
    book_levels: int
    window: int
    pooled: bool
    parameters: int
    card: Mapping[str, Any]
    inputs: Mapping[str, tuple[str, tuple[int | str, ...]]]
    outputs: Mapping[str, tuple[str, tuple[int | str, ...]]]


@dataclasses.dataclass(frozen=True)
class Load:
    """What an engine is doing.

    Attributes:
      rows: paths at work.
      most_rows: how many there is room for.
      queued: requests that wait.
      sessions: open sessions.
      tokens: tokens sampled since the start.
      events: events delivered since the start.
      most_queued: how many requests may wait.
      step_rows: rows of each step since the start.
      step_s: how long each of them took, seconds.
    """

    rows: int
    most_rows: int
    queued: int
    sessions: int
    tokens: int
    events: int
    most_queued: int = 0
    step_rows: Tallied = NO_ROWS
    step_s: Tallied = NO_STEPS


class Server(Protocol):
    """An engine that serves one model; all methods are safe from any thread."""

    facts: ModelFacts

    @property
    def reference(self) -> "Reference | None":
        """Return what live events are compared with; None if that is not known."""
        ...

    @property
    def ready(self) -> bool:
        """Return whether the engine is warm and takes requests."""
        ...

    def submit(self, request: Request, deliver: Deliver, *, deadline_s: float | None = None) -> Job:
        """Begin to answer a request, which is all that is done before this returns.

        Args:
          request: the request.
          deliver: called with one or more items as they come, in a thread of the engine, which it must not hold up; the
            last item is `Finished` or `Failed`.
          deadline_s: after so many seconds the request fails as `Late`; None for the engine's own.

        Raises:
          InputError: the request is invalid.
          Refusal: it is not taken.
        """
        ...

    def load(self) -> Load:
        """Return what the engine is doing."""
        ...

    def drain(self, seconds: float) -> None:
        """Take no more requests, wait until those at work are done, or so long, and end the engine's threads."""
        ...
