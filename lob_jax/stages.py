"""The stages of a run, in order: records, a trained model, its evaluation, new events, a summary of all that."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import ml_collections
import numpy as np
from rich.console import Console
from rich.table import Table

from lob_jax import config as configuration
from lob_jax.book.replay import snapshots_at
from lob_jax.data.builder import ReadDay, open_records, prepare_records
from lob_jax.data.dataset import TokenBookDataset, prepare_record
from lob_jax.data.manifest import load_manifest
from lob_jax.data.records import RecordPlan, record_corrections, record_instrument, record_start
from lob_jax.errors import InputError
from lob_jax.feeds.lobster import LobsterFeed
from lob_jax.feeds.lobster_files import find_pair
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.tokens.exact import ExactTokenizer

console = Console(highlight=False)


def write_json(path: pathlib.Path, content: Any) -> None:
    """Write a JSON file whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, path)


def tokenizer_of(config: ml_collections.ConfigDict) -> ExactTokenizer:
    """Return the tokenizer that a configuration names."""
    return ExactTokenizer(config.tokens.time_digits)


def record_plan(config: ml_collections.ConfigDict) -> RecordPlan:
    """Return how days become records."""
    data = config.data
    return RecordPlan(
        record_events=data.record_events,
        context=config.model.max_seq_length,
        book_levels=data.book_levels,
        train_fraction=data.train_fraction,
        validation_fraction=data.validation_fraction,
        embargo_events=data.embargo_events,
    )


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_days(config: ml_collections.ConfigDict) -> tuple[list[ReadDay], dict[str, Any]]:
    """Return functions that read a day each, oldest first, and what names their content: settings or hashes."""
    data = config.data
    if data.feed == "synthetic":
        feed = SyntheticFeed(data.synthetic_days, data.synthetic_events, config.seed)
        parameters = dataclasses.asdict(feed.parameters)
        inputs = {"seed": config.seed, "days": feed.days(), "events": data.synthetic_events, "parameters": parameters}
    else:
        feed = LobsterFeed()
        pairs = [find_pair(path) for path in feed.days(pathlib.Path(data.path))]
        halves = [half.path for pair in pairs for half in (pair.message, pair.orderbook)]
        inputs = {path.name: _sha256(path) for path in halves}
    days = feed.days() if data.feed == "synthetic" else feed.days(pathlib.Path(data.path))
    return [functools.partial(feed.read, day) for day in days], {"feed": data.feed, **inputs}


def prepare(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Read the feed, replay the book and write records, or find them there."""
    days, inputs = find_days(config)
    folder = workdir / "records"
    found = (folder / "records.json").exists()
    workdir.mkdir(parents=True, exist_ok=True)
    with console.status(f"reading {len(days)} day(s) of the {config.data.feed} feed"):
        manifest = prepare_records(
            days,
            folder=folder,
            tokenizer=tokenizer_of(config),
            plan=record_plan(config),
            inputs=inputs,
            on_day=lambda name, counts: console.print(
                f"{name}  {counts['split']:<10}  {counts['events']:>9,} events  {counts['tokens']:>10,} tokens"
            ),
        )
    write_json(workdir / "ingest_report.json", [day["report"] for day in manifest["days"]])
    splits = manifest["splits"].values()
    events, tokens = (sum(split[name] for split in splits) for name in ("events", "tokens"))
    state = "found" if found else "written"
    console.print(f"{events:,} events as {tokens:,} tokens ({tokens / events:.2f} an event), {state} in {folder}")
