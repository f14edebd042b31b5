"""What clients send and how they read what comes back, without sending anything: `client` does that.

Nothing here, nor in `client`, imports JAX or NumPy. The bodies of requests and answers are those of the API's own
description, GET /openapi.json.
"""

import dataclasses
import json
import secrets
from collections.abc import Generator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

AFFINITY = "X-Session-Affinity"  # the header by which a balancer sends all requests of a session to one process
WAITING = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)  # the server did nothing: worth another try
EVENT, DONE, ERROR = "event", "done", "error"  # the names of a stream's events

Record = Mapping[str, Any]
Answer = dict[str, Any]


class Problem(Exception):
    """Raised where a server refuses a request: problem details as in RFC 9457.

    Attributes:
      status: the HTTP status.
      type: the kind of problem, such as "/problems/invalid-event".
      title: the kind in words.
      detail: what is wrong this time.
      pointer: the place in the request's body, as a JSON pointer; empty if there is none.
      retry_after_s: when it may be worth trying again; None if the server does not say.
      members: the complete body of the answer; empty if it was no problem details, as from a balancer.
    """

    def __init__(self, status: int, members: Mapping[str, Any], *, retry_after_s: float | None = None):
        self.status, self.members, self.retry_after_s = status, dict(members), retry_after_s
        self.type: str = members.get("type", "about:blank")
        self.title: str = members.get("title", httpx.codes.get_reason_phrase(status))
        self.detail: str = members.get("detail", "")
        self.pointer: str = members.get("pointer", "")
        super().__init__(": ".join(filter(None, (f"{status} {self.title}", self.pointer, self.detail))))


class Interrupted(Exception):
    """Raised where a stream ends before its last event."""


@dataclasses.dataclass(frozen=True)
class Call:
    """A request.

    Attributes:
      method: the HTTP method.
      path: the path, from the server's root.
      body: the JSON body; None for none.
      affinity: the value of the header that a balancer reads; empty for none.
      again: whether it changes nothing on the server, so that it may be sent again.
    """

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    affinity: str = ""
    again: bool = True

    def headers(self, key: str) -> dict[str, str]:
        """Return the headers, for a key."""
        found = {AFFINITY: self.affinity} if self.affinity else {}
        return {**found, **({"Authorization": f"Bearer {key}"} if key else {})}


@dataclasses.dataclass(frozen=True)
class Retries:
    """How often a call is sent again where the server says when to.

    Attributes:
      most: how often at most.
      longest_s: a longer wait is not waited.
    """

    most: int = 3
    longest_s: float = 30.0


RETRIES = Retries()


def exchange(call: Call, retries: Retries) -> Generator[Call | float, httpx.Response | None, httpx.Response]:
    """Send a call until it is answered: yield what to send, or how many seconds to wait, and return the answer.

    Raises:
      Problem: the server refuses it.
    """
    left = retries.most if call.again else 0
    while True:
        response = yield call
        assert response is not None
        if response.is_success:
            return response
        problem = problem_of(response)
        wait_s = problem.retry_after_s
        if left == 0 or problem.status not in WAITING or wait_s is None or wait_s > retries.longest_s:
            raise problem
        left -= 1
        yield wait_s


def problem_of(response: httpx.Response) -> Problem:
    """Return the problem of an answer whose body has been read."""
    text = response.headers.get("Retry-After", "")
    seconds = float(text) if text.isascii() and text.isdigit() else None
    try:
        members = response.json()
    except ValueError:  # a balancer's page
        members = {}
    return Problem(response.status_code, members if isinstance(members, dict) else {}, retry_after_s=seconds)


class FrameReader:
    """Read server-sent events from lines."""

    def __init__(self) -> None:
        self._name, self._data = "message", ""

    def event(self, line: str) -> Answer | None:
        """Take a line; return the data of an event that it completes, with the event's name under "event".

        Raises:
          Problem: it completes the event of an error.
        """
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line:
            self._name = value if field == "event" else self._name
            self._data += value if field == "data" else ""
            return None
        name, data = self._name, self._data
        self._name, self._data = "message", ""
        if not data:
            return None
        told = json.loads(data)
        if name == ERROR:
            raise Problem(told.get("status", 500), told)
        return {EVENT: name, **told}


def finished(frame: Answer) -> bool:
    """Return whether an event of a stream is its last."""
    return frame[EVENT] == DONE


def new_affinity() -> str:
    """Return a value of the header for a new session."""
    return secrets.token_hex(8)


def history(opening: Record, events: Sequence[Record] = ()) -> Answer:
    """Return the market of a request: a starting book, and what has happened since."""
    return {"opening": opening, "events": list(events)}


def given(**fields: Any) -> Answer:
    """Return the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def session_path(session: str, rest: str = "") -> str:
    """Return the path of a session."""
    return f"/v1/sessions/{quote(session, safe='')}{rest}"
