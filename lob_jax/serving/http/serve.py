"""Run the API: listen, end in order on a signal, and leave the engines in order."""

import asyncio
import contextlib
import pathlib
import socket
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING

import uvicorn
import uvloop
from starlette.types import ASGIApp

from lob_jax.errors import InputError
from lob_jax.serving.config import Limits, ServeConfig
from lob_jax.serving.connections import SEND_BYTES, Guarded, GuardedSocket
from lob_jax.serving.http.app import Route, build_app
from lob_jax.serving.http.keys import Keys, KeysFile, OneKey
from lob_jax.serving.http.service import Service, log
from lob_jax.serving.monitoring.lines import Lines, write_line
from lob_jax.serving.requests import Server
from lob_jax.signals import listening

if TYPE_CHECKING:
    from lob_jax.serving.experiments.running import Experiments

POLL_S = 0.1  # between two looks for a signal
LAST_S = 3.0  # for cancelled requests to say so, and for connections to close


class Listening:
    """A server that runs in a thread of its own, so that the main thread is free for signals.

    Attributes:
      url: where it listens.
    """

    def __init__(self, app: ASGIApp, service: Service, *, host: str, port: int):
        """Listen, and begin to answer.

        Raises:
          InputError: the address cannot be listened at.
        """
        self._service, self._socket = service, listening_socket(host, port)
        self.url = f"http://{'[' + host + ']' if ':' in host else host}:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(_settings(app, service.limits))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()
        self._started.wait()

    @property
    def alive(self) -> bool:
        """Return whether it still answers."""
        return self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Wait until it has ended, or so long."""
        self._thread.join(seconds)

    def drain(self, seconds: float) -> None:
        """Take no more requests, let those on their way end for so long, cancel what is left, and end."""
        if self._loop is not None and self.alive:
            asyncio.run_coroutine_threadsafe(self._drained(seconds), self._loop)
        self._thread.join(seconds + 2 * LAST_S)

    async def _drained(self, seconds: float) -> None:
        service = self._service
        service.leaving = True
        await _until(lambda: not service.answers, seconds)
        for answer in list(service.answers):
            answer.cancel()
        await _until(lambda: not service.answers, LAST_S)
        self._server.should_exit = True

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._started.set()
        watching = asyncio.create_task(self._service.watch.run())
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            watching.cancel()


async def _until(holds: Callable[[], bool], seconds: float) -> None:
    limit = time.monotonic() + seconds
    while not holds() and time.monotonic() < limit:
        await asyncio.sleep(0.02)


def _settings(app: ASGIApp, limits: Limits) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=type("Guarded", (Guarded,), {"limits": limits}),
        ws=type("GuardedSocket", (GuardedSocket,), {"limits": limits}),
        ws_max_size=limits.body_bytes,
        ws_per_message_deflate=False,  # a few bytes may inflate to gigabytes
        lifespan="off",
        log_config=None,
        log_level="critical",  # what a route has not foreseen is logged at the gate
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=int(limits.keep_alive_s),
        timeout_graceful_shutdown=int(LAST_S),
    )


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
      InputError: it cannot, for example because another program does.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        found = socket.create_server((host, port), family=family, backlog=1024)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
        return found
    except OSError as error:
        raise InputError(
            "the server cannot listen at this address",
            where="config.serve.host, config.serve.port",
            expected="an address of this machine, and a port that is free",
            was=f"{host}:{port}: {error.strerror}",
            remedy="choose another port, or 0 for any",
        ) from error


def keys_of(settings: ServeConfig) -> tuple[Keys, str]:
    """Return who may use a server, and its key if it has made one for its life; empty if there is a file of keys.

    Raises:
      InputError: the file of keys cannot be read.
    """
    if settings.keys_file:
        return KeysFile(pathlib.Path(settings.keys_file).expanduser()), ""
    made = OneKey()
    return made, made.key


def serve(
    servers: Mapping[str, Server],
    settings: ServeConfig,
    *,
    keys: Keys,
    on_listening: Callable[[str], None],
    experiments: "Experiments | None" = None,
) -> None:
    """Answer requests until a signal comes, and end in order.

    After the first SIGTERM or SIGINT no more requests are taken; those at work may go on for `drain_s`, and are then
    cancelled. The process ends with status 0. A second signal ends a program at once, with status 128 and its number.

    Args:
      servers: the engines, by the name of their model; they are drained at the end.
      settings: where to listen, and what may be asked.
      keys: who may ask.
      on_listening: called with the URL once it listens.
      experiments: those of the database; None for none.

    Raises:
      InputError: the address cannot be listened at.
    """
    service = Service(servers, keys, settings.limits, monitor_share=settings.monitor_share)
    more = () if experiments is None else _routes_of(service, experiments, settings)
    app = build_app(service, access=write_line if settings.access_log else None, more=more)
    meanwhile = f"taking no more requests; those at work may go on for {settings.drain_s:g} s"
    with _logged(), listening() as listener:
        running = Listening(app, service, host=settings.host, port=settings.port)
        on_listening(running.url)
        try:
            with listener.deferred(None, grace_s=settings.drain_s, meanwhile=meanwhile):
                while listener.told is None:
                    running.wait(POLL_S)
                    if not running.alive:
                        raise RuntimeError("the HTTP server has ended by itself")
                running.drain(settings.drain_s)
        finally:
            running.drain(0.0)
            for server in servers.values():
                server.drain(LAST_S)


def _routes_of(service: Service, experiments: "Experiments", settings: ServeConfig) -> Sequence[Route]:
    from lob_jax.serving.http.trials.routes import with_experiments  # nothing of it is there without a database

    return with_experiments(service, experiments, operators=settings.operators)


@contextlib.contextmanager
def _logged() -> Generator[None]:
    """Write what has failed to standard error, as a line of JSON with its trace."""
    handler = Lines()
    before = log.propagate
    log.addHandler(handler)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = before
