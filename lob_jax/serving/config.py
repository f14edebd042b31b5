"""The settings of a server; there are no defaults, which are those of configs/base.py."""

import dataclasses
import ipaddress
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lob_jax.errors import InputError
from lob_jax.export.config import PRECISIONS

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)
BUNDLE = "bundle"  # the usual name of a bundle's folder, which says less than that of the run around it
MOST_PORT = 65_535


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a request may ask for, and what a client may do.

    Attributes:
      body_bytes: size of a body, and of a message in a socket.
      json_depth: nesting of JSON.
      history_events: events of a history, or of one addition to a session.
      book_orders: orders of a starting book.
      paths: paths of a request.
      events: events of a path.
      path_events: paths times events.
      infer_tokens: rows times tokens of `Infer`.
      infer_values: numbers that an answer of `Infer` may hold.
      deadline_s: the longest deadline, and that of requests that name none.
      rate_per_s: requests of one key per second, in the long run.
      burst: requests of one key at once.
      streams: requests and sockets of one key that may be open at the same time.
      connections: connections that may be open; further ones are closed at once.
      body_s: time in which a body has to arrive.
      header_s: time in which the head of a request has to arrive.
      header_bytes: size of the head of a request.
      keep_alive_s: time after which a connection without a request is closed.
      stall_s: time after which a stream whose reader takes nothing is given up.
      quiet_s: time after which a stream that has nothing to say sends a comment.
    """

    body_bytes: int
    json_depth: int
    history_events: int
    book_orders: int
    paths: int
    events: int
    path_events: int
    infer_tokens: int
    infer_values: int
    deadline_s: float
    rate_per_s: float
    burst: int
    streams: int
    connections: int
    body_s: float
    header_s: float
    header_bytes: int
    keep_alive_s: float
    stall_s: float
    quiet_s: float


@dataclasses.dataclass(frozen=True)
class EngineConfig:
    """How an engine works.

    Attributes:
      rows: paths that are sampled together.
      queue: requests that may wait.
      sessions: sessions that may be open.
      sessions_per_owner: those of one owner.
      idle_s: seconds after which an unused session is closed.
      precision: of a bundle's weights; empty for the one that its card recommends.
      threads: of ONNX Runtime; 0 for one per core.
      deadline_s: the deadline of requests that name none.
    """

    rows: int
    queue: int
    sessions: int
    sessions_per_owner: int
    idle_s: float
    precision: str
    threads: int
    deadline_s: float


@dataclasses.dataclass(frozen=True)
class ServeConfig:
    """The section `serve` of a configuration.

    Attributes:
      bundle: folders of bundles, each "folder" or "name=folder"; none for the checkpoint of the run.
      host: the address to listen at; one that other machines can reach needs `keys_file`.
      port: the port; 0 for any that is free.
      keys_file: the file of keys; empty for one key that lives as long as the server.
      access_log: whether each request is written to standard error.
      database: the URL of the database of experiments, without a password; empty for no experiments.
      operators: the names of keys that may create experiments and decide about them over HTTP.
      drain_s: seconds for which requests at work may go on after a signal.
      monitor_share: share of what sessions follow that is scored in the background, for monitoring; 0 for none.
      engine: how the engines work.
      limits: what may be asked.

    Raises:
      InputError: a value is out of range.
    """

    bundle: tuple[str, ...]
    host: str
    port: int
    keys_file: str
    access_log: bool
    database: str
    operators: tuple[str, ...]
    drain_s: float
    monitor_share: float
    engine: EngineConfig
    limits: Limits

    def __post_init__(self) -> None:
        within = f"0 to {MOST_PORT}"
        _require(0 <= self.port <= MOST_PORT, "port", within, self.port, "8000 is usual; 0 is any that is free")
        _require(self.drain_s >= 0, "drain_s", "0 or more", self.drain_s, "raise it")
        is_share = 0 <= self.monitor_share <= 1
        _require(is_share, "monitor_share", "0 to 1", self.monitor_share, "0.1 scores a tenth; 0 switches it off")
        _require(
            bool(self.keys_file) or is_loopback(self.host),
            "host",
            "an address that only this machine can reach, such as 127.0.0.1, since config.serve.keys_file is empty",
            self.host,
            "make a file of keys: python -m lob_jax.serving.http.keys add --file FILE NAME",
        )
        _check_database(self.database)
        for name in self.operators:
            _require(
                bool(NAME.fullmatch(name)), "operators", "names of keys, by commas", name, "name a key of the file"
            )
        precision = self.engine.precision
        choices = (*PRECISIONS, "")
        _require(precision in choices, "precision", " | ".join(PRECISIONS), precision, "empty takes the card's choice")
        zero = {"engine.threads", "engine.queue"}
        for part in ("engine", "limits"):
            for name, value in dataclasses.asdict(getattr(self, part)).items():
                least = 0 if f"{part}.{name}" in zero else 1
                holds = isinstance(value, str) or value >= least or (isinstance(value, float) and value > 0)
                _require(holds, KEYS.get(name, name), f"{least} or more", value, "raise it")
        models(self.bundle)


KEYS = {"sessions_per_owner": "sessions_per_key"}  # keys of the section that differ from the names of fields
OWN = ("host", "port", "keys_file", "access_log", "database", "drain_s", "monitor_share")  # keys that are in no part


def serve_config(section: Mapping[str, Any]) -> ServeConfig:
    """Return the settings of the section `serve`."""
    own: dict[str, Any] = {name: section[name] for name in OWN}
    parts = {"engine": _part(section, EngineConfig), "limits": _part(section, Limits)}
    lists: dict[str, Any] = {name: tuple(section[name]) for name in ("bundle", "operators")}
    return ServeConfig(**lists, **own, **parts)


def _part(section: Mapping[str, Any], of: Any) -> Any:
    fields = dataclasses.fields(of)
    return of(**{field.name: section[KEYS.get(field.name, field.name)] for field in fields})


def models(bundles: Sequence[str]) -> dict[str, pathlib.Path]:
    """Return the folders of bundles, each "folder" or "name=folder", by the names under which they are served.

    A folder's own name is its model's, or that of the folder around it if it is called bundle.

    Raises:
      InputError: a name is no name, or two bundles have the same.
    """
    found: dict[str, pathlib.Path] = {}
    for text in bundles:
        before, sign, after = text.partition("=")
        folder = pathlib.Path(after if sign else before).expanduser()
        whole = folder.absolute()
        name = before if sign else whole.parent.name if whole.name == BUNDLE else whole.name
        is_name = bool(NAME.fullmatch(name))
        _require(is_name, "bundle", "names of letters, digits, _, - and .", name, "name it: name=folder")
        _require(name not in found, "bundle", "names that differ", f"{name}, twice", "name them: name=folder")
        found[name] = folder
    return found


def _check_database(url: str) -> None:
    """Check that the URL of a database has no password: command lines and configurations are seen and stored."""
    scheme, _, rest = url.partition("://")
    secret = not scheme.startswith("sqlite") and (":" in rest.rpartition("@")[0] or "password=" in rest)
    _require(
        not secret,
        "database",
        "a URL without a password, such as postgresql://USER@HOST/NAME",
        "a URL with one, not shown here",
        "leave it out, and set PGPASSWORD in the environment, or write it into ~/.pgpass",
    )


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _require(holds: bool, key: str, expected: object, was: object, remedy: str) -> None:
    if not holds:
        raise InputError(
            "the configuration is invalid", where=f"config.serve.{key}", expected=expected, was=was, remedy=remedy
        )
