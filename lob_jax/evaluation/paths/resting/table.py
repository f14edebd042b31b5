"""Tables of what becomes of resting orders: scores of the paths by horizon and by distance, and tests of the times."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from lob_jax.evaluation.fidelity.measure import number
from lob_jax.evaluation.paths.resting.outcomes import UNITS
from lob_jax.evaluation.paths.resting.scores import ALL, BENCHMARKS, CELLS, PATHS


def order_tables(scored: Mapping[str, Any]) -> list[Table]:
    """Return tables of what `score_orders` returns."""
    tables = [_by_horizon(scored, unit) for unit in UNITS if scored[unit]]
    return [*tables, *([_by_bucket(scored)] if scored["events"] else []), _times(scored)]


def _by_horizon(scored: Mapping[str, Any], unit: str) -> Table:
    found = scored[unit]
    shown = _with_columns(
        f"what becomes of {scored['orders']:,} resting orders within so many {unit}: Brier score", (unit, "", "orders")
    )
    for h, horizon in enumerate(found["horizons"]):
        for outcome, one in found["buckets"][ALL].items():
            shown.add_row(f"{horizon:,}", outcome, f"{found['orders'][h]:,}", *_cells(one, h))
    return shown


def _by_bucket(scored: Mapping[str, Any]) -> Table:
    found = scored["events"]
    last = len(found["horizons"]) - 1
    title = f"the same within {found['horizons'][last]:,} events, by distance from the best price"
    shown = _with_columns(title, ("distance", ""))
    for bucket, outcomes in found["buckets"].items():
        for outcome, one in outcomes.items():
            shown.add_row(bucket, outcome, *_cells(one, last))
    return shown


def _with_columns(title: str, first: tuple[str, ...]) -> Table:
    """Return a table with some columns and those of `_cells`."""
    shown = Table(title=title)
    logs = (f"log score, {PATHS}", f"log score, {CELLS}")
    for heading in (*first, "happened", "predicted", PATHS, *BENCHMARKS, "skill", *logs):
        shown.add_column(heading, justify="right")
    return shown


def _cells(one: Mapping[str, Any], h: int) -> list[str]:
    """Return what happened and was predicted, Brier scores, the skill over climatology and log scores, at a horizon."""
    forecasts = one["forecasts"]
    briers = [number(forecasts[name]["brier"][h]) if name in forecasts else "n/a" for name in (PATHS, *BENCHMARKS)]
    logs = [number(forecasts[name]["log"][h]) for name in (PATHS, CELLS)]
    predicted = number(forecasts[PATHS]["mean"][h])
    return [number(one["happened"][h]), predicted, *briers, _skill(one["skill"][CELLS][h]), *logs]


def _skill(one: Mapping[str, float] | None) -> str:
    return "n/a" if one is None else f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"


def _times(scored: Mapping[str, Any]) -> Table:
    shown = Table(title="how many events it takes: p-value of a uniform PIT (number of orders)")
    shown.add_column("distance")
    for heading in scored["time"][ALL]:
        shown.add_column(heading, justify="right")
    for bucket, outcomes in scored["time"].items():
        cells = [f"{number(one['p'])} ({one['orders']:,})" for one in outcomes.values()]
        shown.add_row(bucket, *cells)
    return shown
