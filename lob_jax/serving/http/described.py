"""The description of the API (OpenAPI 3.1): what each route takes and returns, and who may call it."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from lob_jax.serving.http import schemas
from lob_jax.serving.http.problems import MEDIA_TYPE
from lob_jax.serving.http.schemas import Closed

JSON = "application/json"
AT = "#/components/schemas/"
KEY = "key"  # the name of the security scheme


class Told(BaseModel):
    """A response; every member is there unless it says otherwise."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Quote(Told):
    """The best price of a side, and what is there."""

    price: str
    size: str


class SessionState(Told):
    """How a session stands."""

    session: str
    model: str
    events: int
    time: str
    bid: Quote | None
    ask: Quote | None
    closed: Closed
    tokens: int
    seconds_left: float | None


Seconds = dict[str, float | None]


class Range(Told):
    """Prices, the same unless the price is far from the touch."""

    low: str
    high: str


class Level(Told):
    """A quantile."""

    level: float
    value: str | int


class Likely(Told):
    """A value or a range of values, with its probability."""

    low: str | int
    high: str | int
    probability: float | None


class Distribution(Told):
    """The distribution of a number."""

    quantiles: list[Level]
    likeliest: list[Likely]


class KindShare(Told):
    """How likely a kind and a side are."""

    kind: str
    side: str | None
    probability: float | None


class Head(Told):
    """What the next event may be."""

    kind: str
    side: str | None
    code: str | None
    price: Range | None
    probability: float | None
    size: Distribution | None
    gap_ns: Distribution | None


class Moved(Told):
    """How often the mid price had moved, in sampled paths."""

    paths: int
    events: int
    down: float | None
    same: float | None
    up: float | None
    standard_errors: dict[str, float | None]


class Prediction(Told):
    """The probabilities of the next event."""

    model: str
    heads: list[Head]
    kinds: list[KindShare]
    entropy_bits: float | None
    moves: Moved | None
    seconds: Seconds


class Path(Told):
    """A path: events, and after some of them the level that they brought into view."""

    path: int
    events: list[schemas.EventRecord | schemas.ControlRecord | schemas.LevelRecord]


class Generated(Told):
    """Paths that continue a market."""

    model: str
    seed: int
    paths: list[Path]
    seconds: Seconds


Values = list[list[float | None]]


class Forecast(Told):
    """Quantiles over paths at points in time, one list per point; null where too few paths have a value."""

    model: str
    by: str
    moment: list[float]
    quantile: list[float]
    paths: list[int]
    mid: Values
    spread: Values
    volume: Values
    volatility: Values
    each_path: dict[str, Values] | None = Field(None, description="left out if there are enough paths for quantiles")
    seed: int
    seconds: Seconds


class Scored(Told):
    """How likely each event was, from `first` on, each given those before it."""

    model: str
    nats: list[float | None] = Field(description="the log-likelihood")
    outside: list[str] = Field(description='why the book does not allow the event; "" if it does')
    brier: list[float | None] = Field(description="of kind and side: the sum of the squared errors, 0 to 2")
    chance: list[float | None] = Field(description="the probability of the kind and side that came")
    likelier: list[float | None] = Field(description="that of all kinds and sides that were likelier")
    entropy_bits: list[float | None] = Field(description="of the distribution over kinds, sides and prices")
    removed: list[float | None] = Field(description="the share of it that the book forbids, as the network has it")
    seconds: Seconds


class ModelFacts(Told):
    """What is known of a model."""

    name: str
    fingerprint: str
    version: str
    precision: str
    slots: int
    book_levels: int
    window: int
    pooled: bool
    parameters: int
    instrument: dict[str, str | int | bool]


class ModelWithCard(ModelFacts):
    """What is known of a model, with its card."""

    card: dict[str, Any]


class Models(Told):
    """All models."""

    models: list[ModelFacts]


class Live(Told):
    """Whether the server runs."""

    live: bool


class Ready(Told):
    """Whether requests are taken."""

    ready: bool
    name: str | None = Field(None, description="of a model; left out for the server")


class ServerMetadata(Told):
    """What the server is."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(Told):
    """An input or an output; sizes that the caller chooses are -1."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Told):
    """The inputs and outputs of a model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class OutputTensor(Told):
    """An output, its values flat in row-major order."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float | int | bool]


class Inferred(Told):
    """Outputs of a model."""

    model_name: str
    model_version: str
    id: str | None = Field(None, description="left out if the request has none")
    outputs: list[OutputTensor]


class ProblemKind(Told):
    """A kind of problem."""

    type: str
    title: str
    status: int
    means: str


class Place(Told):
    """What is wrong at a place of the body."""

    pointer: str
    expected: str
    was: str


class Problem(BaseModel):
    """A problem (RFC 9457); members that do not apply are left out."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    pointer: str | None = Field(None, description="the place in the body, a JSON pointer (RFC 6901)")
    expected: str | None = None
    was: str | None = None
    remedy: str | None = None
    event: int | None = Field(None, description="the index of an event that contradicts the book")
    errors: list[Place] | None = Field(None, description="all faults, if there are several")
    error: str | None = Field(None, description="the detail again, for routes under /v2")


REQUESTS: tuple[type[BaseModel], ...] = (
    schemas.PredictAsked,
    schemas.GenerateAsked,
    schemas.ForecastAsked,
    schemas.ScoreAsked,
    schemas.SessionAsked,
    schemas.FeedAsked,
    schemas.InferAsked,
    schemas.LiveMessage,
)
RESPONSES: tuple[type[BaseModel], ...] = (
    SessionState,
    Prediction,
    Generated,
    Forecast,
    Scored,
    Models,
    ModelWithCard,
    Live,
    Ready,
    ServerMetadata,
    ModelMetadata,
    Inferred,
    ProblemKind,
    Problem,
)


def components() -> dict[str, Any]:
    """Return the schemas of all requests and responses, by name."""
    models: list[Any] = [(model, "validation") for model in (*REQUESTS, *RESPONSES)]
    return models_json_schema(models, ref_template=f"{AT}{{model}}")[1]["$defs"]


def body(of: type[BaseModel]) -> dict[str, Any]:
    """Return the description of a body."""
    return {"required": True, "content": {JSON: {"schema": {"$ref": f"{AT}{of.__name__}"}}}}


def responses(of: type[BaseModel] | None, *, status: int, streams: bool = False) -> dict[int | str, dict[str, Any]]:
    """Return the description of the responses of a route.

    Args:
      of: what it returns if all is well; None for text.
      status: the status then.
      streams: whether it may return server-sent events as well.
    """
    content: dict[str, Any] = {} if of is None else {JSON: {"schema": {"$ref": f"{AT}{of.__name__}"}}}
    if streams:
        told = (
            "`event` frames (path, number, records), then `done` (model, seed, events, seconds) or `error`, a problem."
        )
        content["text/event-stream"] = {"schema": {"type": "string", "description": told}}
    problem = {"schema": {"$ref": f"{AT}{Problem.__name__}"}}
    return {
        status: {"description": "Success", "content": content},
        "default": {"description": "A problem", "content": {MEDIA_TYPE: problem}},
    }


def complete(description: dict[str, Any]) -> dict[str, Any]:
    """Return a description with the schemas of bodies and the security scheme, which holds unless a route says so."""
    scheme = {"type": "http", "scheme": "bearer", "description": "a key of the server's file of keys"}
    kept = {"schemas": components(), "securitySchemes": {KEY: scheme}}
    return {**description, "components": kept, "security": [{KEY: []}]}
