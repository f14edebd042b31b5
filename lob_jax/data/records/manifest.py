"""The manifest beside prepared records: what they were made from, and how many there are."""

import dataclasses
import decimal
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lob_jax.data.records.records import RecordPlan
from lob_jax.data.records.split import SPLITS
from lob_jax.errors import InputError, differing, flat
from lob_jax.feeds.feed import DaySource
from lob_jax.later_keys import FIRST, VERSION, Source, completed, refuse_newer, version

FORMAT = 2  # raised whenever the content of a record changes its meaning
MANIFEST = "records.json"


def fingerprint(
    days: Sequence[DaySource], plan: RecordPlan, *, vocabulary_hash: str, inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what decides the content of records, as plain JSON values.

    Args:
      days: which days, in order.
      plan: how they are cut.
      vocabulary_hash: of the tokenizer's vocabulary.
      inputs: what names the data: feed, settings and seeds of a simulation, sha256 of each file.
    """
    content = {
        "format": FORMAT,
        "vocabulary": vocabulary_hash,
        **dataclasses.asdict(plan),
        "days": [f"{day.symbol} {day.trading_day}" for day in days],
        "inputs": dict(inputs),
    }
    return json.loads(json.dumps(content, sort_keys=True))


def make_manifest(
    wanted: Mapping[str, Any], accounts: Sequence[Mapping[str, Any]], shards: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the manifest of records.

    Args:
      wanted: their fingerprint.
      accounts: those of the days, in order, see `shards.Tally`.
      shards: by file name, records, bytes before compression and sha256.
    """
    told = ("symbol", "trading_day", "instrument", "parts", "report")
    return {
        VERSION: version(),
        "fingerprint": dict(wanted),
        "splits": {name: _totals(name, accounts) for name in SPLITS},
        "days": [{key: account[key] for key in told} for account in accounts],
        "outlines": {name: [about for a in accounts for about in a["outlines"].get(name, ())] for name in SPLITS},
        "token_counts": {
            name: np.sum([a["token_counts"][name] for a in accounts if name in a["token_counts"]], axis=0).tolist()
            for name in SPLITS
        },
        "shards": dict(shards),
    }


def _totals(split: str, accounts: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    parts = [part for account in accounts for part in account["parts"] if part["split"] == split]
    return {name: sum(part[name] for part in parts) for name in ("events", "records", "tokens")}


def check_scales(account: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Refuse a day whose integers mean something else than those of another day of its instrument.

    Raises:
      InputError: names the tick and the scales of both days.
    """
    was, expected = (_steps(day["instrument"]) for day in (account, other))
    if was != expected:
        named = " ".join(f"--config.data.{name}={min(was[name], expected[name]):f}" for name in ("tick", "lot"))
        raise InputError(
            "two days of an instrument differ in tick or scales",
            where=f"{account['symbol']} {account['trading_day']}",
            expected=f"{_listed(expected)}, as on {other['trading_day']}",
            was=_listed(was),
            remedy=f"if they were inferred from the files, name the finer ones: {named}; else prepare these days apart",
        )


def _steps(instrument: Mapping[str, Any]) -> dict[str, decimal.Decimal]:
    """Return the steps of prices and of sizes, and the unit of prices, all in the market's units."""
    units = {"tick": (instrument["tick"], "price_scale"), "lot": (1, "lot_scale"), "prices in": (1, "price_scale")}
    return {name: (decimal.Decimal(count) / instrument[of]).normalize() for name, (count, of) in units.items()}


def _listed(steps: Mapping[str, decimal.Decimal]) -> str:
    return ", ".join(f"{name} {step:f}" for name, step in steps.items())


def load_manifest(folder: pathlib.Path) -> dict[str, Any]:
    """Return the manifest of prepared records.

    Keys: version of lob_jax (the first of 0.1.0 lack it); fingerprint; splits (events, records and tokens of each,
    leads not counted); days (symbol, trading_day, instrument, parts, report of the reader and of the replay); by split
    outlines, see `Outline`, and token_counts, int [V], leads and EOS not counted; shards (records, bytes before
    compression and sha256 of each file).

    Raises:
      InputError: there is none, or it cannot be read.
    """
    path = pathlib.Path(folder) / MANIFEST
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            "there are no prepared records",
            where=path,
            expected="the manifest of prepared records",
            was=error,
            remedy="run --mode=prepare with this config and --workdir first",
        ) from error


def completed_fingerprint(saved: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    """Return a fingerprint by paths, with the neutral values of expected keys that came since it was written."""
    return completed(flat(saved), flat(expected), inside="data.")


def check_manifest(manifest: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuse records whose fingerprint is another one, and show where they differ.

    Keys that came since the records were made had their neutral values.

    Raises:
      InputError: names each differing entry, as the records have it (expected) and as it is asked for (was); or what a
        newer version has written and this one does not know.
    """
    saved, written_by = completed_fingerprint(manifest["fingerprint"], expected), manifest.get(VERSION, FIRST)
    source = Source("the manifest of records", of="records", where=f"{MANIFEST}, fingerprint", written_by=written_by)
    refuse_newer(saved.keys() - flat(expected).keys(), source)
    of_records, now = differing(saved, expected)
    if of_records:
        raise InputError(
            "the prepared records belong to other data or another config",
            where=f"{MANIFEST}, fingerprint",
            expected=of_records,
            was=now,
            remedy="give the data and values that the records were made with, name another --workdir, or delete its"
            " records folder to prepare them again",
        )
