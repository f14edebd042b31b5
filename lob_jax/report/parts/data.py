"""Data: which days, how they are split, and the fingerprint that identifies them."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from lob_jax.report.material import Material
from lob_jax.report.section import Cell, LeftOut, Section, Table, table_of

TITLE = "Data"
MOST_DAYS = 60  # in the table


def data(material: Material) -> Section | LeftOut:
    """Return the section about the data."""
    manifest = material.get("records/records.json")
    if manifest is None:
        return LeftOut(TITLE, material.missing["records/records.json"])
    days = manifest["days"]
    feed = manifest["fingerprint"].get("inputs", {}).get("feed", "unknown")
    text = (
        f"{len(days)} {'day' if len(days) == 1 else 'days'} of the {feed} feed, split by time: training before"
        f" validation before test, with {manifest['fingerprint'].get('embargo_events', 0):,} events between two splits"
        f" of one day that belong to neither."
    )
    pictures = tuple(material.pictures[name] for name in ("depth", "trades") if name in material.pictures)
    left_out = tuple(material.no_picture[name] for name in ("depth", "trades") if name in material.no_picture)
    tables = (_splits(manifest), _days(days), _fingerprint(manifest["fingerprint"]))
    return Section(TITLE, (text,), tables, pictures, left_out)


def digest(value: Any) -> str:
    """Return the sha256 of a JSON value, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _splits(manifest: Mapping[str, Any]) -> Table:
    rows = [(name, one["events"], one["tokens"], one["records"]) for name, one in manifest["splits"].items()]
    return table_of("Splits", ("split", "events", "tokens", "records"), rows)


def _days(days: list[Mapping[str, Any]]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for day in days[:MOST_DAYS]:
        parts = ", ".join(f"{part['split']} {part['events']:,}" for part in day["parts"])
        report = day.get("report", {})
        dropped = sum(report.get("rows_dropped", {}).values())
        rows.append((f"{day['symbol']} {day['trading_day']}", parts, report.get("rows_read"), dropped))
    more = f"and {len(days) - MOST_DAYS:,} more days" if len(days) > MOST_DAYS else ""
    return table_of("Days", ("day", "events by split", "rows read", "rows left out"), rows, note=more)


def _fingerprint(fingerprint: Mapping[str, Any]) -> Table:
    """Return the settings that determine the records; those that are themselves tables as the hash of their content."""
    flat = {name: value for name, value in fingerprint.items() if name != "inputs"}
    flat |= {f"inputs.{name}": value for name, value in fingerprint.get("inputs", {}).items()}
    rows = [(name, _short(value)) for name, value in flat.items()]
    rows.insert(0, ("sha256 of the fingerprint", digest(fingerprint)))
    return table_of("Fingerprint: what determines the records", ("setting", "value"), rows)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value)
    return text if len(text) <= 100 else f"sha256 {digest(value)[:16]}…, {len(text):,} characters as JSON"
