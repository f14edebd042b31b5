"""The application: routes, and their description."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.types import ASGIApp

import lob_jax
from lob_jax.serving.http.gate import Gate, WriteLine
from lob_jax.serving.http.routes import Routes
from lob_jax.serving.http.service import Service


class Api(FastAPI):
    """FastAPI without handlers of errors of its own: all errors come to the gate."""

    def build_middleware_stack(self) -> ASGIApp:
        """Return the application inside the gate."""
        return AsyncExitStackMiddleware(self.router)


def build_app(service: Service, *, access: WriteLine | None = None) -> ASGIApp:
    """Return the application of a service.

    Args:
      service: engines, keys and limits.
      access: writes a line of JSON for each request; None for no log.
    """
    api = Api(title="lob_jax", version=lob_jax.__version__, docs_url=None, redoc_url=None, redirect_slashes=False)
    routes = Routes(service)
    for method, path, endpoint in _table(routes):
        api.add_api_route(path, endpoint, methods=[method], response_model=None)
    return Gate(api, service, access=access)


def _table(routes: Routes) -> list[tuple[str, str, Callable[..., Any]]]:
    return [
        ("POST", "/v1/predict", routes.predict),
        ("POST", "/v1/generate", routes.generate),
        ("POST", "/v1/forecast", routes.forecast),
        ("POST", "/v1/score", routes.score),
        ("POST", "/v1/sessions", routes.open_session),
        ("GET", "/v1/sessions/{session_id}", routes.look),
        ("DELETE", "/v1/sessions/{session_id}", routes.close),
        ("POST", "/v1/sessions/{session_id}/events", routes.feed),
        ("GET", "/v1/models", routes.models),
        ("GET", "/v1/models/{name}", routes.model),
        ("GET", "/health/live", routes.live),
        ("GET", "/health/ready", routes.ready),
        ("GET", "/metrics", routes.metrics),
        ("GET", "/problems/{name}", routes.problem),
    ]
