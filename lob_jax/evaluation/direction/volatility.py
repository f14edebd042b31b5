"""Score forecasts of realised volatility or its logarithm: QLIKE, mean absolute error, R2 and correlation."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lob_jax.errors import InputError
from lob_jax.evaluation.direction.blocks import DRAWS, LEAST_BLOCKS, draw_blocks, interval, number
from lob_jax.evaluation.direction.scores import NO_EXAMPLE, ONE_BLOCK

TITLES = {
    "qlike": "QLIKE",
    "mae": "mean absolute error",
    "r2_training_mean": "R2 v training mean",
    "r2_last": "R2 v last",
    "correlation": "correlation",
}
ZERO = "a volatility is 0, where QLIKE is infinite"
NO_ERROR = "the reference has no error"
CONSTANT = "the forecasts or the realised volatilities are constant"
WHY = {"qlike": ZERO, "r2_training_mean": NO_ERROR, "r2_last": NO_ERROR, "r2": NO_ERROR, "correlation": CONSTANT}
_ROUNDING = 1e-12  # a variance below this share of the mean square is rounding


def volatility_scores(
    forecast: np.ndarray,
    realised: np.ndarray,
    *,
    training_mean: float,
    last: np.ndarray,
    block: np.ndarray | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """Score forecasts of volatility; plain values as in JSON.

    QLIKE is the mean of h / f - log(h / f) - 1 of realised variance h and forecast variance f, the squares of the given
    volatilities: 0 for a perfect forecast, and robust to noise in h (Patton, 2011). R2 out of sample is 1 minus the sum
    of squared errors over that of a reference, which is the training mean (Campbell and Thompson, 2008) or the last
    realised volatility; it is negative for a forecast worse than the reference.

    Args:
      forecast: float [N], forecast volatilities, in the unit of `realised`, such as ticks.
      realised: float [N], realised volatilities: standard deviations, not variances or logarithms.
      training_mean: mean realised volatility of the training split.
      last: float [N], the realised volatility over the last span of the same length that is known at the forecast.
      block: int [N], block of each example in the bootstrap over time, see `blocks.blocks_of`; None for no intervals.
      draws: bootstrap draws.
      seed: seed of the draws.

    Returns:
      examples; the scores named in TITLES; with `block`, blocks and intervals, 95 % by score. A score that the examples
      leave undefined is None, and `undefined` has the reason by its name.

    Raises:
      InputError: the arrays differ in length, or a volatility is negative or not finite.
    """
    forecast, realised, last = (np.asarray(one, np.float64) for one in (forecast, realised, last))
    _check(forecast, realised, last, training_mean)
    columns = _columns(forecast, realised, training_mean, last)
    return {"examples": len(realised), **_described(columns, _scores, block, draws=draws, seed=seed)}


def log_volatility_scores(
    forecast: np.ndarray,
    realised: np.ndarray,
    *,
    mean: float,
    block: np.ndarray | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """Score forecasts of log volatility; plain values as in JSON.

    Args:
      forecast: float [N], logarithms of volatility.
      realised: float [N], what came.
      mean: the mean in the training split.
      block, draws, seed: of the bootstrap, see `volatility_scores`.

    Returns:
      count; mae of the logarithms; r2, the share of the squared error of `mean` that the forecast saves; correlation;
      and qlike, that of the volatilities (Patton, 2011); with `block`, blocks and intervals, 95 % by score. A score
      that the examples leave undefined is None, and `undefined` has the reason by its name.
    """
    forecast, realised = (np.asarray(one, np.float64) for one in (forecast, realised))
    ratio = 2 * (realised - forecast)  # the logarithm of the ratio of variances
    errors = (
        np.exp(ratio) - ratio - 1,
        np.abs(realised - forecast),
        (realised - forecast) ** 2,
        (realised - mean) ** 2,
    )
    columns = np.stack([np.ones_like(realised), *errors, *_products(forecast, realised)], axis=1)
    return {"count": len(realised), **_described(columns, _log_scores, block, draws=draws, seed=seed)}


def _described(
    columns: np.ndarray,
    scores: Callable[[np.ndarray], Mapping[str, np.ndarray]],
    block: np.ndarray | None,
    *,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Return the scores of the sums of some columns, why others are undefined, and with blocks their intervals."""
    values = {name: number(float(value)) for name, value in scores(columns.sum(0)).items()}
    missing = {name: WHY.get(name, NO_EXAMPLE) if len(columns) else NO_EXAMPLE for name in values}
    undefined = {name: missing[name] for name, value in values.items() if value is None}
    if block is None:
        return {**values, "undefined": undefined}
    blocks = int(block.max()) + 1 if len(block) else 0
    found: dict[str, Any] = dict.fromkeys(values)
    if blocks < LEAST_BLOCKS:
        undefined["intervals"] = ONE_BLOCK if blocks else NO_EXAMPLE
    else:
        sums = np.stack([np.bincount(block, column, minlength=blocks) for column in columns.T], axis=1)
        drawn = scores(draw_blocks(blocks, draws=draws, seed=seed) @ sums)
        spans = {name: interval(one) for name, one in drawn.items()}
        found = {name: list(span) if np.isfinite(span[0]) else None for name, span in spans.items()}
    return {**values, "undefined": undefined, "blocks": blocks, "intervals": found}


