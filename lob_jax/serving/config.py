"""The settings of a server."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a request may ask for.

    Attributes:
      body_bytes: size of a body.
      json_depth: nesting of JSON.
      history_events: events of a history, or of one addition to a session.
      book_orders: orders of a starting book.
      paths: paths of a request.
      events: events of a path.
      path_events: paths times events.
      infer_tokens: rows times tokens of `Infer`.
      deadline_s: the longest deadline, and that of requests that name none.
    """

    body_bytes: int = 1 << 20
    json_depth: int = 16
    history_events: int = 5_000
    book_orders: int = 20_000
    paths: int = 256
    events: int = 1_000
    path_events: int = 20_000
    infer_tokens: int = 8_192
    deadline_s: float = 60.0


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

    rows: int = 32
    queue: int = 64
    sessions: int = 64
    sessions_per_owner: int = 16
    idle_s: float = 900.0
    precision: str = ""
    threads: int = 0
    deadline_s: float = 60.0
