"""The manifest of prepared records: what determined their content, and their numbers."""

import dataclasses
import decimal
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lob_jax.data.records.records import RecordPlan
from lob_jax.data.records.split import SPLITS
from lob_jax.data.records.stored_sets import stores_sets
from lob_jax.errors import InputError, differing, flat
from lob_jax.feeds.feed import DaySource
from lob_jax.later_keys import FIRST, VERSION, Source, completed, refuse_newer, version
from lob_jax.tokens.tokenizer import Tokenizer

# Incremented whenever the content of a record changes its meaning.
FORMAT = 3
FORMAT_WITH_SETS = 4  # of records that hold token sets, see `stored_sets`; up to 3 they held none
FORMAT_WITH_FLOW = 7  # of records that also hold the state of the flow, see `flow`; up to 6 it lacked what is usual
MANIFEST = "records.json"


def record_format(tokenizer: Tokenizer | type[Tokenizer], *, flow_state: bool) -> int:
    """Return the format of the records that this version writes of a tokenizer's tokens, with the flow or without."""
    if flow_state:
        return FORMAT_WITH_FLOW
    return FORMAT_WITH_SETS if stores_sets(tokenizer) else FORMAT


def fingerprint(
    days: Sequence[DaySource], plan: RecordPlan, *, tokenizer: Tokenizer, inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return everything that determines the content of records, as plain JSON values.

    Args:
      days: the days, in order.
      plan: how they are divided.
      tokenizer: the tokenizer of the events.
      inputs: what identifies the data: the feed, its settings, the seeds of a simulation, the sha256 of each file.
    """
    content = {
        "format": record_format(tokenizer, flow_state=plan.flow_state),
        "vocabulary": tokenizer.vocabulary.hash,
        # The format says whether there is the state of the flow.
        **{name: value for name, value in dataclasses.asdict(plan).items() if name != "flow_state"},
        "days": [f"{day.symbol} {day.trading_day}" for day in days],
        "inputs": dict(inputs),
    }
    return json.loads(json.dumps(content, sort_keys=True))


def make_manifest(
    wanted: Mapping[str, Any], accounts: Sequence[Mapping[str, Any]], shards: Mapping[str, Any]
) -> dict[str, Any]:
    """Assemble the manifest of records.

    Args:
      wanted: their fingerprint.
      accounts: the accounts of the days, in order, see `shards.Tally`.
      shards: number of records, bytes before compression and sha256, by file name.
    """
    kept = ("symbol", "trading_day", "instrument", "parts", "escapes", "largest_sizes", "report")
    return {
        VERSION: version(),
        "fingerprint": dict(wanted),
        "splits": {name: _totals(name, accounts) for name in SPLITS},
        "days": [{key: account[key] for key in kept if key in account} for account in accounts],
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
    """Check that the integers of a day mean the same as those of another day of its instrument.

    Raises:
      InputError: they do not; names the tick and the scales of both days.
    """
    was, expected = (_steps(day["instrument"]) for day in (account, other))
    if was != expected:
        named = " ".join(f"--config.data.{name}={min(was[name], expected[name]):f}" for name in ("tick", "lot"))
        raise InputError(
            "two days of an instrument differ in tick or scales",
            where=f"{account['symbol']} {account['trading_day']}",
            expected=f"{_listed(expected)}, as on {other['trading_day']}",
            was=_listed(was),
            remedy=f"if they were inferred from the files, name the finer ones: {named}; else prepare them separately",
        )


def _steps(instrument: Mapping[str, Any]) -> dict[str, decimal.Decimal]:
    """Return the tick, the lot and the unit of prices, in units of currency and of quantity."""
    units = {"tick": (instrument["tick"], "price_scale"), "lot": (1, "lot_scale"), "prices in": (1, "price_scale")}
    return {name: (decimal.Decimal(count) / instrument[of]).normalize() for name, (count, of) in units.items()}


def _listed(steps: Mapping[str, decimal.Decimal]) -> str:
    return ", ".join(f"{name} {step:f}" for name, step in steps.items())


def load_manifest(folder: pathlib.Path) -> dict[str, Any]:
    """Return the manifest of prepared records.

    Its keys are:
      version: version of lob_jax; early manifests of 0.1.0 lack it;
      fingerprint: see `fingerprint`;
      splits: events, records and tokens of each split, not counting leads;
      days: symbol, trading_day, instrument, parts, escapes, largest_sizes, and the report of reading and replay, of
        each day; without largest_sizes if they were prepared by an earlier version;
      outlines: see `Outline`, by split;
      token_counts: int [V], not counting leads and EOS, by split;
      shards: records, bytes before compression and sha256, by file name;
      reveals: rows and sha256, by file name, see `reveals.write_reveals`; absent from records of an earlier version.

    Raises:
      InputError: there is no manifest, it cannot be read, or the records are of an earlier format.
    """
    manifest = read_manifest(folder)
    _refuse_earlier(manifest, FORMAT, where=pathlib.Path(folder) / MANIFEST)
    return manifest


def is_earlier(manifest: Mapping[str, Any], wanted: int) -> bool:
    """Return whether records are of an earlier format than the wanted one, see `record_format`."""
    return manifest["fingerprint"].get("format", FORMAT) < wanted


def _refuse_earlier(manifest: Mapping[str, Any], wanted: int, *, where: object) -> None:
    if is_earlier(manifest, wanted):
        raise InputError(
            "the prepared records are of an earlier format",
            where=where,
            expected=f"format {wanted}",
            was=f"format {manifest['fingerprint'].get('format', FORMAT)}",
            remedy="run --mode=prepare with this config and --workdir: it keeps them beside the new ones",
        )


def read_manifest(folder: pathlib.Path) -> dict[str, Any]:
    """Return the manifest of prepared records of any format.

    Raises:
      InputError: there is no manifest, or it cannot be read.
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
    """Flatten a fingerprint, and add the neutral values of expected keys that are newer than it."""
    return completed(flat(saved), flat(expected), inside="data.")


def check_manifest(manifest: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Check that records have the expected fingerprint.

    Keys that are newer than the records count as having had their neutral values.

    Raises:
      InputError: they do not; lists the differing entries of the records (expected) and of the request (was). Or they
        are of an earlier format, or a newer version wrote them, with keys that this one does not know.
    """
    _refuse_earlier(manifest, expected.get("format", FORMAT), where=f"{MANIFEST}, fingerprint")
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
            remedy="use the data and values that the records were made with, pass another --workdir, or delete its"
            " records folder to prepare them again",
        )
