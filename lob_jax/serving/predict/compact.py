"""The next event in compact tokens: one token has its kind, side, price, size and time, which are added up."""

import dataclasses

import numpy as np

from lob_jax.events.schema import Kind
from lob_jax.generation.host.state import Given, Paths
from lob_jax.serving.predict.heads import by_kind, compact_heads, entropy_bits, listed
from lob_jax.serving.predict.numbers import NumberRanges, distribution, likeliest
from lob_jax.serving.requests import Distribution, Prediction
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.bins import GAP_BINS, SIZE_BINS, CompactBins, Row


def compact_prediction(
    paths: Paths, given: Given, bins: CompactBins, chance_V: np.ndarray, *, heads: int, most: int
) -> Prediction:
    """Return the probabilities of the next event.

    Args:
      paths: the paths, of which the first counts.
      given: what is the same for all paths.
      bins: those of the tokenizer.
      chance_V: float64 [V], the probabilities of the next token.
      heads: for how many of the likeliest heads sizes and times are predicted as well.
      most: how many of the likeliest heads are listed.
    """
    table = compact_heads(bins)
    chance_HSG = chance_V[v.CLASS_SIZE : v.CONTINUATION].reshape(-1, SIZE_BINS, GAP_BINS)
    control_GC = chance_V[v.CONTROL_BASE : v.CONTROL_BASE + v.CONTROL_GAP * GAP_BINS].reshape(GAP_BINS, -1)
    codes = slice(v.FIRST_CONTROL - v.CONTROL_BASE, v.LAST_CONTROL - v.CONTROL_BASE + 1)
    chance_N = np.append(chance_HSG.sum((1, 2)), control_GC.sum(0)[codes])
    best = likeliest(chance_N, most)
    found = listed(paths, given, table, best, chance_N)
    for at, index in enumerate(best[:heads].tolist()):
        if found[at].kind != Kind.CONTROL:
            found[at] = dataclasses.replace(found[at], **_numbers(bins, found[at].kind - 1, chance_HSG[index]))
    return Prediction(tuple(found), by_kind(table, chance_N), entropy_bits(chance_N))


def _numbers(bins: CompactBins, row: int, chance_SG: np.ndarray) -> dict[str, Distribution]:
    """Return the distributions after a head, given those of its bins and the row of its kind in all bins."""
    size_S = chance_SG.sum(1)
    gap_G = chance_SG[size_S.argmax()]
    return {
        "size": distribution(_ranges(bins.size_edges[row], bins.size_values[row]), size_S),
        "gap_ns": distribution(_ranges(bins.gap_edges, bins.gap_values[row]), gap_G),
    }


def _ranges(edges: Row, values: Row) -> NumberRanges:
    edges_N = np.array(edges, np.int64)
    return NumberRanges(edges_N[:-1], edges_N[1:] - 1, np.array(values, np.int64))
