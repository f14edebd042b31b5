"""The heads of the next event, from the probabilities of its first token: kinds, sides and prices."""

import functools
from typing import NamedTuple

import numpy as np

from lob_jax.events.schema import Kind
from lob_jax.generation.host.state import Given, Paths
from lob_jax.serving.predict.prices import Spans, write_prices
from lob_jax.serving.requests import Head
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.bins import KINDS, PRICE_BINS, CompactBins
from lob_jax.tokens.numbers import POWER, code_range

_CONTROL = int(Kind.CONTROL)


class HeadTable(NamedTuple):
    """All heads that tokens can spell.

    Attributes:
      spans: their kinds, sides and distances; 0 where a token is none.
      code: int64 [N], a `Code`; NONE unless the kind is CONTROL.
      group: int64 [N], twice the kind, plus one for an ask.
    """

    spans: Spans
    code: np.ndarray
    group: np.ndarray


@functools.cache
def exact_heads() -> HeadTable:
    """Return the heads of the exact tokens 0..CONTINUATION-1, by token."""
    token = np.arange(v.CONTINUATION)
    control = (token >= v.FIRST_CONTROL) & (token <= v.LAST_CONTROL)
    kind, low = np.divmod(token, v.CLASS_SIZE)
    s, price = np.divmod(low, v.ASK_OFFSET)
    spans = [_code_distances(code) for code in range(v.PRICE_CODES)] + [(0, 0)] * (v.ASK_OFFSET - v.PRICE_CODES)
    near, far = np.array(spans)[price].T
    is_order = kind > 0
    columns = (np.where(control, _CONTROL, kind), *(np.where(is_order, one, 0) for one in (s, near, far)))
    return _table(Spans(*columns), np.where(control, token - v.CONTROL_BASE, 0))


def _code_distances(code: int) -> tuple[int, int]:
    """Return the smallest and the largest distance of a price code 0..489, positive deeper."""
    if code < v.BETTER_CODE:
        return code_range(code)[:2]
    if code < v.DEEPER_ESCAPE:
        low, high, _ = code_range(code - v.BETTER_CODE + 1)
        return -high, -low
    better = code >= v.BETTER_ESCAPE
    first, fewest = (v.BETTER_ESCAPE, v.BETTER_ESCAPE_DIGITS) if better else (v.DEEPER_ESCAPE, v.DEEPER_ESCAPE_DIGITS)
    digits = code - first + fewest
    low, high = int(POWER[digits - 1]), int(POWER[digits]) - 1
    return (-high, -low) if better else (low, high)


def compact_heads(bins: CompactBins) -> HeadTable:
    """Return the heads of compact tokens: each kind with each side and each bin of prices, and each CONTROL code."""
    kind, s, price = (axis.ravel() for axis in np.indices((KINDS, 2, PRICE_BINS)))
    edges = np.array(bins.price_edges, np.int64)
    code = np.arange(v.FIRST_CONTROL, v.LAST_CONTROL + 1) - v.CONTROL_BASE
    none = np.zeros(len(code), np.int64)
    orders = (kind + 1, s, edges[kind, price], edges[kind, price + 1] - 1)
    columns = (np.append(one, other) for one, other in zip(orders, (none + _CONTROL, none, none, none), strict=True))
    return _table(Spans(*columns), np.append(np.zeros(len(kind), np.int64), code))


def _table(spans: Spans, code: np.ndarray) -> HeadTable:
    return HeadTable(spans, code, 2 * spans.kind + spans.s)


def listed(paths: Paths, given: Given, table: HeadTable, best: np.ndarray, chance_N: np.ndarray) -> list[Head]:
    """Return some heads with their prices on the live book and their probabilities.

    Args:
      paths: the paths, between two events.
      given: what is the same for all paths.
      table: all heads.
      best: int64 [K], which of them.
      chance_N: float64 [N], the probabilities of all.
    """
    spans = Spans(*(np.ascontiguousarray(column[best]) for column in table.spans))
    price_K2 = np.zeros((len(best), 2), np.int64)
    write_prices(paths, given, spans, price_K2)
    sides = np.where(spans.kind == _CONTROL, 0, 1 - 2 * spans.s).tolist()
    columns = (spans.kind.tolist(), table.code[best].tolist(), sides, price_K2.tolist(), chance_N[best].tolist())
    rows = zip(*columns, strict=True)
    return [Head(kind, code, side, (low, high), chance) for kind, code, side, (low, high), chance in rows]


def by_kind(table: HeadTable, chance_N: np.ndarray) -> tuple[tuple[int, int, float], ...]:
    """Return (kind, side, probability) of all kinds and sides."""
    sums_K2 = np.bincount(table.group, weights=chance_N, minlength=2 * (_CONTROL + 1))
    orders = [(kind, 1 - 2 * s, float(sums_K2[2 * kind + s])) for kind in range(1, _CONTROL) for s in range(2)]
    return (*orders, (_CONTROL, 0, float(sums_K2[2 * _CONTROL])))


def entropy_bits(chance_N: np.ndarray) -> float:
    """Return the entropy of a distribution, bits."""
    some = chance_N[chance_N > 0]
    return float(-(some * np.log2(some)).sum())
