"""`LOBMetrics`: every metric of next-token predictions, accumulated over scored tokens."""

from typing import Any

import numpy as np

from lob_jax.errors import InputError
from lob_jax.evaluation.metric import METRICS, Scored
from lob_jax.tokens import vocabulary as v


class LOBMetrics:
    """Accumulate the metrics of `METRICS`; `compute` may be called at any time.

    An event is counted at its head, so the scored tokens must form complete events.

    Args:
      time_digits: significant digits that the tokens keep of a gap; None if they keep every ns.
    """

    def __init__(self, *, time_digits: int | None = None):
        self.time_digits = time_digits
        self._metrics = dict(METRICS.items())
        self.reset()

    def reset(self) -> None:
        """Reset all counts to zero."""
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
          predictions: the likeliest token at each position.
          targets: the token that came.
          nll: nats, minus the log probability of the target.
          field: the field of the target, from `vocabulary.field_of` of the complete sequence.
          scored: bool, the positions to count; None counts all.
        """
        shapes = {np.shape(values) for values in (predictions, targets, nll, field)}
        if len(shapes) > 1:
            raise InputError(
                "arrays of predictions differ in shape",
                where="LOBMetrics.update",
                expected="one shape",
                was=sorted(shapes),
                remedy="pass one value per token in every array",
            )
        keep = np.ones(np.shape(targets), bool) if scored is None else np.asarray(scored, bool)
        predictions, targets, field = (np.asarray(x)[keep].astype(np.int64) for x in (predictions, targets, field))
        kept = Scored(predictions, targets, np.asarray(nll, np.float64)[keep], field, self.time_digits)
        self.events += int((field == v.FIELD_HEAD).sum())
        self.tokens += len(field)
        for name, metric in self._metrics.items():
            self._sums[name] = self._sums[name] + metric.count(kept).sum(0)

    def compute(self) -> dict[str, Any]:
        """Return the numbers of scored events and tokens and the figures of all metrics, as plain JSON values.

        `loss` is in nats per token, `bits_per_event` and all of `bits_by_part` are in bits per event;
        `exact_bits_per_event` adds the bits that would encode the exact ns within each rounded gap.

        Raises:
          InputError: no event was scored.
        """
        if not self.events:
            raise InputError(
                "no event was scored",
                where="LOBMetrics.compute",
                expected="at least one scored event",
                was=f"{self.tokens} scored tokens, none of them a head",
                remedy="evaluate on a split with events after the lead of its records",
            )
        figures: dict[str, Any] = {"events": self.events, "tokens": self.tokens}
        for name, metric in self._metrics.items():
            figures |= metric.figures(self._sums[name], self.events, self.tokens)
        return figures
