"""Write one day's records as ArrayRecord files of bounded size, and a JSON account of the day next to them.

A file is renamed to its final name once it is complete. The account is written last: if it exists, the day is complete.
"""

import dataclasses
import itertools
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import count_states
from lob_jax.book.snapshot import CORRECTION_COLUMNS
from lob_jax.data.records.escapes import EscapeTally
from lob_jax.data.records.files import partial_path, sha256_of, write_whole
from lob_jax.data.records.flow import AXES
from lob_jax.data.records.flow import COLUMNS as FLOW_COLUMNS
from lob_jax.data.records.records import START_COLUMNS, START_NUMBERS, RecordPlan, make_records, outline
from lob_jax.data.records.reveals import training_reveals
from lob_jax.data.records.split import Part, day_parts
from lob_jax.data.records.stored_sets import COLUMNS, stores_sets
from lob_jax.events.schema import Kind
from lob_jax.feeds.feed import DaySource
from lob_jax.tokens.tokenizer import Tokenizer
from lob_jax.tokens.vocabulary import VOCAB_SIZE

RECORDS_A_SHARD = 1024
BYTES_A_SHARD = 256 * 2**20  # before compression

Account = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Place:
    """The position of one instrument's day among all days to prepare.

    Attributes:
      index: number of the day among all days of all instruments, from 0.
      source: where its data is.
      trading_day: number of its trading day, from 0, oldest first.
      trading_days: number of trading days.
    """

    index: int
    source: DaySource
    trading_day: int
    trading_days: int

    def parts(self, n_events: int, plan: RecordPlan) -> list[Part]:
        """Return the parts of the day, which belong to different splits.

        Raises:
          InputError: the day has too few events for its parts.
        """
        return day_parts(
            n_events,
            day=self.trading_day,
            days=self.trading_days,
            train_fraction=plan.train_fraction,
            validation_fraction=plan.validation_fraction,
            embargo_events=plan.embargo_events,
        )


def record_features(tokenizer: Tokenizer, plan: RecordPlan) -> tfds.features.FeaturesDict:
    """Return the TFDS features of a tokenizer's records: arrays are stored as bytes, numbers and text as they are."""

    def tensor(dtype: type | np.dtype, *shape: int | None) -> tfds.features.Tensor:
        return tfds.features.Tensor(shape=shape, dtype=dtype, encoding=tfds.features.Encoding.BYTES)

    flow = {name: (dtype, [None] * AXES[name]) for name, dtype in FLOW_COLUMNS.items() if plan.flow_state}
    return tfds.features.FeaturesDict(
        {
            "tokens": tensor(np.uint16, None),
            "features": tensor(np.float32, None, None),
            "clock_ns": tensor(np.int64, None),
            "mid2": tensor(np.int64, None),
            **{name: tfds.features.Scalar(np.int64) for name in ("lead_events", "first_event", "closed")},
            **{f"start_{name}": tfds.features.Scalar(dtype) for name, dtype in START_NUMBERS.items()},
            **{f"start_{name}": tensor(dtype, None) for name, dtype in START_COLUMNS.items()},
            **{f"correction_{name}": tensor(dtype, None) for name, dtype in CORRECTION_COLUMNS.items()},
            "instrument": tfds.features.Text(),
            **{name: tensor(dtype, None) for name, dtype in COLUMNS.items() if stores_sets(tokenizer)},
            **{name: tensor(dtype, *axes) for name, (dtype, axes) in flow.items()},
        }
    )


def day_records(
    day: MarketDay, parts: Sequence[Part], tokenizer: Tokenizer, plan: RecordPlan
) -> Iterator[tuple[Part, dict[str, Any]]]:
    """Yield the records of some parts of a day as stored, without the tokenizer, which the vocabulary file names."""
    shape: dict[str, Any] = {"record_events": plan.record_events, "context": plan.context}
    shape |= {"book_levels": plan.book_levels, "flow_state": plan.flow_state}
    for part, record in make_records(day, parts, tokenizer, **shape):
        del record["tokenizer"]
        yield part, record


