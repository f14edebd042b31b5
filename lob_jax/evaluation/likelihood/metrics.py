"""`LOBMetrics`: loss, accuracies and bits an event, accumulated over scored tokens."""

import math

import numpy as np

from lob_jax.errors import InputError
from lob_jax.tokens import vocabulary as v

PARTS: dict[str, tuple[int, ...]] = {
    "head": (v.FIELD_HEAD, v.FIELD_HEAD_DIGITS),
    "size": (v.FIELD_SIZE, v.FIELD_SIZE_DIGITS),
    "gap": (v.FIELD_GAP,),
    "gap_digits": (v.FIELD_GAP_DIGITS,),
}
N_FIELDS = v.FIELD_GAP_DIGITS + 1
N_CLASSES = v.VOCAB_SIZE // v.CLASS_SIZE


class LOBMetrics:
    """Accumulate the metrics of next-token predictions; `compute` may be called at any time.

    An event is counted at its head, so the scored tokens have to be whole events.

    Args:
      time_digits: significant digits that the tokens keep of a gap, None if they keep every ns.
    """

    def __init__(self, *, time_digits: int | None = None):
        self.time_digits = time_digits
        self.reset()

    def reset(self) -> None:
        """Forget everything that was accumulated."""
        self.nll_by_field = np.zeros(N_FIELDS)
        self.tokens_by_field = np.zeros(N_FIELDS, np.int64)
        self.heads_by_class = np.zeros(N_CLASSES, np.int64)
        self.correct = self.event_correct = self.head_correct = 0
        self.rounding_bits = 0.0

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
        nll = np.asarray(nll, np.float64)[keep]
        same_class = predictions // v.CLASS_SIZE == targets // v.CLASS_SIZE
        head = field == v.FIELD_HEAD
        self.nll_by_field += np.bincount(field, weights=nll, minlength=N_FIELDS)
        self.tokens_by_field += np.bincount(field, minlength=N_FIELDS)
        self.heads_by_class += np.bincount(targets[head] // v.CLASS_SIZE, minlength=N_CLASSES)
        self.correct += int((predictions == targets).sum())
        self.event_correct += int(same_class.sum())
        self.head_correct += int(same_class[head].sum())
        self.rounding_bits += float(rounding_bits(targets, time_digits=self.time_digits).sum())

    def compute(self) -> dict[str, float | int | dict[str, float]]:
        """Return the metrics, plain values fit for JSON.

        `loss` is in nats a token, `bits_per_event` and all under `bits_by_part` in bits an event;
        `exact_bits_per_event` adds what telling the ns inside the cell of a rounded gap would cost.

        Raises:
          InputError: no event was scored.
        """
        events, tokens = int(self.heads_by_class.sum()), int(self.tokens_by_field.sum())
        if not events:
            raise InputError(
                "no event was scored",
                where="LOBMetrics.compute",
                expected="at least one scored event",
                was=f"{tokens} scored tokens, none of them a head",
                remedy="evaluate on a split that holds events beyond its context",
            )
        bits_by_field = self.nll_by_field / math.log(2) / events
        parts = {name: float(bits_by_field[list(fields)].sum()) for name, fields in PARTS.items()}
        bits, loss = float(bits_by_field.sum()), float(self.nll_by_field.sum()) / tokens
        rounding = self.rounding_bits / events
        return {
            "events": events,
            "tokens": tokens,
            "loss": loss,
            "perplexity": math.exp(loss) if loss < 700 else math.inf,
            "token_accuracy": self.correct / tokens,
            "event_accuracy": self.event_correct / tokens,
            "head_accuracy": self.head_correct / events,
            "head_majority": float(self.heads_by_class.max()) / events,
            "bits_per_event": bits,
            "bits_per_event_without_gap_digits": bits - parts["gap_digits"],
            "bits_by_part": parts,
            "rounding_bits_per_event": rounding,
            "exact_bits_per_event": bits + rounding,
        }


def rounding_bits(tokens: np.ndarray, *, time_digits: int | None) -> np.ndarray:
    """Return log2 of the cell width that each token's gap was rounded to; 0 for every other token.

    A gap whose lead says that e more digits follow is coded with min(e, time_digits - 2) of them: each
    code then stands for 10^(e - (time_digits - 2)) gaps, and naming one of them costs that many log10s.
    """
    if time_digits is None:
        return np.zeros(np.shape(tokens))
    code = np.asarray(tokens, np.int64) - v.TIME
    digits = np.where((code >= 10) & (code < v.CLASS_SIZE), (code - 10) // 90, 0)
    return np.maximum(digits - (time_digits - 2), 0) * math.log2(10)
