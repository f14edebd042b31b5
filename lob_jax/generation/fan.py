"""Summarise many generated paths: quantiles of mid price, spread, volume and volatility, by events or by time."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import replay
from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_SECOND
from lob_jax.events.schema import Kind

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
STEPS = 50  # maximum number of points in time after the first
LEAST_PATHS = 20  # for a quantile of 5 %: with fewer paths, none lies below it
TRADES = (Kind.EXECUTE, Kind.EXECUTE_HIDDEN)
MEASURES = {
    "mid": "mid price",
    "spread": "spread, price",
    "volume": "traded, lots",
    "volatility": "realised volatility, price",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Fan:
    """Quantiles over paths at H points in time; NaN where no path has a value.

    Quantiles of fewer than LEAST_PATHS paths are never shown.

    Attributes:
      by: "events" or "seconds", the unit of time.
      moment_H: float64 [H], points in time since the prompt, ascending from 0.
      quantile_Q: float64 [Q], quantile levels, ascending.
      paths_H: int64 [H], number of paths that reach the time and have both quotes then; only these are counted.
      mid_HQ: mid price, in currency.
      spread_HQ: best ask minus best bid, in currency.
      volume_HQ: lots executed since the prompt.
      volatility_HQ: root of the sum of squared changes of the mid since the prompt, in currency.
      paths_PH: by measure, float64 [P, H], the values of each path; NaN where it has none.
    """

    by: str
    moment_H: np.ndarray
    quantile_Q: np.ndarray
    paths_H: np.ndarray
    mid_HQ: np.ndarray
    spread_HQ: np.ndarray
    volume_HQ: np.ndarray
    volatility_HQ: np.ndarray
    paths_PH: dict[str, np.ndarray]

    def shown(self, measure: str) -> np.ndarray:
        """Return the quantiles of a measure, float64 [H, Q], NaN where fewer than LEAST_PATHS paths have a value."""
        return np.where(self.paths_H[:, None] >= LEAST_PATHS, getattr(self, f"{measure}_HQ"), np.nan)

    def to_json(self) -> dict[str, object]:
        """Return JSON-serialisable values, None for NaN; with too few paths for quantiles, also those of each path."""
        lists = {name: getattr(self, name).tolist() for name in ("moment_H", "quantile_Q", "paths_H")}
        measured = {name: _plain(self.shown(name)) for name in MEASURES}
        plain = {"by": self.by, **{name.split("_")[0]: values for name, values in lists.items()}, **measured}
        if self.paths_H.min() < LEAST_PATHS:
            plain["each_path"] = {name: _plain(values_PH) for name, values_PH in self.paths_PH.items()}
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Fan":
        """Return the summary that `to_json` has described; of each path it has values only with too few paths."""
        each = plain.get("each_path", {})
        return cls(
            by=plain["by"],
            moment_H=np.asarray(plain["moment"], np.float64),
            quantile_Q=np.asarray(plain["quantile"], np.float64),
            paths_H=np.asarray(plain["paths"], np.int64),
            **{f"{name}_HQ": np.asarray(plain[name], np.float64) for name in MEASURES},  # None becomes NaN
            paths_PH={name: np.asarray(values, np.float64) for name, values in each.items()},
        )


def _plain(values_HQ: np.ndarray) -> list[list[float | None]]:
    return [[float(value) if np.isfinite(value) else None for value in row] for row in values_HQ]


def fan(
    paths: Sequence[MarketDay],
    *,
    by: str = "events",
    until: float | None = None,
    quantiles: Sequence[float] = QUANTILES,
) -> Fan:
    """Return the quantiles of paths that start from the same book.

    Args:
      paths: each a day of generated events, all from the same book and clock.
      by: moments at so many "events", or at so many "seconds" of the paths' own clocks.
      until: the last moment; by default as far as the shortest path goes.
      quantiles: of 0..1, ascending.

    Raises:
      InputError: there is no path, or the unit of time is unknown.
    """
    if not paths or by not in ("events", "seconds"):
        raise InputError(
            "there is nothing to summarise" if not paths else "the unit of time is unknown",
            where="fan",
            expected="at least one path, and events or seconds as the unit",
            was=f"{len(paths)} paths by {by!r}",
            remedy="generate paths first" if not paths else "choose events or seconds",
        )
    clocks = [_moments(path, by) for path in paths]
    last = min(float(clock[-1]) for clock in clocks) if until is None else float(until)
    moment_H = np.unique(np.linspace(0, last, STEPS + 1).round() if by == "events" else np.linspace(0, last, STEPS + 1))
    found = [_measured(path, clock, moment_H) for path, clock in zip(paths, clocks, strict=True)]
    whole = {name: np.stack([one[name] for one in found]) for name in MEASURES}
    known_PH = np.isfinite(whole["mid"])
    each_PH = {name: np.where(known_PH, values_PH, np.nan) for name, values_PH in whole.items()}
    return Fan(
        by=by,
        moment_H=moment_H,
        quantile_Q=np.asarray(quantiles, float),
        paths_H=known_PH.sum(0),
        **{f"{name}_HQ": _quantiles(values_PH, quantiles) for name, values_PH in each_PH.items()},
        paths_PH=each_PH,
    )


def _moments(path: MarketDay, by: str) -> np.ndarray:
    """Return when each state of a path begins, float64 [E+1], counted from the start."""
    if by == "events":
        return np.arange(len(path.events) + 1.0)
    since = np.append(path.start.time_ns, path.events.time_ns) - path.start.time_ns
    return np.maximum.accumulate(since) / NS_PER_SECOND


def _measured(path: MarketDay, clock: np.ndarray, moment_H: np.ndarray) -> dict[str, np.ndarray]:
    """Return each measure of one path at each moment, float64 [H]; NaN past its end or without both quotes."""
    events, states = path.events, replay(path, levels=1)
    quoted, scale = states.two_sided(), path.instrument.price_scale
    bid, ask = (np.where(quoted, states.price[:, side, 0], np.nan) / scale for side in (0, 1))
    mid = (bid + ask) / 2
    known = mid[quoted]
    moves = np.zeros(len(mid))
    moves[np.flatnonzero(quoted)[1:]] = np.diff(known)  # a move across states without quotes counts when both are back
    traded = np.append(0, np.where(np.isin(events.kind, TRADES), events.size, 0))
    row_H = np.searchsorted(clock, moment_H, side="right") - 1
    reached_H = moment_H <= clock[-1]
    series = {
        "mid": mid,
        "spread": ask - bid,
        "volume": np.cumsum(traded).astype(float),
        "volatility": np.sqrt(np.cumsum(moves**2)),
    }
    return {name: np.where(reached_H, values[row_H], np.nan) for name, values in series.items()}


def _quantiles(values_PH: np.ndarray, quantiles: Sequence[float]) -> np.ndarray:
    """Return quantiles over paths, float64 [H, Q]."""
    rows = [column[np.isfinite(column)] for column in values_PH.T]
    return np.array([np.quantile(row, quantiles) if len(row) else [np.nan] * len(quantiles) for row in rows])
