"""Prepare records on Apache Beam: the workers of any Beam runner read and tokenize the same days."""

import functools
import json
import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow_datasets as tfds

from lob_jax.data.records.files import write_whole
from lob_jax.data.records.jobs import Job
from lob_jax.data.records.records import RecordPlan, record_spans
from lob_jax.data.records.shards import Account, Place, Tally, account_path, day_records
from lob_jax.data.records.split import split_names
from lob_jax.errors import InputError
from lob_jax.tokens.tokenizer import Tokenizer

_DAY_BITS = 32  # low bits of a key, for the position of a record in its day

KeyedRecord = tuple[str, int, dict[str, Any]]


def download_config(runner: str, options: Sequence[str]) -> tfds.download.DownloadConfig:
    """Return the TFDS configuration for building on a Beam runner with these pipeline options.

    Raises:
      InputError: Beam is not installed.
    """
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise InputError(
            "Apache Beam is not installed",
            where="prepare_on_beam",
            expected="the package apache-beam",
            was=error,
            remedy='run pip install "lob_jax[beam]", or prepare without Beam',
        ) from error
    return tfds.download.DownloadConfig(beam_runner=runner, beam_options=PipelineOptions(list(options)))


def all_records(
    pipeline: Any, jobs: Sequence[Job], folder: pathlib.Path, tokenizer: Tokenizer, plan: RecordPlan
) -> Any:
    """Return the Beam collection of (split, key, record) of all days.

    Args:
      pipeline: the Beam pipeline.
      jobs: the days to read.
      folder: where workers write the accounts of the days; all of them must share it.
      tokenizer: encodes the events.
      plan: how days are divided into records.
    """
    import apache_beam

    make = functools.partial(keyed_records, order=split_order(jobs), folder=folder, tokenizer=tokenizer, plan=plan)
    return (
        pipeline
        | "jobs" >> apache_beam.Create(jobs)
        | "spread" >> apache_beam.Reshuffle()
        | "records" >> apache_beam.FlatMap(make)
    )


def of_split(records: Any, split: str) -> Any:
    """Return the Beam collection of the (key, record) pairs of one split."""
    import apache_beam

    return (
        records
        | f"{split} only" >> apache_beam.Filter(lambda item: item[0] == split)
        | f"{split} by key" >> apache_beam.Map(lambda item: item[1:])
    )


def split_order(jobs: Sequence[Job]) -> dict[tuple[str, int], int]:
    """Return the number of each day among the days of a split, from 0, by split and index of the day."""
    order: dict[tuple[str, int], int] = {}
    days_so_far: dict[str, int] = {}
    for place in sorted((place for job in jobs for place in job.places), key=lambda place: place.index):
        for split in split_names(place.trading_day, place.trading_days):
            order[split, place.index] = days_so_far.get(split, 0)
            days_so_far[split] = order[split, place.index] + 1
    return order


def keyed_records(
    job: Job, *, order: dict[tuple[str, int], int], folder: pathlib.Path, tokenizer: Tokenizer, plan: RecordPlan
) -> Iterator[KeyedRecord]:
    """Yield the split, key and record of all records of a job, and write the accounts of its days.

    Keys ascend with days and records. Those of a day are spaced evenly up to the first key of the next day, since TFDS
    divides the range of keys into shards.

    Args:
      job: the days to read.
      order: the result of `split_order`.
      folder: where to write the accounts.
      tokenizer: encodes the events.
      plan: how days are divided into records.
    """
    with tempfile.TemporaryDirectory() as store:
        for place, day in job.read(pathlib.Path(store)):
            parts = place.parts(len(day.events), plan)
            tally, done = Tally(parts, tokenizer), dict.fromkeys(parts, 0)
            counts = {
                part: len(record_spans(part, record_events=plan.record_events, context=plan.context)) for part in parts
            }
            for part, record in day_records(day, parts, tokenizer, plan):
                tally.add(part, record)
                within = (done[part] << _DAY_BITS) // counts[part]
                done[part] += 1
                yield part.name, (order[part.name, place.index] << _DAY_BITS) + within, record
            write_whole(account_path(folder, place), json.dumps(tally.account(day, plan)).encode())


def read_accounts(folder: pathlib.Path, places: Sequence[Place]) -> list[Account]:
    """Return the accounts written by the workers."""
    return [json.loads(account_path(folder, place).read_bytes()) for place in places]
