"""Bits per event: the code length of an event under a model, in total and by field."""

import math
from typing import Any

import numpy as np

from lob_jax.evaluation.metric import Metric, Row, Scored
from lob_jax.evaluation.metrics.loss import N_FIELDS, nll_by_field
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.tokenizer import Ability

PARTS: dict[str, tuple[int, ...]] = {
    "head": (v.FIELD_HEAD, v.FIELD_HEAD_DIGITS),
    "size": (v.FIELD_SIZE, v.FIELD_SIZE_DIGITS),
    "rank": (v.FIELD_RANK, v.FIELD_RANK_DIGITS),
    "gap": (v.FIELD_GAP,),
    "gap_digits": (v.FIELD_GAP_DIGITS,),
}


def rounding_bits(tokens: np.ndarray, *, time_digits: int | None) -> np.ndarray:
    """Return log2 of the cell width that each token's gap was rounded to; 0 for every other token.

    A gap with e digits after its lead is coded with min(e, time_digits - 2) of them, so each code stands for
    10^(e - (time_digits - 2)) gaps, and the exact gap costs (e - (time_digits - 2)) * log2(10) more bits.
    """
    if time_digits is None:
        return np.zeros(np.shape(tokens))
    code = np.asarray(tokens, np.int64) - v.TIME
    digits = np.where((code >= 10) & (code < v.CLASS_SIZE), (code - 10) // 90, 0)
    return np.maximum(digits - (time_digits - 2), 0) * math.log2(10)


def _count(scored: Scored) -> np.ndarray:
    """Return the nats by field, then the bits saved by rounding, float64 [n, N_FIELDS + 1]."""
    rounding = rounding_bits(scored.target, time_digits=scored.time_digits)
    return np.concatenate([nll_by_field(scored), rounding[:, None]], axis=1)


def _figures(sums: np.ndarray, events: int, tokens: int) -> dict[str, Any]:
    bits_by_field, rounding = sums[:N_FIELDS] / math.log(2) / events, float(sums[N_FIELDS]) / events
    parts = {name: float(bits_by_field[list(fields)].sum()) for name, fields in PARTS.items()}
    bits = float(bits_by_field.sum())
    return {
        "bits_per_event": bits,
        "bits_per_event_without_gap_digits": bits - parts["gap_digits"],
        "bits_by_part": parts,
        "rounding_bits_per_event": rounding,
        "exact_bits_per_event": bits + rounding,
    }


METRIC = Metric(
    count=_count,
    figures=_figures,
    needs={
        "bits_per_event_without_gap_digits": Ability.PARTS,
        "bits_by_part": Ability.PARTS,
        "exact_bits_per_event": Ability.EVENTS,
    },
    rows=(
        Row("bits_per_event", "bits per event", ".3f", "bits that the model needs to encode an event, on average"),
        Row(
            "bits_per_event_without_gap_digits",
            "  without gap digits",
            ".3f",
            "the same, without the digits of gaps",
        ),
        Row("head", "  head", ".3f", "of these, bits for kind, side and price"),
        Row("size", "  size", ".3f", "bits for the size"),
        Row("rank", "  rank", ".3f", "bits for which of several orders a removal takes from, if tokens have ranks"),
        Row(
            "gap",
            "  leading gap",
            ".3f",
            "bits for the leading two digits of the time since the previous event, and for the number of digits",
        ),
        Row("gap_digits", "  gap digits", ".3f", "bits for the digits that follow, which are nearly noise"),
        Row(
            "exact_bits_per_event",
            "exact bits per event",
            ".3f",
            "plus log2 of the rounding interval's width, so that runs with different `tokens.time_digits` compare",
        ),
    ),
)
