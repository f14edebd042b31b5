"""Metrics in the format of Prometheus: what is counted as it happens. What is read when it is asked: `exported`.

Labels are names of models, routes, methods, statuses, kinds of requests and problems, experiments and arms, of which
there are few: no sessions, keys, units or ids of requests.
"""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = ("GET", "POST", "DELETE", "WEBSOCKET")
SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0)
LAG_S = (0.01, 0.1, 1.0, 3.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
LATEST_OUTCOME_S = 86_400.0  # an outcome that is older than this is of a replay: its lag says nothing
LIVE_S = 3600.0  # a feed whose newest event is further from now is a replay: its lag says nothing
BITS = (0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0)
BLOCKS = ("scored", "skipped", "failed", "not_drawn")  # what becomes of blocks that were to be scored
SHARES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._of_http()
        self._of_engines()
        self._of_markets()
        self._of_experiments()

    def _of_http(self) -> None:
        labels, kept = ("route", "method"), self._registry
        told = "Requests that have been answered; status 499 if the client had left, or its own deadline has passed."
        self._requests = Counter("lob_http_requests", told, (*labels, "status"), registry=kept)
        told = "Time from a request's head to the end of its response."
        self._seconds = Histogram("lob_http_request_duration_seconds", told, labels, registry=kept, buckets=SECONDS)
        told = "Time until the first event of a streamed answer."
        self._first = Histogram("lob_first_event_seconds", told, registry=kept, buckets=SECONDS)
        self._running = Gauge("lob_http_requests_in_progress", "Requests that are being answered.", registry=kept)
        told = "Requests that were answered by a problem; of a socket, the last one."
        self._problems = Counter("lob_problems", told, ("problem",), registry=kept)

    def _of_engines(self) -> None:
        labels, kept = ("model", "kind"), self._registry
        told = "Requests to engines, by what became of them."
        self._asked = Counter("lob_engine_requests", told, (*labels, "outcome"), registry=kept)
        told = "Time of requests to engines, by part: waiting, and at work."
        self._parts = Histogram(
            "lob_engine_request_part_seconds", told, (*labels, "part"), registry=kept, buckets=SECONDS
        )
        told = "Entropy of the distribution over the next event's kind, side and price, predicted or scored."
        self._entropy = Histogram("lob_entropy_bits", told, ("model", "source"), registry=kept, buckets=BITS)
        told = "Share of probability that the book's mask removes from what the grammar allows."
        self._removed = Histogram("lob_mask_removed_ratio", told, ("model",), registry=kept, buckets=SHARES)

    def _of_markets(self) -> None:
        labels, kept = ("model",), self._registry
        self._fed = Counter("lob_fed_events", "Events that sessions were fed with.", labels, registry=kept)
        told = "Time from the newest event of a feed until it was followed, of live feeds."
        self._lag = Histogram("lob_feed_lag_seconds", told, labels, registry=kept, buckets=LAG_S)
        told = "Gaps that feeds have reported: control events feed_gap."
        self._gaps = Counter("lob_feed_gaps", told, labels, registry=kept)
        told = "Blocks of events that were to be scored for monitoring, by what became of them."
        self._blocks = Counter("lob_monitor_blocks", told, (*labels, "outcome"), registry=kept)

    def _of_experiments(self) -> None:
        labels, kept = ("experiment", "arm"), self._registry
        self._outcomes = Counter("lob_outcomes", "Outcomes that were recorded.", labels, registry=kept)
        told = "Events of outcomes that were recorded."
        self._outcome_events = Counter("lob_outcome_events", told, labels, registry=kept)
        told = "Time from the newest event of an outcome until it was recorded, of those up to a day old."
        self._outcome_lag = Histogram(
            "lob_outcome_lag_seconds", told, labels, registry=kept, buckets=(*LAG_S, 21_600.0, LATEST_OUTCOME_S)
        )

    def register(self, collector: Collector) -> None:
        """Add metrics that are read when they are asked for."""
        self._registry.register(collector)

    def begin(self, model: str) -> None:
        """Let the counters of a model begin at 0, so that their first increase is seen as one."""
        self.fed(model=model, events=0, gaps=0, lag_s=None)
        for outcome in BLOCKS:
            self._blocks.labels(model, outcome)

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

    def problem(self, name: str) -> None:
        """Count a problem, by its name: one of `lob_jax.serving.http.problems.KINDS`."""
        self._problems.labels(name).inc()

    def asked(self, *, model: str, kind: str, outcome: str, seconds: Mapping[str, float] | None = None) -> None:
        """Count a request to an engine.

        Args:
          model: the name of its model.
          kind: what was asked for.
          outcome: "answered", or why it was not.
          seconds: how long each part took, of one that was answered.
        """
        self._asked.labels(model, kind, outcome).inc()
        for part, taken in (seconds or {}).items():
            self._parts.labels(model, kind, part).observe(taken)

    def entropy(self, bits: float, *, model: str, source: str) -> None:
        """Note the entropy of a prediction; source is "predict", or "score" of events that had come."""
        self._entropy.labels(model, source).observe(bits)

    def removed(self, share: float, *, model: str) -> None:
        """Note which share of probability the mask of the book removed before an event."""
        self._removed.labels(model).observe(share)

    def fed(self, *, model: str, events: int, gaps: int, lag_s: float | None) -> None:
        """Count events that a session was fed with.

        Args:
          model: the name of its model.
          events: how many.
          gaps: how many of them report a gap of the feed.
          lag_s: how long ago the newest one was; observed if it is within an hour of now, at least as 0.
        """
        self._fed.labels(model).inc(events)
        self._gaps.labels(model).inc(gaps)
        if lag_s is not None and abs(lag_s) < LIVE_S:
            self._lag.labels(model).observe(max(lag_s, 0.0))

    def block(self, *, model: str, outcome: str) -> None:
        """Count a block of events that was to be scored; the outcome is one of `BLOCKS`."""
        self._blocks.labels(model, outcome).inc()

    def outcome(self, *, arm: str, lag_s: float, experiment: str = "", events: int = 0) -> None:
        """Count an outcome that was recorded, once.

        Args:
          arm: the arm of its unit.
          lag_s: from its newest event until now; observed if it is at most a day, at least as 0.
          experiment: the experiment.
          events: its number of events.
        """
        self._outcomes.labels(experiment, arm).inc()
        self._outcome_events.labels(experiment, arm).inc(events)
        if lag_s <= LATEST_OUTCOME_S:
            self._outcome_lag.labels(experiment, arm).observe(max(lag_s, 0.0))

    def text(self) -> bytes:
        """Return all metrics as text."""
        return generate_latest(self._registry)
