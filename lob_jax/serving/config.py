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
      infer_values: numbers that an answer of `Infer` may hold.
      rate_per_s: requests of one key per second, in the long run.
      burst: requests of one key at once.
      streams: requests and sockets of one key that may be open at the same time.
      body_s: time in which a body has to arrive.
      header_s: time in which the head of a request has to arrive.
      header_bytes: size of the head of a request.
      keep_alive_s: time after which a connection without a request is closed.
      stall_s: time after which a stream whose reader takes nothing is given up.
      quiet_s: time after which a stream that has nothing to say sends a comment.
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
    infer_values: int = 4_000_000
    rate_per_s: float = 200.0
    burst: int = 400
    streams: int = 32
    body_s: float = 30.0
    header_s: float = 10.0
    header_bytes: int = 1 << 16
    keep_alive_s: float = 30.0
    stall_s: float = 60.0
    quiet_s: float = 15.0


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
    """

    rows: int = 32
    queue: int = 64
    sessions: int = 64
    sessions_per_owner: int = 16
    idle_s: float = 900.0
    precision: str = ""
    threads: int = 0
