"""The application: routes, and their description."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp

import lob_jax
from lob_jax.serving.http import described, schemas
from lob_jax.serving.http.gate import OPEN, Gate, WriteLine
from lob_jax.serving.http.inference import Inference
from lob_jax.serving.http.live import Live
from lob_jax.serving.http.routes import Routes, json_response
from lob_jax.serving.http.service import Service

OPENAPI = "/openapi.json"
ABOUT = (
    "Probabilities and continuations of live order books. Every route but those of health needs a key, this description"
    " as well. Errors are problem details (RFC 9457). /v1/sessions/{session_id}/live is a WebSocket: a client sends"
    " LiveMessage, and receives objects with the same id and one of state, prediction, events, done and problem."
)


@dataclasses.dataclass(frozen=True)
class Route:
    """A route.

    Attributes:
      method: its method.
      path: the template of its path.
      endpoint: what answers.
      takes: the model of its body; None for none.
      returns: the model of its response; None for text.
      status: of its response.
      streams: whether it may answer by server-sent events.
    """

    method: str
    path: str
    endpoint: Callable[..., Any]
    takes: type[BaseModel] | None = None
    returns: type[BaseModel] | None = None
    status: int = 200
    streams: bool = False


class Api(FastAPI):
    """FastAPI without handlers of errors of its own: all errors come to the gate.

    Attributes:
      bodies: requests and responses of routes that not every server has.
    """

    bodies: Sequence[type[BaseModel]] = ()

    def build_middleware_stack(self) -> ASGIApp:
        """Return the application inside the gate."""
        return AsyncExitStackMiddleware(self.router)

    def openapi(self) -> dict[str, Any]:
        """Return the description of the API."""
        if self.openapi_schema is None:
            found = get_openapi(title=self.title, version=self.version, description=ABOUT, routes=self.routes)
            self.openapi_schema = described.complete(found, self.bodies)
        return self.openapi_schema


def build_app(service: Service, *, access: WriteLine | None = None, more: Sequence[Route] = ()) -> ASGIApp:
    """Return the application of a service.

    Args:
      service: engines, keys and limits.
      access: writes a line of JSON for each request; None for no log.
      more: routes that not every server has.
    """
    api = Api(
        title="lob_jax",
        version=lob_jax.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    api.bodies = [body for route in more for body in (route.takes, route.returns) if body is not None]
    for route in (*_of_markets(Routes(service)), *_of_models(Routes(service), Inference(service)), *more):
        _add(api, route)
    api.add_api_websocket_route("/v1/sessions/{session_id}/live", Live(service).live)

    async def description() -> Response:
        """Return this description."""
        return json_response(api.openapi())

    api.add_api_route(OPENAPI, description, methods=["GET"], response_model=None, include_in_schema=False)
    return Gate(api, service, access=access)


def _add(api: FastAPI, route: Route) -> None:
    extra: dict[str, Any] = {} if route.takes is None else {"requestBody": described.body(route.takes)}
    extra |= {"security": []} if route.path in OPEN else {}
    api.add_api_route(
        route.path,
        route.endpoint,
        methods=[route.method],
        status_code=route.status,
        response_model=None,
        response_class=PlainTextResponse if route.returns is None else JSONResponse,
        responses=described.responses(route.returns, status=route.status, streams=route.streams),
        openapi_extra=extra,
    )


def _of_markets(routes: Routes) -> list[Route]:
    """Return the routes that ask something about a market, or follow one."""
    session = "/v1/sessions/{session_id}"
    state = described.SessionState
    return [
        Route("POST", "/v1/predict", routes.predict, schemas.PredictAsked, described.Prediction),
        Route("POST", "/v1/generate", routes.generate, schemas.GenerateAsked, described.Generated, streams=True),
        Route("POST", "/v1/forecast", routes.forecast, schemas.ForecastAsked, described.Forecast),
        Route("POST", "/v1/score", routes.score, schemas.ScoreAsked, described.Scored),
        Route("POST", "/v1/sessions", routes.open_session, schemas.SessionAsked, state, status=201),
        Route("GET", session, routes.look, None, state),
        Route("DELETE", session, routes.close, None, state),
        Route("POST", f"{session}/events", routes.feed, schemas.FeedAsked, state),
    ]


def _of_models(routes: Routes, inference: Inference) -> list[Route]:
    """Return the routes of models, of health and of what is measured."""
    return [
        Route("GET", "/v1/models", routes.models, None, described.Models),
        Route("GET", "/v1/models/{name}", routes.model, None, described.ModelWithCard),
        Route("GET", "/v2", inference.server, None, described.ServerMetadata),
        Route("GET", "/v2/health/live", routes.live, None, described.Live),
        Route("GET", "/v2/health/ready", routes.ready, None, described.Ready),
        Route("GET", "/v2/models/{name}", inference.model, None, described.ModelMetadata),
        Route("GET", "/v2/models/{name}/ready", inference.model_ready, None, described.Ready),
        Route("POST", "/v2/models/{name}/infer", inference.infer, schemas.InferAsked, described.Inferred),
        Route("GET", "/health/live", routes.live, None, described.Live),
        Route("GET", "/health/ready", routes.ready, None, described.Ready),
        Route("GET", "/metrics", routes.metrics),
        Route("GET", "/problems/{name}", routes.problem, None, described.ProblemKind),
    ]
