"""Generated paths: how they were drawn, their quantiles, and pictures of what they look like."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lob_jax.report.material import Material
from lob_jax.report.section import Cell, LeftOut, Number, Section, Table, table_of

TITLE = "Generated paths"
UNITS = {"mid": "mid price", "spread": "spread, price", "volume": "traded, lots", "volatility": "volatility, price"}
PICTURES = ("fan", "moves", "ladder_generated", "ladder_real")


def generated(material: Material) -> Section | LeftOut:
    """Return the section about the newest generated paths."""
    result = material.generated
    if not result:
        return LeftOut(TITLE, "nothing has been generated; --mode=generate does it")
    settings, forecast = result.get("settings.json", {}), result.get("forecast.json")
    text = f"The newest result: generated/{result['name']}."
    rows: list[tuple[Cell, ...]] = [
        (name.replace("_", " "), value if isinstance(value, str | int | float) else json.dumps(value))
        for name, value in settings.items()
        if value not in ("", [])
    ]
    tables = [table_of("How the paths were drawn", ("setting", "value"), rows)] if rows else []
    tables += [_ends(forecast)] if forecast and "paths" in forecast else []
    left_out = tuple(material.no_picture[name] for name in PICTURES if name in material.no_picture)
    pictures = tuple(material.pictures[name] for name in PICTURES if name in material.pictures)
    return Section(TITLE, (text,), tuple(tables), pictures, left_out)


def _ends(forecast: Mapping[str, Any]) -> Table:
    """Return the quantiles at the last moment, or the range of the paths where there are too few for quantiles."""
    paths, moment = int(forecast["paths"][-1]), forecast["moment"][-1]
    each = forecast.get("each_path")
    few = each is not None
    headings = ("lowest", "mean", "highest") if few else tuple(f"{level:.0%}" for level in forecast["quantile"])
    rows: list[tuple[Cell, ...]] = []
    for name, label in UNITS.items():
        last = [path[-1] for path in each[name]] if few else forecast[name][-1]
        rows.append((label, *_cells(last, few=few)))
    when = f"after {moment:,.0f} events" if forecast["by"] == "events" else f"after {moment:,.4g} s"
    note = "Too few paths for quantiles: lowest, mean and highest of the paths instead." if few else ""
    return table_of(f"The paths {when}, n = {paths:,} paths", ("measure", *headings), rows, note=note)


def _cells(values: Sequence[float | None], *, few: bool) -> list[Cell]:
    known = [float(value) for value in values if value is not None]
    if not few:
        return [None if value is None else Number(float(value), ",.4f") for value in values]
    if not known:
        return [None, None, None]
    return [Number(value, ",.4f") for value in (min(known), sum(known) / len(known), max(known))]
