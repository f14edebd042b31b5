"""Levels that come into view in training: measured on the days that records are made of, and kept beside the records.

Some tokens do not determine their events, so what came into view cannot be measured on their records.
"""

import hashlib
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import replay, snapshots_at
from lob_jax.book.view import follow_view
from lob_jax.data.records.files import sha256_of, write_whole
from lob_jax.data.records.manifest import load_manifest
from lob_jax.data.records.records import RecordPlan, evenly_spaced, record_spans
from lob_jax.data.records.split import Part
from lob_jax.errors import InputError
from lob_jax.events.schema import ASK, BID

REVEALS = "reveals.npy"
FIT_EVENTS = 1 << 16  # of the training part of a day: a day of millions would be followed for minutes
MOST_PAIRS = 4096  # of either side, of a training part and of the distribution for paths

Pairs = Sequence[tuple[int, int]] | np.ndarray


def revealed_in(day: MarketDay) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the levels that came into view in a day with a window when none was remembered, of bids and of asks.

    Each is a pair: ticks behind the level before it, and lots.
    """
    sides = follow_view(replay(day, day.start.window)).revealed
    bids, asks = ([(quanta // day.instrument.tick, lots) for quanta, lots in side.pairs] for side in sides)
    return bids, asks


def training_reveals(day: MarketDay, parts: Sequence[Part], plan: RecordPlan) -> dict[str, list[Pairs]]:
    """Return the levels that came into view in the training part of a day, by split, as JSON values.

    They are those of `revealed_in`, record by record, since a path remembers only what has left its view since the
    record of its prompt began. Of long parts, evenly spaced records are followed.

    Args:
      day: the day; without a window, nothing comes into view.
      parts: its parts.
      plan: how it is divided into records.
    """
    found: dict[str, list[Pairs]] = {}
    for part in parts:
        if part.name == "train":
            spans = record_spans(part, record_events=plan.record_events, context=plan.context)
            count = min(len(spans), -(-FIT_EVENTS // plan.record_events)) if day.start.window else 0
            chosen = [spans[k] for k in evenly_spaced(len(spans), count)]
            found[part.name] = [_spaced(pairs) for pairs in _revealed(day, chosen)]
    return found


def _revealed(day: MarketDay, spans: Sequence[tuple[int, int, int]]) -> tuple[list[tuple[int, int]], ...]:
    """Return what came into view in some records of a day, each followed by itself."""
    sides: tuple[list[tuple[int, int]], ...] = ([], [])
    starts = snapshots_at(day, np.array([begin for begin, _, _ in spans], np.int64))
    for (begin, _, last), start in zip(spans, starts, strict=True):
        for pairs, more in zip(sides, revealed_in(day.part(begin, last, start=start)), strict=True):
            pairs.extend(more)
    return sides


def _spaced(pairs: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    """Return at most MOST_PAIRS, evenly spaced."""
    return pairs[:: max(1, -(-len(pairs) // MOST_PAIRS))]


def write_reveals(folder: pathlib.Path, accounts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Write what came into view in the training parts of all days; return the entry of the manifest about it.

    The file REVEALS is int64 [R, 4]: number of the day, +1 bid or -1 ask, ticks behind the level before, and lots. Its
    entry names it with its rows and sha256, and is empty if nothing came into view. There is no entry if a day was
    completed by an earlier version, which did not measure it.

    Args:
      folder: the folder of the records.
      accounts: the accounts of the days, in order, see `shards.Tally`.
    """
    if not all("reveals" in account for account in accounts):
        return {}
    rows = [
        (number, side, *pair)
        for number, account in enumerate(accounts)
        for sides in account["reveals"].values()
        for side, pairs in zip((BID, ASK), sides, strict=True)
        for pair in pairs
    ]
    if not rows:
        return {"reveals": {}}
    content = io.BytesIO()
    np.save(content, np.array(rows, np.int64))
    write_whole(folder / REVEALS, content.getvalue())
    return {"reveals": {REVEALS: {"rows": len(rows), "sha256": sha256_of(folder / REVEALS)}}}


def load_reveals(folder: pathlib.Path, symbol: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return what came into view in an instrument's training parts, ticks and lots of bids and of asks, int64 [R, 2].

    None if the records were prepared by an earlier version, which did not measure it.

    Args:
      folder: the folder of the records.
      symbol: the instrument.

    Raises:
      InputError: there are no records, or the file is missing or not the one that was written.
    """
    manifest = load_manifest(folder)
    if "reveals" not in manifest:
        return None
    rows_R4 = np.zeros((0, 4), np.int64)
    for name, about in manifest["reveals"].items():
        path = folder / name
        content = path.read_bytes() if path.exists() else b""
        if (found := hashlib.sha256(content).hexdigest()) != about["sha256"]:
            raise InputError(
                "the levels that came into view in training are not those of the records",
                where=path,
                expected=f"the file with sha256 {about['sha256']}",
                was=f"a file with sha256 {found}" if path.exists() else "no such file",
                remedy="restore it, or delete the folder of the records and run --mode=prepare",
            )
        rows_R4 = np.load(io.BytesIO(content))
    numbers = [number for number, day in enumerate(manifest["days"]) if day["symbol"] == symbol]
    of_symbol = rows_R4[np.isin(rows_R4[:, 0], numbers)]
    bids_R2, asks_R2 = (of_symbol[of_symbol[:, 1] == side, 2:] for side in (BID, ASK))
    return bids_R2, asks_R2
