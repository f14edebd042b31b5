"""The HTTP API in front of a stub of an engine, in a process of its own: what is left to measure is the API itself."""

import dataclasses
import os
from typing import Any

from lob_jax.bench.http_load import Target
from lob_jax.bench.processes import Resident
from lob_jax.serving import requests
from lob_jax.serving.config import Limits
from lob_jax.serving.http.app import build_app
from lob_jax.serving.http.keys import OneKey
from lob_jax.serving.http.serve import Listening
from lob_jax.serving.http.service import Service
from lob_jax.serving.requests import Deliver
from lob_jax.serving.stub import StubJob, StubServer


class ForgetfulStub(StubServer):
    """A stub that forgets requests that are done, so that its memory does not grow."""

    def submit(self, request: requests.Request, deliver: Deliver, *, deadline_s: float | None = None) -> StubJob:
        """Begin to answer a request."""
        self.jobs = [job for job in self.jobs if not job.done.is_set()]
        return super().submit(request, deliver, deadline_s=deadline_s)


class StubService:
    """A server of this process."""

    def __init__(self, limits: Limits, stub: dict[str, Any]):
        """Begin to listen on a free port of this machine.

        Args:
          limits: of the API.
          stub: arguments of `StubServer`.
        """
        self._keys = OneKey()
        self._engine = ForgetfulStub(**stub)
        service = Service({"stub": self._engine}, self._keys, limits)
        self._listening = Listening(build_app(service), service, host="127.0.0.1", port=0)

    def target(self) -> Target:
        """Return where it listens."""
        host, _, port = self._listening.url.removeprefix("http://").rpartition(":")
        return Target(host, int(port), self._keys.key)

    def pid(self) -> int:
        """Return the id of the process."""
        return os.getpid()

    def end(self) -> None:
        """Cancel what is at work, and stop listening."""
        self._listening.drain(0.0)
        self._engine.drain(0.0)


@dataclasses.dataclass
class ElsewhereStub:
    """A `StubService` in a process of its own, as a context manager.

    Attributes:
      limits: of the API.
      stub: arguments of `StubServer`.
    """

    limits: Limits
    stub: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __enter__(self) -> tuple[Target, int]:
        """Return where it listens, and the id of its process."""
        self._resident = Resident(StubService, self.limits, self.stub)
        return self._resident.call("target"), self._resident.call("pid")

    def __exit__(self, *_: object) -> None:
        self._resident.call("end")
        self._resident.close()
