"""The log of a server: one JSON object per line, of requests and of what has failed, without secrets.

All lines have `time`, `level` and `event`: "request" for one that has been answered, "message" for what the program
says.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Mapping
from typing import Any

KEY = re.compile(r"lob_[A-Za-z0-9_-]{20,}")  # a client's key
PASSWORD = re.compile(r"(?<=://)([^\s/:@'\"]*):[^\s'\"]*@")  # of a URL; too much rather than too little
BEARER = re.compile(r"(?i)(bearer\s+)[^\s'\",]+")
HIDDEN = "***"


def request_line(
    *, method: str, route: str, status: int, seconds: float, request_id: str, key: str, at_s: float | None = None
) -> str:
    """Return the line of a request that has been answered.

    Args:
      method: its method; WEBSOCKET for a socket.
      route: the template of its path.
      status: of the response; 499 if the client had left.
      seconds: how long it took.
      request_id: its id.
      key: the name of the key; empty for none.
      at_s: UNIX seconds; None for now.
    """
    level = "ERROR" if status >= 500 else "INFO"
    own = {"method": method, "route": route, "status": status, "seconds": round(seconds, 6)}
    return _line(level, "request", at_s, {**own, "request_id": request_id, "key": key})


def message_line(record: logging.LogRecord) -> str:
    """Return the line of a log record, with its trace and the id of the request that it is about, if any."""
    trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else None
    told = {"message": record.getMessage(), "logger": record.name, "trace": trace}
    return _line(record.levelname, "message", record.created, {**told, "request_id": record.__dict__.get("request_id")})


def _line(level: str, event: str, at_s: float | None, fields: Mapping[str, Any]) -> str:
    seconds = time.time() if at_s is None else at_s
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds * 1000) % 1000:03d}Z"
    known = {name: without_secrets(value) for name, value in fields.items() if value is not None}
    return json.dumps({"time": when, "level": level, "event": event, **known})


def without_secrets(value: Any) -> Any:
    """Return a text without keys, and without passwords in URLs; what is no text stays."""
    if not isinstance(value, str):
        return value
    return PASSWORD.sub(rf"\1:{HIDDEN}@", BEARER.sub(rf"\1{HIDDEN}", KEY.sub(HIDDEN, value)))


class Lines(logging.Handler):
    """A handler that writes lines of JSON to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        write_line(message_line(record))


def write_line(line: str) -> None:
    """Write a line of the log to standard error."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
