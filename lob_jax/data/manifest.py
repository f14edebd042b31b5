"""The manifest beside prepared records: what they were made from, and how many there are."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from lob_jax.data.records import RecordPlan
from lob_jax.errors import InputError

FORMAT = 1  # raised whenever the content of a record changes its meaning
MANIFEST = "records.json"


def fingerprint(plan: RecordPlan, *, vocabulary_hash: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides the content of records, as plain JSON values.

    Args:
      plan: how days are cut.
      vocabulary_hash: of the tokenizer's vocabulary.
      inputs: what names the data: feed, settings and seeds of a simulation, sha256 of each file.
    """
    content = {"format": FORMAT, "vocabulary": vocabulary_hash, **dataclasses.asdict(plan), "inputs": dict(inputs)}
    return json.loads(json.dumps(content, sort_keys=True))


def load_manifest(folder: pathlib.Path) -> dict[str, Any]:
    """Return the manifest of prepared records.

    Keys: fingerprint; splits (events, records and tokens of each, leads not counted); days (symbol, trading_day,
    parts, report of the reader); outlines, see `Outline`.

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
