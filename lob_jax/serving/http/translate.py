"""Requests of clients as requests to an engine, and its answers as JSON."""

import dataclasses
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lob_jax.events.schema import Kind
from lob_jax.generation.fan import Fan
from lob_jax.generation.settings import SamplingConfig, Truncation
from lob_jax.serving import requests
from lob_jax.serving.config import Limits
from lob_jax.serving.http import schemas
from lob_jax.serving.http.problems import invalid
from lob_jax.serving.openings import CLOSED_NAMES, read_opening
from lob_jax.serving.records import CODE_NAMES, KIND_NAMES, SIDE_NAMES, Fault, Read, read_records
from lob_jax.serving.requests import History, InSession, Market, ModelFacts
from lob_jax.serving.units import Units, time_text

MARK = "~"  # between the name of a model and the id of a session in its engine


@dataclasses.dataclass(frozen=True, eq=False)
class Asked:
    """A request of a client, as one to an engine.

    Attributes:
      request: the request.
      locate: returns the JSON pointer of an event of the request by its index.
      deadline_s: its deadline.
      seed: of what is sampled.
    """

    request: requests.Request
    locate: Callable[[int], str] | None = None
    deadline_s: float | None = None
    seed: int | None = None


@dataclasses.dataclass(frozen=True)
class Terms:
    """What requests to one model are read by.

    Attributes:
      facts: the model.
      units: the units of its instrument.
      limits: what may be asked.
      owner: who asks.
    """

    facts: ModelFacts
    units: Units
    limits: Limits
    owner: str

    def refuse_above(self, value: float | None, most: float, pointer: str) -> None:
        """Raise Problem for a value above a limit of the server."""
        if value is not None and value > most:
            fault = Fault(pointer, f"at most {most:,}, a limit of this server", f"{value:,}")
            raise invalid([fault], detail="the request asks for too much")


def history(plain: schemas.History, terms: Terms) -> tuple[History, Read]:
    """Return a history, and what its records say; raise Problem or InvalidRecords."""
    limits, facts, opening = terms.limits, terms.facts, plain.opening
    terms.refuse_above(len(plain.events), limits.history_events, "/history/events")
    rows = sum(len(opening[side]) for side in ("bids", "asks") if isinstance(opening.get(side), Sequence))
    terms.refuse_above(rows, limits.book_orders, "/history/opening")
    view = {"window": facts.window, "pooled": facts.pooled}
    book, closed = read_opening(opening, terms.units, **view, inside="/history/opening")
    read = read_records(plain.events, terms.units, inside="/history/events")
    return History(book, read.events, read.corrections, closed), read


def market(asked: schemas.OfMarket, terms: Terms) -> tuple[Market, Callable[[int], str] | None]:
    """Return the market of a request, and where its events are; raise Problem or InvalidRecords."""
    if (asked.session is None) == (asked.history is None):
        fault = Fault("", "either session or history", "both" if asked.session is not None else "neither")
        raise invalid([fault], detail="the request has to name one market")
    if asked.history is not None:
        found, read = history(asked.history, terms)
        return found, lambda event: read.pointer(event, "/history/events")
    return in_session(asked.session or "", terms), None


def in_session(session: str, terms: Terms) -> InSession:
    """Return a session by the id that clients know."""
    return InSession(session.partition(MARK)[2], terms.owner)


def public_id(model: str, session: str) -> str:
    """Return the id of a session that clients know: it says which model follows the market."""
    return f"{model}{MARK}{session}"


def open_session(asked: schemas.SessionAsked, terms: Terms) -> Asked:
    """Return the request that opens a session."""
    found, read = history(asked.history, terms)
    locate = lambda event: read.pointer(event, "/history/events")  # noqa: E731
    return Asked(requests.OpenSession(found, terms.owner), locate, asked.deadline_s)


def feed(asked: schemas.FeedAsked, terms: Terms, *, session: str) -> Asked:
    """Return the request that feeds a session."""
    terms.refuse_above(len(asked.events), terms.limits.history_events, "/events")
    read = read_records(asked.events, terms.units, inside="/events")
    fed = requests.Feed(in_session(session, terms), read.events, read.corrections)
    return Asked(fed, lambda event: read.pointer(event, "/events"), asked.deadline_s)


def predict(asked: schemas.PredictAsked, terms: Terms) -> Asked:
    """Return the request for a prediction."""
    found, locate = market(asked, terms)
    moves = None
    if asked.moves is not None:
        _check_paths(asked.moves.paths, asked.moves.events, terms, inside="/moves")
        moves = requests.Moves(asked.moves.paths, asked.moves.events, asked.moves.seed)
    return Asked(requests.Predict(found, asked.heads, asked.most, moves), locate, asked.deadline_s)


def generate(asked: schemas.GenerateAsked, terms: Terms) -> Asked:
    """Return the request for paths."""
    found, locate = market(asked, terms)
    sampling = _sampling(asked, terms)
    return Asked(requests.Generate(found, sampling), locate, asked.deadline_s, sampling.seed)


def forecast(asked: schemas.ForecastAsked, terms: Terms) -> Asked:
    """Return the request for quantiles over paths."""
    found, locate = market(asked, terms)
    if any(low >= high for low, high in zip(asked.quantiles, asked.quantiles[1:], strict=False)):
        raise invalid([Fault("/quantiles", "ascending", str(asked.quantiles))], detail="the request is invalid")
    sampling = _sampling(asked, terms)
    quantiles = tuple(asked.quantiles)
    forecast = requests.Forecast(found, sampling, by=asked.by, until=asked.until, quantiles=quantiles)
    return Asked(forecast, locate, asked.deadline_s, sampling.seed)


