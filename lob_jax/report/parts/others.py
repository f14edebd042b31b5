"""Results that no other section shows: every number of a file under keys that the report does not know by name."""

from collections.abc import Iterator, Mapping
from typing import Any

from lob_jax.evaluation.baseline import BASELINES
from lob_jax.report.material import Material
from lob_jax.report.section import Cell, Section, Table, table_of

TITLE = "Further results"
FIDELITY = {"flows", "scores", "conditional", "contexts", "summary", "divergence", "measures", "facts", "impact"}
FIDELITY |= {
    "discriminator",
    "usefulness",
    "networks",
    "memorisation",
    "package",
    "splits",
    "resamples",
    "block",
    "seed",
}
KNOWN: dict[str, set[str] | None] = {  # what other sections show
    "evaluation.json": {
        *("split", "context", "likelihood", "direction", "direction_left_out", "differences", "calibration"),
        *("bootstrap", "hidden", "share", "model", "audit", "fitted", "in_book", *BASELINES),
    },
    "forecast.json": {
        *("horizons", "examples", "scores", "details", "shares", "draws", "blocks", "block_events", "mcc_above"),
    },
    "fidelity.json": FIDELITY,
    "score.json": FIDELITY,
}
MOST_ROWS = 200  # of one table


def others(material: Material) -> Section | None:
    """Return the section with everything that the other sections leave out; None if that is nothing."""
    tables = []
    for name, known in KNOWN.items():
        content = material.get(name)
        if isinstance(content, Mapping) and known is not None:
            rest = {key: value for key, value in content.items() if key not in known}
            tables += [table for key, value in rest.items() for table in _tables(f"{name}: {key}", value)]
    if not tables:
        return None
    text = "Numbers from the run's files, under the keys that they have there."
    return Section(TITLE, (text,), tuple(tables))


def _tables(caption: str, value: Any) -> list[Table]:
    rows: list[tuple[Cell, ...]] = [(path or "value", cell) for path, cell in _leaves(value)]
    if not rows:
        return []
    note = f"{len(rows) - MOST_ROWS:,} more numbers are in the file." if len(rows) > MOST_ROWS else ""
    return [table_of(caption.replace("_", " "), ("key", "value"), rows[:MOST_ROWS], note=note)]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Cell]]:
    """Yield the numbers and texts inside nested values with their paths."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _leaves(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from _leaves(part, f"{path}[{place}]")
    elif isinstance(value, bool):
        yield path, "yes" if value else "no"
    else:
        yield path, value
