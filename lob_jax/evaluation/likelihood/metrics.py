"""`LOBMetrics`: every metric of next-token predictions, accumulated over scored tokens."""

from typing import Any

import numpy as np

from lob_jax.errors import InputError
from lob_jax.evaluation.metric import METRICS, Scored
from lob_jax.tokens import vocabulary as v


class LOBMetrics:
    """Accumulate the metrics of `METRICS`; `compute` may be called at any time.

    An event is counted at its head, so the scored tokens have to be whole events.

    Args:
      time_digits: significant digits that the tokens keep of a gap, None if they keep every ns.
    """

    def __init__(self, *, time_digits: int | None = None):
        self.time_digits = time_digits
        self._metrics = dict(METRICS.items())
        self.reset()

    def reset(self) -> None:
        """Forget everything that was accumulated."""
        self.events = self.tokens = 0
        self._sums: dict[str, Any] = dict.fromkeys(self._metrics, 0)

    def update(
        self,
        predictions: np.ndarray,
        targets: np.ndarray,
        *,
        nll: np.ndarray,
        field: np.ndarray,
        scored: np.ndarray | None = None,
    ) -> None:
        """Add predictions; all arrays have one shape.

        Args:
          predictions: the likeliest token at each place.
          targets: the token that came.
          nll: nats, minus the log probability that the target had.
          field: the target's field, as `vocabulary.field_of` gives it for the whole sequence.
          scored: bool, which places count; None counts all.
        """
        shapes = {np.shape(values) for values in (predictions, targets, nll, field)}
        if len(shapes) > 1:
            raise InputError(
                "arrays of predictions differ in shape",
                where="LOBMetrics.update",
                expected="one shape",
                was=sorted(shapes),
                remedy="pass one value a token in every array",
            )
        keep = np.ones(np.shape(targets), bool) if scored is None else np.asarray(scored, bool)
        predictions, targets, field = (np.asarray(x)[keep].astype(np.int64) for x in (predictions, targets, field))
        kept = Scored(predictions, targets, np.asarray(nll, np.float64)[keep], field, self.time_digits)
        self.events += int((field == v.FIELD_HEAD).sum())
        self.tokens += len(field)
        for name, metric in self._metrics.items():
            self._sums[name] = self._sums[name] + metric.count(kept)

    def compute(self) -> dict[str, Any]:
        """Return the figures of all metrics, plain values fit for JSON, behind the scored events and tokens.

        `loss` is in nats a token, `bits_per_event` and all under `bits_by_part` in bits an event;
        `exact_bits_per_event` adds what telling the ns inside the cell of a rounded gap would cost.

        Raises:
          InputError: no event was scored.
        """
        if not self.events:
            raise InputError(
                "no event was scored",
                where="LOBMetrics.compute",
                expected="at least one scored event",
                was=f"{self.tokens} scored tokens, none of them a head",
                remedy="evaluate on a split that holds events beyond its context",
            )
        figures: dict[str, Any] = {"events": self.events, "tokens": self.tokens}
        for name, metric in self._metrics.items():
            figures |= metric.figures(self._sums[name], self.events, self.tokens)
        return figures