def score(asked: schemas.ScoreAsked, terms: Terms) -> Asked:
    """Return the request for likelihoods."""
    found, read = history(asked.history, terms)
    if asked.first >= max(len(found.events), 1):
        fault = Fault("/first", f"an event of the history: below {len(found.events)}", str(asked.first))
        raise invalid([fault], detail="there is nothing to score")
    scores = requests.Score(found, asked.first)
    return Asked(scores, lambda event: read.pointer(event, "/history/events"), asked.deadline_s)


def _sampling(asked: schemas.SampledAsked, terms: Terms) -> SamplingConfig:
    """Return the settings of a sampler; its errors name keys of the body as JSON pointers."""
    _check_paths(asked.paths, asked.events, terms, inside="")
    return SamplingConfig(
        paths=asked.paths,
        events=asked.events,
        seed=secrets.randbits(32) if asked.seed is None else asked.seed,
        temperature=asked.temperature,
        truncation=Truncation(asked.top_k, asked.top_p, asked.min_p, named="/"),
        limit_sizes=asked.limit_sizes,
        named="/",
    )


def _check_paths(paths: int, events: int, terms: Terms, *, inside: str) -> None:
    terms.refuse_above(paths, terms.limits.paths, f"{inside}/paths")
    terms.refuse_above(events, terms.limits.events, f"{inside}/events")
    if paths * events > terms.limits.path_events:
        fault = Fault(inside, f"paths x events of at most {terms.limits.path_events:,}", f"{paths * events:,}")
        raise invalid([fault], detail="the request asks for too much")


def state_json(state: requests.SessionState, terms: Terms) -> dict[str, Any]:
    """Return how a session stands."""
    return {
        "session": public_id(terms.facts.name, state.session),
        "model": terms.facts.name,
        "events": state.events,
        "time": time_text(state.time_ns),
        "bid": _quote(state.bid, terms.units),
        "ask": _quote(state.ask, terms.units),
        "closed": CLOSED_NAMES[state.closed],
        "tokens": state.tokens,
        "seconds_left": finite(state.seconds_left),
    }


def _quote(quote: tuple[int, int] | None, units: Units) -> dict[str, str] | None:
    return None if quote is None else {"price": units.price_text(quote[0]), "size": units.size_text(quote[1])}


def finite(value: float) -> float | None:
    """Return a number, or None for NaN and infinities, which JSON does not have."""
    return float(value) if math.isfinite(value) else None


def prediction_json(found: requests.Prediction, terms: Terms) -> dict[str, Any]:
    """Return the probabilities of the next event."""
    kinds = [_kind(kind, side) | {"probability": finite(share)} for kind, side, share in found.kinds]
    return {
        "model": terms.facts.name,
        "heads": [_head(head, terms.units) for head in found.heads],
        "kinds": kinds,
        "entropy_bits": finite(found.entropy_bits),
        "moves": None if found.moves is None else _moves(found.moves),
    }


def _kind(kind: int, side: int) -> dict[str, Any]:
    return {"kind": KIND_NAMES[kind], "side": SIDE_NAMES.get(side)}


def _head(head: requests.Head, units: Units) -> dict[str, Any]:
    control = head.kind == Kind.CONTROL
    low, high = (units.price_text(price) for price in head.price)
    return {
        **_kind(head.kind, head.side),
        "code": CODE_NAMES.get(head.code),
        "price": None if control else {"low": low, "high": high},
        "probability": finite(head.probability),
        "size": _distribution(head.size, units.size_text),
        "gap_ns": _distribution(head.gap_ns, int),
    }


def _distribution(found: requests.Distribution | None, shown: Callable[[int], Any]) -> dict[str, Any] | None:
    if found is None:
        return None
    likeliest = [{"low": shown(a), "high": shown(b), "probability": finite(share)} for a, b, share in found.likeliest]
    return {
        "quantiles": [{"level": float(level), "value": shown(value)} for level, value in found.quantiles],
        "likeliest": likeliest,
    }


def _moves(moved: requests.Moved) -> dict[str, Any]:
    shares = {name: finite(getattr(moved, name)) for name in ("down", "same", "up")}
    errors = dict(zip(shares, map(finite, moved.standard_errors), strict=True))
    return {"paths": moved.paths, "events": moved.events, **shares, "standard_errors": errors}


def fan_json(fan: Fan, terms: Terms) -> dict[str, Any]:
    """Return quantiles over paths; volumes in the market's units."""
    plain, scale = fan.to_json(), terms.facts.instrument.lot_scale
    plain["volume"] = _divided(plain["volume"], scale)
    if isinstance(each := plain.get("each_path"), dict):
        plain["each_path"] = {**each, "volume": _divided(each["volume"], scale)}
    return {"model": terms.facts.name, **plain}


def _divided(values: Any, scale: int) -> Any:
    return [[None if value is None else value / scale for value in row] for row in values]


def scored_json(found: requests.Scored, terms: Terms) -> dict[str, Any]:
    """Return how likely events were; null for an event that has no probability."""
    names = ("brier", "chance", "likelier", "entropy_bits", "removed")
    columns = {name: [finite(value) for value in getattr(found, name)] for name in ("nats", *names)}
    return {"model": terms.facts.name, "nats": columns.pop("nats"), "outside": list(found.outside), **columns}


def facts_json(facts: ModelFacts) -> dict[str, Any]:
    """Return what a client may know of a model, without its card."""
    names = ("name", "fingerprint", "version", "precision", "slots", "book_levels", "window", "pooled", "parameters")
    return {**{name: getattr(facts, name) for name in names}, "instrument": facts.instrument.to_dict()}


def seconds_json(seconds: Mapping[str, float]) -> dict[str, float | None]:
    """Return how long the parts of the work took."""
    return {name: finite(value) for name, value in seconds.items()}
