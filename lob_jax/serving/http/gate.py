"""What every request passes: an id, a key, the limits of the key, metrics, a log line and the handler of errors."""

import re
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lob_jax.serving.http.bodies import Gone
from lob_jax.serving.http.problems import GONE, KINDS, Problem, problem_of, response_of
from lob_jax.serving.http.service import EXCHANGE, Exchange, Service, exchange_of, failed
from lob_jax.serving.monitoring.lines import request_line

OPEN = frozenset({"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"})  # routes without a key
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
NOWHERE = "none"  # the route of a path that has none
EXTENSION = "websocket.http.response"

WriteLine = Callable[[str], None]


class Gate:
    """The outermost application: it answers what is not let in, and tells clients nothing of a failure but its id."""

    def __init__(self, app: ASGIApp, service: Service, *, access: WriteLine | None = None):
        """Guard an application.

        Args:
          app: the application.
          service: keys, limits and metrics.
          access: writes a line of JSON for each request; None for no log.
        """
        self._app, self._service, self._access = app, service, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        exchange = Exchange(request_id_of(scope["headers"]))
        scope[EXCHANGE] = exchange
        self._service.metrics.began()
        try:
            await self._answered(scope, receive, _marked(send, exchange))
        finally:
            self._note(scope, exchange)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        try:
            self._let_in(scope, exchange)
            await self._app(scope, receive, send)
        except Gone:
            pass
        except Exception as error:  # the only handler of what no route has foreseen
            problem = problem_of(error)
            exchange.problem = problem.name
            if problem.name == "failed":
                failed(error, exchange.request_id)
            if not exchange.status:
                await _refuse(scope, receive, send, problem)

    def _let_in(self, scope: Scope, exchange: Exchange) -> None:
        """Find out who asks; raise Problem if the request is not let in."""
        if scope["path"] in OPEN:
            return
        exchange.owner = self._service.keys.owner(_key_of(scope["headers"])) or ""
        if not exchange.owner:
            raise Problem(
                "unauthorized",
                "the request has no key, or none that is valid",
                headers={"WWW-Authenticate": 'Bearer realm="lob_jax"'},
            )
        if self._service.leaving:
            raise Problem("leaving", KINDS["leaving"].title, headers={"Connection": "close"})
        self._service.rates.spend(exchange.owner)

    def _note(self, scope: Scope, exchange: Exchange) -> None:
        """Count the request, and write its line."""
        route = getattr(scope.get("route"), "path", NOWHERE)
        method = scope.get("method", "WEBSOCKET")
        seconds, status = time.monotonic() - exchange.began, exchange.status or GONE
        # Alerts are of failures of the server.
        counted = GONE if exchange.own_fault and status == KINDS["late"].status else status
        self._service.metrics.ended(route=route, method=method, status=counted, seconds=seconds)
        if exchange.problem:
            self._service.metrics.problem(exchange.problem)
        if exchange.status:  # a client that has left says nothing of the model
            self._service.note(exchange, seconds=seconds)
        if self._access is not None:
            told: dict[str, Any] = {"method": method, "route": route, "status": status, "seconds": seconds}
            self._access(request_line(**told, request_id=exchange.request_id, key=exchange.owner))


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the id that a client has chosen, if it is well formed; else a new one."""
    given = next((value for name, value in headers if name == b"x-request-id"), b"")
    return given.decode() if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _key_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    given = [value for name, value in headers if name == b"authorization"]
    scheme, _, key = given[0].decode("latin-1").partition(" ") if len(given) == 1 else ("", "", "")
    return key.strip() if scheme.lower() == "bearer" else ""


def _marked(send: Send, exchange: Exchange) -> Send:
    """Return a function that sends, notes the status, and adds the id of the request to the response."""

    async def marked(message: Message) -> None:
        kind = message["type"]
        if kind in ("http.response.start", f"{EXTENSION}.start", "websocket.accept"):
            exchange.status = message.get("status", 101)
            headers = [*message.get("headers", ()), (b"x-request-id", exchange.request_id.encode())]
            message = {**message, "headers": headers}
        elif kind == "websocket.close" and not exchange.status:
            exchange.status = 403
        await send(message)

    return marked


async def _refuse(scope: Scope, receive: Receive, send: Send, problem: Problem) -> None:
    """Answer with a problem; a socket is refused before it is opened."""
    if scope["path"].startswith("/v2/"):
        problem.members["error"] = problem.detail  # where clients of the Open Inference Protocol look for it
    response = response_of(problem, exchange_of(scope).request_id)
    if scope["type"] == "http":
        await response(scope, receive, send)
    elif EXTENSION in scope.get("extensions", {}):
        await receive()  # websocket.connect
        headers: Any = response.raw_headers
        await send({"type": f"{EXTENSION}.start", "status": response.status_code, "headers": headers})
        await send({"type": f"{EXTENSION}.body", "body": response.body})
    else:
        await receive()
        await send({"type": "websocket.close", "code": 1008})
