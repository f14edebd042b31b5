"""Servers on real sockets, as in `tests/serving/http`."""

from tests.serving.http.conftest import server, start

__all__ = ["server", "start"]
