"""Metrics in the format of Prometheus: requests by route, events, and what the engines are doing."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lob_jax.serving.requests import Server

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = ("GET", "POST", "DELETE", "WEBSOCKET")
SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0)


class Metrics:
    """The metrics of one server; labels are names of routes, methods, statuses and models, of which there are few."""

    def __init__(self, servers: Mapping[str, Server]):
        self._registry = CollectorRegistry()
        self._registry.register(_Engines(servers))
        labels, kept = ("route", "method"), self._registry
        told = "Requests that have been answered; status 499 if the client had left."
        self._requests = Counter("lob_http_requests", told, (*labels, "status"), registry=kept)
        told = "Time from a request's head to the end of its response."
        self._seconds = Histogram("lob_http_request_duration_seconds", told, labels, registry=kept, buckets=SECONDS)
        told = "Time until the first event of a streamed answer."
        self._first = Histogram("lob_first_event_seconds", told, registry=kept, buckets=SECONDS)
        self._running = Gauge("lob_http_requests_in_progress", "Requests that are being answered.", registry=kept)

    def began(self) -> None:
        """Count a request that begins."""
        self._running.inc()

    def ended(self, *, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request that has ended.

        Args:
          route: the template of its path.
          method: its method.
          status: of its response.
          seconds: how long it took.
        """
        known = method if method in METHODS else "OTHER"
        self._running.dec()
        self._requests.labels(route, known, str(status)).inc()
        self._seconds.labels(route, known).observe(seconds)

    def first_event(self, seconds: float) -> None:
        """Note how long the first event of a stream took."""
        self._first.observe(seconds)

    def text(self) -> bytes:
        """Return all metrics as text."""
        return generate_latest(self._registry)


class _Engines(Collector):
    """What engines say that they are doing, at the time at which it is asked."""

    def __init__(self, servers: Mapping[str, Server]):
        self._servers = servers

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        loads = {name: server.load() for name, server in self._servers.items()}
        gauges = {
            "lob_rows": ("Paths at work.", "rows"),
            "lob_rows_limit": ("Paths that there is room for.", "most_rows"),
            "lob_queued_requests": ("Requests that wait.", "queued"),
            "lob_sessions": ("Open sessions.", "sessions"),
        }
        for name, (told, field) in gauges.items():
            gauge = GaugeMetricFamily(name, told, labels=("model",))
            for model, load in loads.items():
                gauge.add_metric((model,), getattr(load, field))
            yield gauge
        counters = {"lob_tokens": "Tokens sampled.", "lob_events": "Events delivered."}
        for name, told in counters.items():
            counter = CounterMetricFamily(name, told, labels=("model",))
            for model, load in loads.items():
                counter.add_metric((model,), getattr(load, name.removeprefix("lob_")))
            yield counter
        ready = GaugeMetricFamily("lob_ready", "Whether the model takes requests.", labels=("model",))
        for model, server in self._servers.items():
            ready.add_metric((model,), float(server.ready))
        yield ready