def _check(forecast: np.ndarray, realised: np.ndarray, last: np.ndarray, training_mean: float) -> None:
    alike = forecast.shape == realised.shape == last.shape == (len(realised),)
    everything = np.concatenate([forecast, realised, last, [training_mean]]) if alike else np.array([np.nan])
    if not (np.isfinite(everything).all() and (everything >= 0).all()):
        raise InputError(
            "volatilities that cannot be scored",
            where="volatility_scores",
            expected="as many forecasts as realised and last volatilities, all of them finite and at least 0",
            was=f"{forecast.shape}, {realised.shape} and {last.shape}, least {everything.min()}",
            remedy="leave out examples without a label; take the exponential of logarithms",
        )


def _columns(forecast: np.ndarray, realised: np.ndarray, training_mean: float, last: np.ndarray) -> np.ndarray:
    """Return the numbers of each example whose sums determine every score, float64 [N, 11]."""
    with np.errstate(divide="ignore", invalid="ignore"):  # an infinite QLIKE is undefined below
        ratio = np.square(realised / forecast)
        qlike = ratio - np.log(ratio) - 1
    qlike = np.where(np.isfinite(qlike), qlike, np.nan)  # infinities would warn in the products of the bootstrap
    error = realised - forecast
    return np.stack(
        [
            np.ones_like(realised),
            qlike,
            np.abs(error),
            error**2,
            (realised - training_mean) ** 2,
            (realised - last) ** 2,
            *_products(forecast, realised),
        ],
        axis=1,
    )


def _products(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the five numbers of each pair whose sums, and the count, determine a correlation."""
    return x, y, x**2, y**2, x * y


def _scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Return every score from sums [..., 11], NaN where it is undefined."""
    n, qlike, absolute, square, of_mean, of_last = np.moveaxis(sums[..., :6], -1, 0)
    count = np.where(n > 0, n, np.nan)
    return {
        "qlike": qlike / count,
        "mae": absolute / count,
        "r2_training_mean": 1 - square / np.where(of_mean > 0, of_mean, np.nan),
        "r2_last": 1 - square / np.where(of_last > 0, of_last, np.nan),
        "correlation": _correlation(n, sums[..., 6:]),
    }


def _log_scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Return every score of logarithms from sums [..., 10], NaN where it is undefined."""
    n, qlike, absolute, square, of_mean = np.moveaxis(sums[..., :5], -1, 0)
    count = np.where(n > 0, n, np.nan)
    return {
        "mae": absolute / count,
        "r2": 1 - square / np.where(of_mean > 0, of_mean, np.nan),
        "correlation": _correlation(n, sums[..., 5:]),
        "qlike": qlike / count,
    }


def _correlation(n: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Return the correlation of n pairs from the sums of `_products`, [..., 5]; NaN where one is constant."""
    x, y, xx, yy, xy = np.moveaxis(products, -1, 0)
    varies = (n * xx - x**2 > _ROUNDING * n * xx) & (n * yy - y**2 > _ROUNDING * n * yy)
    spread = np.where(varies, (n * xx - x**2) * (n * yy - y**2), np.nan)
    return (n * xy - x * y) / np.sqrt(spread)
