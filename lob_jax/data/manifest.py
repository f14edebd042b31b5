"""The manifest beside prepared records: what they were made from, and how many there are."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lob_jax.data.records import RecordPlan
from lob_jax.data.split import SPLITS
from lob_jax.errors import InputError
from lob_jax.feeds.feed import DaySource

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
    names = ("price_scale", "tick", "lot_scale")
    was, expected = ({name: day["instrument"][name] for name in names} for day in (account, other))
    if was != expected:
        raise InputError(
            "two days of an instrument differ in tick or scales",
            where=f"{account['symbol']} {account['trading_day']}",
            expected=f"{expected}, as on {other['trading_day']}",
            was=was,
            remedy="name them by --config.data.tick= and --config.data.lot= if they were inferred from the files, "
            "else prepare these days apart",
        )


def load_manifest(folder: pathlib.Path) -> dict[str, Any]:
    """Return the manifest of prepared records.

    Keys: fingerprint; splits (events, records and tokens of each, leads not counted); days (symbol, trading_day,
    instrument, parts, report of the reader and of the replay); by split outlines, see `Outline`, and token_counts,
    int [V], leads and EOS not counted; shards (records, bytes before compression and sha256 of each file).

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


def check_manifest(manifest: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuse records whose fingerprint is another one, and show where they differ.

    Raises:
      InputError: names each differing entry with both values.
    """
    was = manifest["fingerprint"]
    differing = sorted(key for key in {*was, *expected} if was.get(key) != expected.get(key))
    if differing:
        raise InputError(
            "the prepared records belong to other data or another config",
            where=f"{MANIFEST}, fingerprint",
            expected={key: expected.get(key) for key in differing},
            was={key: was.get(key) for key in differing},
            remedy="name another --workdir, or delete its records folder to prepare them again",
        )
