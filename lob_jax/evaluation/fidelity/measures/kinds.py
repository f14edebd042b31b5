"""Kinds of messages: their shares, their sides, their sizes, and how often they come."""

import numpy as np

from lob_jax.evaluation.fidelity.measure import Measure
from lob_jax.evaluation.fidelity.score import Need
from lob_jax.events.instrument import NS_PER_SECOND
from lob_jax.events.schema import BID, Kind
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import gaps_ns
from lob_jax.statistics.flow_sums import LEAST, ratio, shares, totals

KINDS = {
    Kind.ADD: "add",
    Kind.CANCEL: "cancel",
    Kind.DELETE: "delete",
    Kind.EXECUTE: "execute",
    Kind.EXECUTE_HIDDEN: "execute hidden",
    Kind.CROSS: "cross",
}
BOOKED = {kind: label for kind, label in KINDS.items() if kind != Kind.CROSS}
TRADES = (Kind.EXECUTE, Kind.EXECUTE_HIDDEN)
ROUND_LOT = 100  # lots


def kind_counts(flow: Flow) -> np.ndarray:
    """Return the messages of each of `KINDS` in each sequence, float64 [S, 6]."""
    kind = flow.kind.astype(np.int64) - 1
    return shares(kind, flow.sequence(), count=len(flow), categories=len(KINDS))


def kind_shares(total: np.ndarray) -> dict[str, np.ndarray]:
    """Return the share of each kind, and of trades."""
    part = ratio(total, total.sum(axis=1, keepdims=True))
    of_kinds = {label: part[:, kind - 1] for kind, label in KINDS.items()}
    return {**of_kinds, "trades": part[:, [kind - 1 for kind in TRADES]].sum(axis=1)}


def total_variation(total: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return half the sum of the absolute differences of shares, float64 [D], from 0 to 1."""
    difference = ratio(total, total.sum(-1, keepdims=True)) - ratio(other, other.sum(-1, keepdims=True))
    return np.abs(difference).sum(axis=-1) / 2


def _bid_sums(flow: Flow) -> np.ndarray:
    kind, bid = flow.kind.astype(np.int64) - 1, flow.side == BID
    count = {"count": len(flow), "categories": len(KINDS)}
    return np.hstack([shares(kind[bid], flow.sequence()[bid], **count), kind_counts(flow)])


def _bid_shares(total: np.ndarray) -> dict[str, np.ndarray]:
    of_bid, of_all = total[:, : len(KINDS)], total[:, len(KINDS) :]
    return {label: ratio(of_bid[:, kind - 1], of_all[:, kind - 1], least=LEAST) for kind, label in BOOKED.items()}


def _size_sums(flow: Flow) -> np.ndarray:
    units = np.asarray(flow.size, np.float64) / flow.instrument.lot_scale
    round_lots = flow.size % ROUND_LOT == 0
    parts = []
    for kind in BOOKED:
        rows = flow.kind == kind
        columns = np.stack([np.ones(rows.sum()), units[rows], round_lots[rows]], axis=1)
        parts.append(totals(columns, flow.sequence()[rows], len(flow)))
    return np.hstack(parts)


def _sizes(total: np.ndarray) -> dict[str, np.ndarray]:
    return _means(total, 1)


def _round_shares(total: np.ndarray) -> dict[str, np.ndarray]:
    return _means(total, 2)


def _means(total: np.ndarray, column: int) -> dict[str, np.ndarray]:
    by_kind = total.reshape(len(total), -1, 3)
    mean = ratio(by_kind[..., column], by_kind[..., 0], least=LEAST)
    return {label: mean[:, kind - 1] for kind, label in BOOKED.items()}


def _rate_sums(flow: Flow) -> np.ndarray:
    gap, row = gaps_ns(flow)
    trade = np.isin(flow.kind[row], TRADES)
    volume = np.where(trade, flow.size[row], 0) / flow.instrument.lot_scale
    columns = [np.ones(len(gap)), gap / NS_PER_SECOND, trade, volume, gap == 0, gap < NS_PER_SECOND // 1000]
    return totals(np.stack(columns, axis=1), flow.sequence()[row], len(flow))


def _rates(total: np.ndarray) -> dict[str, np.ndarray]:
    messages, seconds, trades, volume, at_once, quick = total.T
    return {
        "messages per second": ratio(messages, seconds),
        "trades per second": ratio(trades, seconds),
        "traded per second": ratio(volume, seconds),
        "share of gaps of 0": ratio(at_once, messages),
        "share of gaps below 1 ms": ratio(quick, messages),
    }


MEASURES = (
    Measure("kind_mix", "share of messages", "", kind_counts, kind_shares, total_variation),
    Measure("bid_share", "share on the bid side", "", _bid_sums, _bid_shares),
    Measure("mean_size", "mean size", "", _size_sums, _sizes),
    Measure("round_lots", "share of sizes that are multiples of 100", "", _size_sums, _round_shares),
    Measure("rates", "rates", "", _rate_sums, _rates, needs=frozenset({Need.MESSAGES, Need.TIMES})),
)
