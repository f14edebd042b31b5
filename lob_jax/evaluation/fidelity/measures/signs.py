"""Autocorrelation of signs: of all messages, and of trades."""

import numpy as np

from lob_jax.evaluation.fidelity.measure import Measure
from lob_jax.events.schema import Kind
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import pressure
from lob_jax.statistics.flow_sums import PAIR, correlation, lagged_sums

LAGS = (1, 2, 5, 10, 50)


def autocorrelation_sums(value: np.ndarray, sequence: np.ndarray, count: int) -> np.ndarray:
    """Return the sums of the autocorrelation at `LAGS`, float64 [S, 6 times 5], see `flow_sums.lagged_sums`."""
    return lagged_sums(value, sequence, count=count, lags=LAGS).reshape(count, len(LAGS) * PAIR)


def autocorrelations(total: np.ndarray) -> dict[str, np.ndarray]:
    """Return the autocorrelation at each of `LAGS`."""
    by_lag = correlation(total.reshape(len(total), len(LAGS), -1))
    return {f"lag {lag}": by_lag[:, at] for at, lag in enumerate(LAGS)}


def _event_signs(flow: Flow) -> np.ndarray:
    return autocorrelation_sums(pressure(flow), flow.sequence(), len(flow))


def _trade_signs(flow: Flow) -> np.ndarray:
    trades = flow.kind == Kind.EXECUTE
    return autocorrelation_sums(pressure(flow)[trades], flow.sequence()[trades], len(flow))


MEASURES = (
    Measure("event_sign_acf", "autocorrelation of event signs", "", _event_signs, autocorrelations),
    Measure("trade_sign_acf", "autocorrelation of trade signs", "", _trade_signs, autocorrelations),
)
