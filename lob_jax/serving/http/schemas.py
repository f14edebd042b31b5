"""What the routes take and return, for validation and for the description of the API."""

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from lob_jax.serving.http.problems import Problem, invalid
from lob_jax.serving.records import Fault, shown
from lob_jax.serving.units import TIME_FORMAT

MOST_SEED = 2**32 - 1
NUMBER_TEXT = r"^-?\d+(\.\d+)?$"
SHOWN_ERRORS = 10

M = TypeVar("M", bound=BaseModel)


def _real(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


Real = Annotated[float, BeforeValidator(_real)]
Quantity = int | Real | Annotated[str, Field(pattern=NUMBER_TEXT)]
Time = Annotated[str, Field(description=TIME_FORMAT)] | int
Side = Literal["bid", "ask"]
Closed = Literal["nothing", "trading", "trading_and_quoting"]
EventKind = Literal["add", "cancel", "delete", "execute", "execute_hidden", "cross"]
ControlCode = Literal["halt", "resume_quote", "resume_trade", "clear", "session_open", "session_close", "feed_gap"]


class Strict(BaseModel):
    """A model that takes what it names and nothing else, without conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


class EventRecord(Strict):
    """An event. `side` is that of the resting order; prices and sizes are exact."""

    time: Time
    kind: EventKind
    side: Side
    price: Quantity
    size: Quantity
    order_id: int | str = Field(0, description="from 0 to 2^64 - 1, as a number or as decimal digits; 0 for none")


class ControlRecord(Strict):
    """A change of the state of the session or of the feed."""

    time: Time
    kind: Literal["control"]
    code: ControlCode


class LevelRecord(Strict):
    """A correction: the feed's own total at a price, 0 for none, after the events that come before it in the list."""

    kind: Literal["level"]
    side: Side
    price: Quantity
    size: Quantity


class Row(Strict):
    """An order of a book, or a level of a feed of levels."""

    price: Quantity
    size: Quantity
    order_id: int | str = 0


Rows = list[Row | Annotated[list[Quantity], Field(min_length=2, max_length=2)]]


class OpeningBook(Strict):
    """A book at the start: bids from the best down, asks from the best up, orders from the front of each queue."""

    time: Time
    bids: Rows
    asks: Rows
    closed: Closed = "nothing"


class Described:
    """An annotation that describes a value by a model, and leaves its validation to faster code."""

    def __init__(self, of: Any):
        self._of = of

    def __get_pydantic_json_schema__(self, _: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Return the JSON schema of the model."""
        return handler(pydantic.TypeAdapter(self._of).core_schema)


Records = Annotated[list[Any], Described(list[EventRecord | ControlRecord | LevelRecord])]
Opening = Annotated[dict[str, Any], Described(OpeningBook)]


class History(Strict):
    """A market from its opening on."""

    opening: Opening
    events: Records = Field(default_factory=list)


class Timed(Strict):
    """A request that may have a deadline."""

    deadline_s: Real | None = Field(
        None, gt=0, description="after so many seconds the request fails; the server's own limit holds in any case"
    )


class Asked(Timed):
    """A request to a model."""

    model: str | None = Field(None, description="the name of a model; it may be left out if there is only one")


class OfMarket(Asked):
    """A request about a market: one of `session` and `history`."""

    session: str | None = None
    history: History | None = None


class MovesAsked(Strict):
    """Ask where the mid price will be."""

    paths: int = Field(ge=1)
    events: int = Field(ge=1)
    seed: int = Field(0, ge=0, le=MOST_SEED)


class PredictSettings(Timed):
    """What is to be told of the next event."""

    heads: int = Field(3, ge=0, le=20)
    most: int = Field(20, ge=1, le=1000)
    moves: MovesAsked | None = None


class PredictAsked(OfMarket, PredictSettings):
    """Ask for the probabilities of the next event."""


class SamplingSettings(Timed):
    """How paths are sampled."""

    paths: int = Field(1, ge=1)
    events: int = Field(100, ge=1)
    seed: int | None = Field(None, ge=0, le=MOST_SEED, description="left out: a random one, which the answer names")
    temperature: Real = Field(1.0, ge=0, description="0 takes the likeliest token; else at least 1e-6")
    top_k: int = Field(0, ge=0, lt=2**31)
    top_p: Real = Field(1.0, gt=0, le=1)
    min_p: Real = Field(0.0, ge=0, lt=1)
    limit_sizes: bool = Field(True, description="whether sizes are at most those of the training data")


class SampledAsked(OfMarket, SamplingSettings):
    """Ask for sampled paths."""


class GenerateAsked(SampledAsked):
    """Continue a market on several paths."""

    stream: bool = Field(False, description="whether to answer by server-sent events, one per event")


class ForecastAsked(SampledAsked):
    """Ask for quantiles over sampled paths."""

    by: Literal["events", "seconds"] = "events"
    until: Real | None = Field(None, gt=0)
    quantiles: list[Annotated[Real, Field(ge=0, le=1)]] = Field(
        default_factory=lambda: [0.05, 0.25, 0.5, 0.75, 0.95], min_length=1, max_length=50
    )


class ScoreAsked(Asked):
    """Ask how likely each event of a history was."""

    history: History
    first: int = Field(0, ge=0, description="the first event that is asked for; those before it are its context")


class SessionAsked(Asked):
    """Open a session."""

    history: History


class FeedAsked(Timed):
    """Let a session follow more events, all of them or none."""

    events: Records


class LiveMessage(Strict):
    """A message of a client in the socket of a session: one of `events`, `predict` and `generate`."""

    id: int | Annotated[str, Field(max_length=100)] | None = Field(None, description="the answers to it have the same")
    events: Records | None = None
    predict: PredictSettings | None = None
    generate: SamplingSettings | None = None


class Tensor(Strict):
    """An array of the Open Inference Protocol; `data` is flat, in row-major order, or nested."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] | None = None


class WantedOutput(Strict):
    """An output to return."""

    name: str
    parameters: dict[str, Any] | None = None


class InferAsked(Strict):
    """Run the graph of complete windows."""

    id: str | None = Field(None, max_length=200)
    parameters: dict[str, Any] | None = None
    inputs: list[Tensor] = Field(min_length=1, max_length=50)
    outputs: list[WantedOutput] | None = Field(None, max_length=50)


def validated(of: type[M], plain: Any) -> M:
    """Return a request of a model.

    Raises:
      Problem: it is none; each error names its place.
    """
    if not isinstance(plain, dict):
        raise invalid([Fault("", "an object", type(plain).__name__)], detail="the body is not an object")
    try:
        return of.model_validate(plain)
    except pydantic.ValidationError as error:
        raise _problem(error) from error


def _problem(error: pydantic.ValidationError) -> Problem:
    found = error.errors(include_url=False, include_context=False)
    faults = [Fault(pointer_of(one["loc"]), one["msg"], shown(one["input"])) for one in found]
    return invalid(faults[:SHOWN_ERRORS], detail="the request is invalid")


def pointer_of(place: tuple[int | str, ...]) -> str:
    """Return a place in a document as a JSON pointer."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in place)
