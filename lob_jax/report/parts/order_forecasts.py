"""Paths as forecasts of what becomes of resting orders: Brier scores, reliability, and the PIT of times to fills."""

from collections.abc import Mapping
from typing import Any

from lob_jax.figures.fills import fills_figure, pit_figure
from lob_jax.report.material import Material
from lob_jax.report.section import Absent, Cell, LeftOut, Number, Picture, Section, Table, picture, table_of

TITLE = "Fills of resting orders"
FILE = "orders.json"
UNITS = ("events", "seconds")
ALL, PATHS, CELLS = "all", "paths", "climatology"
NAMES = (PATHS, CELLS, "overall rate", "random walk")
HEADINGS = (
    *("happened", "predicted"),
    *(f"Brier, {name}" for name in NAMES),
    *(f"log score, {name}" for name in NAMES[:2]),
    "skill",
)
NOTE = (
    "Climatology: frequencies of the training split by distance from the best price and lots in front; overall rate:"
    " those of all its orders; random walk: that it touches the order's price. Skill: 1 - Brier score / Brier score of"
    " the climatology. In grey: 95 % intervals of a block bootstrap over prompts."
)


def order_forecasts(material: Material) -> Section | LeftOut:
    """Return the section about the newest paths as forecasts of fills and cancels."""
    scored = material.generated.get(FILE)
    if not scored:
        return LeftOut(TITLE, "the newest generated result has none; --mode=generate with many prompts and paths does")
    if "unavailable" in scored:
        return LeftOut(TITLE, scored["unavailable"])
    text = (
        f"{scored['orders']:,} orders with an id rest in the books at the end of {scored['prompts']:,} prompts. The"
        f" share of {scored['paths']:,} paths on which an order is filled within a horizon is compared with whether it"
        " really is, which the feed's ids tell. A cancel competes with a fill, and so does the loss from view when a"
        f" level leaves the window: {scored['lost']['real']:.1%} of the orders really, {scored['lost']['paths']:.1%} on"
        f" paths. {scored['without_id']:,} orders beside them have no id: they stand in queues, but are not scored."
        f" {scored['same_queue']:.1%} of the orders are at prices whose queue the generator knew exactly."
    )
    units = [unit for unit in UNITS if scored.get(unit)]
    tables = [_by_horizon(scored[unit], unit) for unit in units]
    pictures = [_pits(scored)]
    if scored.get("events"):
        tables += [_by_bucket(scored["events"]), _bins(scored["events"])]
        pictures = [_reliability(scored), *pictures]
    return Section(TITLE, (text,), (*tables, _times(scored["time"])), tuple(pictures))


def _number(value: float | None, form: str = ".4f") -> Cell:
    return None if value is None else Number(value, form)


def _by_horizon(found: Mapping[str, Any], unit: str) -> Table:
    rows = [
        [f"{horizon:,} {unit}: {outcome}", found["orders"][h], *_scores(one, h)]
        for h, horizon in enumerate(found["horizons"])
        for outcome, one in found["buckets"][ALL].items()
    ]
    columns = [f"within so many {unit}", "orders", *HEADINGS]
    return table_of(
        f"What becomes of resting orders, by {unit}: Brier and logarithmic scores", columns, rows, note=NOTE
    )


def _by_bucket(found: Mapping[str, Any]) -> Table:
    last = len(found["horizons"]) - 1
    rows = [
        [f"{bucket}: {outcome}", *_scores(one, last)]
        for bucket, outcomes in found["buckets"].items()
        for outcome, one in outcomes.items()
    ]
    caption = f"The same within {found['horizons'][last]:,} events, by distance from the best price of the side"
    return table_of(caption, ["distance", *HEADINGS], rows)


def _scores(one: Mapping[str, Any], h: int) -> list[Cell]:
    """Return the cells of HEADINGS at a horizon; a benchmark that says nothing of an outcome has none."""
    forecasts, skill = one["forecasts"], one["skill"][CELLS][h]
    briers = [
        _number(forecasts[name]["brier"][h]) if name in forecasts else Absent("a random walk has no cancels")
        for name in NAMES
    ]
    logs = [_number(forecasts[name]["log"][h]) for name in NAMES[:2]]
    shown = Absent("no order") if skill is None else Number(skill["value"], ".3f", skill["low"], skill["high"])
    return [_number(one["happened"][h], ".1%"), _number(forecasts[PATHS]["mean"][h], ".1%"), *briers, *logs, shown]


def _bins(found: Mapping[str, Any]) -> Table:
    last = len(found["horizons"]) - 1
    rows = []
    for outcome, each in found["reliability"].items():
        for row in zip(*each[last].values(), strict=True):
            orders, share, came, low, high, calibrated = row
            cells = [_number(share, ".1%"), Number(came, ".1%", low, high), _number(calibrated, ".1%")]
            rows.append([outcome, orders, *cells])
    columns = ["", "orders", "share of paths", "came", "one path against the others"]
    caption = f"Reliability within {found['horizons'][last]:,} events, by the share of paths on which it comes"
    note = "The last column is what a generator whose paths are as the real continuation would show with as many paths."
    return table_of(caption, columns, rows, note=note)


def _times(time: Mapping[str, Any]) -> Table:
    rows = []
    for bucket, outcomes in time.items():
        cells = [part for one in outcomes.values() for part in (one["orders"], _number(one["p"], ".3f"))]
        rows.append([bucket, *cells])
    columns = ["distance", *(text for name in time[ALL] for text in (f"{name}, orders", f"{name}, p"))]
    note = (
        "An order that is not filled or cancelled has an infinite time; if it comes: finite times alone. p: chi-squared"
        " statistic of the PIT in ten bins under random signs of blocks of prompts."
    )
    return table_of("How many events it takes: tests that the PIT is uniform", columns, rows, note=note)


def _reliability(scored: Mapping[str, Any]) -> Picture:
    found = scored["events"]
    last = len(found["horizons"]) - 1
    panels = {outcome: each[last] for outcome, each in found["reliability"].items()}
    count, horizon = found["orders"][last], found["horizons"][last]
    title = f"Reliability within {horizon:,} events, n = {count:,} orders, {scored['paths']} paths each"
    return picture(
        fills_figure(panels, title=title),
        name="fills_reliability",
        alt="Reliability diagrams: how often orders were filled or cancelled, by the share of paths on which they are",
        caption=(
            "How often it came, by the share of paths on which it comes, with 95 % intervals and numbers of orders."
            " Dashed: what perfectly calibrated paths show, since a share of few paths is a noisy estimate."
        ),
    )


def _pits(scored: Mapping[str, Any]) -> Picture:
    return picture(
        pit_figure(scored["time"][ALL], title=f"Times to fills and cancels, {scored['prompts']:,} prompts"),
        name="fills_pit",
        alt="Histograms of the probability integral transform of times to fills and cancels",
        caption="PIT of the number of events: flat if orders are filled and cancelled as soon as on paths.",
    )
