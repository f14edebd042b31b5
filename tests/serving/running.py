"""The API on a real socket in this process, in front of a stub of an engine."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from lob_jax.serving.config import Limits
from lob_jax.serving.experiments.running import Experiments
from lob_jax.serving.http.app import build_app
from lob_jax.serving.http.keys import OneKey
from lob_jax.serving.http.serve import Listening
from lob_jax.serving.http.service import Service
from lob_jax.serving.http.trials.routes import with_experiments
from lob_jax.serving.stub import StubServer
from tests.serving.settings import limits

LIMITS = limits()


@dataclasses.dataclass(frozen=True)
class Running:
    """A server.

    Attributes:
      url: where it listens.
      key: a key that it takes.
      engine: the stub behind it.
    """

    url: str
    key: str
    engine: StubServer


@contextlib.contextmanager
def running(
    allowed: Limits = LIMITS,
    *,
    access: Callable[[str], None] | None = None,
    experiments: Experiments | None = None,
    **stub: Any,
) -> Iterator[Running]:
    """Run a server; what is left at the end is cancelled at once. Its key may do everything with experiments."""
    engine, keys = StubServer(**stub), OneKey()
    service = Service({"stub": engine}, keys, allowed)
    more = with_experiments(service, experiments, operators=("local",)) if experiments else ()
    listening = Listening(build_app(service, access=access, more=more), service, host="127.0.0.1", port=0)
    try:
        yield Running(listening.url, keys.key, engine)
    finally:
        listening.drain(0.0)
        engine.drain(0.0)