class Tally:
    """Accumulate counts of a day's records."""

    def __init__(self, parts: Sequence[Part], tokenizer: Tokenizer):
        self._parts, self._tokenizer = parts, tokenizer
        self._outlines: dict[str, list[list[int]]] = {part.name: [] for part in parts}
        self._tokens = {part.name: np.zeros(VOCAB_SIZE, np.int64) for part in parts}
        self._escapes = {part.name: EscapeTally() for part in parts}

    def add(self, part: Part, record: dict[str, Any]) -> None:
        """Count one record, with its own tokens, excluding those of its lead and its EOS."""
        about = outline(record)
        self._outlines[part.name].append(list(dataclasses.astuple(about)))
        self._tokens[part.name] += np.bincount(record["tokens"][about.lead_tokens : -1], minlength=VOCAB_SIZE)
        self._escapes[part.name].add(record, self._tokenizer, first=about.lead_tokens)

    def account(self, day: MarketDay, plan: RecordPlan) -> Account:
        """Return the account of a day after all its records have been counted, as JSON values.

        Keys: symbol, trading_day, instrument; parts (split, events, records and tokens of each); report, that of the
        reader plus the contradictions found in replaying the complete day, including events between the parts;
        outlines, token_counts, escapes (see `EscapeTally.content`), largest_sizes (see `largest_sizes`) and reveals
        (see `training_reveals`) by split.
        """
        counts = count_states(day)
        renamed = {"crossed": "crossed_states", "locked": "locked_states"}
        parts = [
            {
                "split": part.name,
                "events": part.events,
                "records": len(self._outlines[part.name]),
                "tokens": int(self._tokens[part.name].sum()),
            }
            for part in self._parts
        ]
        return {
            "symbol": day.instrument.symbol,
            "trading_day": day.instrument.trading_day,
            "instrument": day.instrument.to_dict(),
            "parts": parts,
            "report": {**day.report, **{renamed.get(name, name): count for name, count in counts.items()}},
            "outlines": self._outlines,
            "token_counts": {name: tokens.tolist() for name, tokens in self._tokens.items()},
            "escapes": {name: tally.content() for name, tally in self._escapes.items()},
            "largest_sizes": {part.name: largest_sizes(day, part) for part in self._parts},
            "reveals": training_reveals(day, self._parts, plan),
        }


def largest_sizes(day: MarketDay, part: Part) -> list[int]:
    """Return the largest size of an event of each kind in a part of a day, by kind; 0 for a kind without events."""
    largest = np.zeros(len(Kind) + 1, np.int64)
    rows = slice(part.first, part.last)
    np.maximum.at(largest, day.events.kind[rows], day.events.size[rows])
    return largest.tolist()


def write_day(place: Place, day: MarketDay, *, folder: pathlib.Path, tokenizer: Tokenizer, plan: RecordPlan) -> Account:
    """Write the shards of one day, then its account, which also lists the shards: file, records, bytes, sha256.

    Args:
      place: the position of the day.
      day: its events.
      folder: where to write the files.
      tokenizer: encodes the events.
      plan: how days are divided into records.

    Raises:
      InputError: the day cannot be divided or tokenized; it then has no account, and its shards are ignored.
    """
    parts = place.parts(len(day.events), plan)
    tally, features = Tally(parts, tokenizer), record_features(tokenizer, plan)
    serializer = ExampleSerializer(features.get_serialized_info())

    def encoded(records: Iterable[tuple[Part, dict[str, Any]]]) -> Iterator[bytes]:
        for part, record in records:
            tally.add(part, record)
            example = serializer.get_tf_example(features.encode_example(record))
            # A protobuf map otherwise has an order that differs between processes, and so would the file's sha256.
            yield example.SerializeToString(deterministic=True)

    shards: dict[str, list[dict[str, Any]]] = {}
    for part, records in itertools.groupby(day_records(day, parts, tokenizer, plan), key=lambda pair: pair[0]):
        shards[part.name] = list(_write_shards(encoded(records), folder / f"{place.index:05}-{part.name}"))
    account = {**tally.account(day, plan), "shards": shards}
    write_whole(account_path(folder, place), json.dumps(account).encode())
    return account


def account_path(folder: pathlib.Path, place: Place) -> pathlib.Path:
    """Return the path of the account of a day."""
    return folder / f"{place.index:05}.json"


def _write_shards(contents: Iterator[bytes], stem: pathlib.Path) -> Iterator[dict[str, Any]]:
    """Write records to files of bounded size, and yield the description of each file."""
    for number in itertools.count():
        first = next(contents, None)
        if first is None:
            return
        yield _write_shard(itertools.chain([first], contents), stem.with_name(f"{stem.name}-{number:05}"))


def _write_shard(contents: Iterable[bytes], path: pathlib.Path) -> dict[str, Any]:
    """Write records to a file until it is full or no record is left; return the description of the file."""
    partial, records, size = partial_path(path), 0, 0
    writer = ArrayRecordWriter(str(partial), "group_size:1")  # one record per chunk, for fast random access
    try:
        for content in contents:
            writer.write(content)
            records, size = records + 1, size + len(content)
            if records >= RECORDS_A_SHARD or size >= BYTES_A_SHARD:
                break
    finally:
        writer.close()
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)
    return {"file": path.name, "records": records, "bytes": size, "sha256": sha256_of(path)}
