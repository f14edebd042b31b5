"""Errors as problem details (RFC 9457): what a client is told, and nothing of the inside of the server."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from lob_jax.errors import InputError
from lob_jax.serving.records import Fault, InvalidRecords
from lob_jax.serving.requests import Busy, Cancelled, Late, Leaving, Refusal, Unknown

MEDIA_TYPE = "application/problem+json"
LONGEST = 400  # characters of a value that is shown
GONE = 499  # what servers log for a client that has closed its connection


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of problem.

    Attributes:
      status: its HTTP status.
      title: what it is, always the same.
      means: what a client can do about it.
    """

    status: int
    title: str
    means: str


KINDS = {
    "invalid-json": Kind(400, "The body is not acceptable JSON", "Send UTF-8 JSON without NaN or repeated keys."),
    "unauthorized": Kind(401, "A key is needed", "Send Authorization: Bearer KEY with a key that is valid."),
    "forbidden": Kind(403, "This key may not do that", "Ask an operator of the server."),
    "not-found": Kind(404, "There is nothing at this address", "GET /openapi.json lists the routes."),
    "unknown-model": Kind(404, "There is no such model", "GET /v1/models lists the models."),
    "unknown-session": Kind(404, "There is no such session", "It may have ended; open another one."),
    "unknown-experiment": Kind(404, "There is no such experiment", "GET /v1/experiments lists the experiments."),
    "method-not-allowed": Kind(405, "This address has no such method", "GET /openapi.json lists the methods."),
    "body-timeout": Kind(408, "The body did not arrive in time", "Send it faster, or in smaller requests."),
    "invalid-event": Kind(409, "An event contradicts the book", "Correct that event; nothing was applied."),
    "conflict": Kind(409, "The request contradicts what is kept", "Choose another name, or send the same again."),
    "too-large": Kind(413, "The body is too large", "Send less at once."),
    "media-type": Kind(415, "The body has to be JSON", "Send Content-Type: application/json."),
    "invalid-request": Kind(422, "The request is invalid", "Each error names its place in the body."),
    "too-many-requests": Kind(429, "This key has made too many requests", "Wait as long as Retry-After says."),
    "busy": Kind(429, "The server has no room for the request", "Wait as long as Retry-After says."),
    "failed": Kind(500, "The server has failed", "Report the request id."),
    "leaving": Kind(503, "The server is about to end", "Try another server, or later."),
    "refused": Kind(503, "The request was not taken", "Try later."),
    "unavailable": Kind(503, "What the request needs does not answer", "Send it again when Retry-After says."),
    "late": Kind(504, "The deadline has passed", "Ask for less, or allow more time."),
}


class Problem(Exception):
    """Raised to answer a request with a problem.

    Attributes:
      name: one of `KINDS`.
      detail: what is wrong this time.
      members: further members of the body.
      headers: headers of the response.
    """

    def __init__(self, name: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any):
        self.name, self.detail, self.members, self.headers = name, detail, members, dict(headers or {})
        super().__init__(detail)

    def inside(self, pointer: str) -> "Problem":
        """Return the problem of a larger document, in which this one's is at a pointer."""
        if isinstance(self.members.get("pointer"), str):
            self.members["pointer"] = pointer + self.members["pointer"]
        return self

    @property
    def status(self) -> int:
        """Return the HTTP status."""
        return KINDS[self.name].status

    def body(self, request_id: str) -> dict[str, Any]:
        """Return the problem as JSON."""
        kind = KINDS[self.name]
        told = {"type": f"/problems/{self.name}", "title": kind.title, "status": kind.status, "detail": self.detail}
        return {**told, **self.members, "request_id": request_id}


def problem_of(error: Exception, *, locate: Callable[[int], str] | None = None) -> Problem:
    """Return the problem that tells a client of an error.

    Args:
      error: the error; one that is not foreseen is told without any of its content.
      locate: returns the JSON pointer of an event of the request by its index.
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, InvalidRecords):
        return invalid(error.faults, detail=error.what)
    if isinstance(error, InputError):
        return _of_input(error, locate)
    if isinstance(error, Refusal):
        return _of_refusal(error)
    if isinstance(error, HTTPException):
        name = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "refused")
        return Problem(name, KINDS[name].means, headers=error.headers)
    return Problem("failed", "the server has failed to answer; the cause is in its log, under the request id")


def _of_input(error: InputError, locate: Callable[[int], str] | None) -> Problem:
    event = getattr(error, "event", None)
    told: dict[str, Any] = {
        "expected": _short(error.expected),
        "was": _short(error.was),
        "remedy": _short(error.remedy),
    }
    where = str(error.where)
    if isinstance(event, int):
        told |= {"event": event, "where": where, **({"pointer": locate(event)} if locate else {})}
        return Problem("invalid-event", error.what, **told)
    told["pointer" if where.startswith("/") and " " not in where else "where"] = where
    return Problem("invalid-request", error.what, **told)


def _of_refusal(error: Refusal) -> Problem:
    if isinstance(error, Busy):
        return Problem("busy", str(error), headers={"Retry-After": str(max(1, math.ceil(error.retry_after_s)))})
    kinds: dict[type[Refusal], str] = {
        Late: "late",
        Unknown: "unknown-session",
        Leaving: "leaving",
        Cancelled: "leaving",  # by the server: a client that cancels is not there to be told
    }
    name = next((name for of, name in kinds.items() if isinstance(error, of)), "refused")
    return Problem(name, str(error) or KINDS[name].title, headers=closing(name))


def closing(name: str) -> dict[str, str]:
    """Return the headers that go with a kind of problem in any case."""
    return {"Connection": "close"} if name == "leaving" else {}


def invalid(faults: Sequence[Fault], *, detail: str) -> Problem:
    """Return the problem of an invalid request with one or more faults."""
    first = faults[0]
    members: dict[str, Any] = {"pointer": first.pointer, "expected": _short(first.expected), "was": _short(first.was)}
    if len(faults) > 1:
        members["errors"] = [
            {"pointer": fault.pointer, "expected": _short(fault.expected), "was": _short(fault.was)} for fault in faults
        ]
    return Problem("invalid-request", detail, **members)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def response_of(problem: Problem, request_id: str) -> Response:
    """Return the response that tells of a problem."""
    body = json.dumps(problem.body(request_id)).encode()
    return Response(body, problem.status, headers=problem.headers, media_type=MEDIA_TYPE)
