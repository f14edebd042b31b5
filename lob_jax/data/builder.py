"""Records on disk: a TFDS data set of ArrayRecord shards, built at once or not at all, and its manifest."""

import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from lob_jax.data.manifest import MANIFEST, check_manifest, fingerprint, load_manifest
from lob_jax.data.records import CORRECTION_COLUMNS, START_COLUMNS, Outline, RecordPlan, make_records, outline
from lob_jax.data.split import SPLITS, day_parts, split_names
from lob_jax.errors import InputError
from lob_jax.feeds.feed import MarketDay
from lob_jax.tokens.tokenizer import Tokenizer

VOCABULARY = "vocabulary.json"
RECORDS_A_SHARD = 1024
RECORDS_A_WRITE = 64

ReadDay = Callable[[], MarketDay]
OnDay = Callable[[str, dict[str, Any]], None]


def record_features() -> tfds.features.FeaturesDict:
    """Return how TFDS stores a record: arrays as their bytes, numbers and text as such."""

    def tensor(dtype: type, *shape: int | None) -> tfds.features.Tensor:
        return tfds.features.Tensor(shape=shape, dtype=dtype, encoding=tfds.features.Encoding.BYTES)

    numbers = ("lead_events", "first_event", "start_time_ns", "start_window")
    return tfds.features.FeaturesDict(
        {
            "tokens": tensor(np.uint16, None),
            "features": tensor(np.float32, None, None),
            "clock_ns": tensor(np.int64, None),
            "mid2": tensor(np.int64, None),
            **{name: tfds.features.Scalar(np.int64) for name in numbers},
            **{f"start_{name}": tensor(dtype, None) for name, dtype in START_COLUMNS.items()},
            **{f"correction_{name}": tensor(dtype, None) for name, dtype in CORRECTION_COLUMNS.items()},
            "instrument": tfds.features.Text(),
        }
    )


class LobEvents(tfds.core.GeneratorBasedBuilder):
    """The TFDS builder `lob_events`; `days` are read when they are needed, the last one is kept.

    Days of later splits must lie later: the trading days of two splits that share no day never touch.
    """

    VERSION = tfds.core.Version("1.0.0")
    url_infos: ClassVar[dict[str, Any]] = {}  # nothing is downloaded; TFDS would look for a list beside this file

    def __init__(
        self,
        *,
        days: Sequence[ReadDay],
        tokenizer: Tokenizer,
        plan: RecordPlan,
        on_day: OnDay | None = None,
        **tfds_arguments: Any,
    ):
        self.days, self.tokenizer, self.plan, self.on_day = days, tokenizer, plan, on_day
        self.outlines: dict[str, list[Outline]] = {name: [] for name in SPLITS}
        self.day_reports: dict[int, dict[str, Any]] = {}
        self._held: tuple[int, MarketDay] | None = None
        super().__init__(file_format="array_record", **tfds_arguments)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Order-book events as tokens, with clock and book features; every record decodes alone.",
            features=record_features(),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[Any]]:
        del dl_manager  # the days are at hand
        return {name: self._generate_examples(name) for name in SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for index in range(len(self.days)):
            if split in split_names(index, len(self.days)):
                for record in self._day_records(index, split):
                    self.outlines[split].append(outline(record))
                    yield len(self.outlines[split]), record

    def _day_records(self, index: int, split: str) -> Iterator[dict[str, Any]]:
        """Yield the records that one day gives to a split, and note their counts."""
        plan, day = self.plan, self._read(index)
        parts = day_parts(
            len(day.events),
            day=index,
            days=len(self.days),
            train_fraction=plan.train_fraction,
            validation_fraction=plan.validation_fraction,
            embargo_events=plan.embargo_events,
        )
        part = next(part for part in parts if part.name == split)
        counts = {"split": split, "events": part.events, "records": 0, "tokens": 0}
        shape = {"record_events": plan.record_events, "context": plan.context, "book_levels": plan.book_levels}
        for record in make_records(day, part, self.tokenizer, **shape):
            about = outline(record)
            counts["records"] += 1
            counts["tokens"] += about.tokens - about.lead_tokens
            yield record
        report = self.day_reports[index]
        report["parts"].append(counts)
        if self.on_day is not None:
            self.on_day(f"{report['symbol']} {report['trading_day']}", counts)

    def _read(self, index: int) -> MarketDay:
        """Return a day; checks that it lies behind the days of earlier splits."""
        if self._held is None or self._held[0] != index:
            self._held = None  # two days need not fit the memory
            self._held = (index, self.days[index]())
        day = self._held[1]
        if index not in self.day_reports:
            self.day_reports[index] = {
                "symbol": day.instrument.symbol,
                "trading_day": day.instrument.trading_day,
                "parts": [],
                "report": day.report,
            }
            self._check_order(index)
        return day

    def _check_order(self, index: int) -> None:
        names = split_names(index, len(self.days))
        this = self.day_reports[index]["trading_day"]
        for other, report in self.day_reports.items():
            if names != split_names(other, len(self.days)) and report["trading_day"] >= this:
                raise InputError(
                    f"the days of {' and '.join(names)} do not lie behind those of earlier splits",
                    where=f"day {index + 1} of {len(self.days)}",
                    expected=f"a trading day after {report['trading_day']}",
                    was=this,
                    remedy="give the days oldest first, one instrument at a time",
                )

    def _download_and_prepare(
        self,
        dl_manager: tfds.download.DownloadManager,
        download_config: tfds.download.DownloadConfig | None = None,
    ) -> None:
        """Write the splits as their records come.

        The writer that TFDS would use holds up to 1 GB of a split in memory and needs TensorFlow beyond that.
        """
        del download_config
        info = self._info()
        writer = tfds.core.SequentialWriter(info, max_examples_per_shard=RECORDS_A_SHARD, file_format="array_record")
        generators = self._split_generators(dl_manager)
        writer.initialize_splits(list(generators))
        for name, examples in generators.items():
            for group in _grouped(examples):
                writer.add_examples({name: group})
        writer.close_all()
        self.info.set_splits(info.splits)

    def _log_download_bytes(self) -> None:
        """Print nothing: nothing is downloaded, and a library does not print."""

    _log_download_done = _log_download_bytes


def _grouped(examples: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    for _, record in examples:
        group.append(record)
        if len(group) == RECORDS_A_WRITE:
            yield group
            group = []
    if group:
        yield group


def prepare_records(
    days: Sequence[ReadDay],
    *,
    folder: pathlib.Path,
    tokenizer: Tokenizer,
    plan: RecordPlan,
    inputs: Mapping[str, Any],
    on_day: OnDay | None = None,
) -> dict[str, Any]:
    """Build the records of some days in a folder, or find them there, and return their manifest.

    They are built beside the folder and moved there whole. What a run that was killed has left is removed
    first; records of other data or another config are refused, never overwritten.

    Args:
      days: functions that read one day each, oldest first.
      folder: where the records shall lie: shards, records.json and vocabulary.json.
      tokenizer: how events become tokens.
      plan: how days become splits and records.
      inputs: what names the data, see `fingerprint`.
      on_day: called with a day's name and its counts ("split", "events", "records", "tokens") after each part.

    Raises:
      InputError: the folder holds other records or other things; a day cannot be read, cut or tokenized.
    """
    wanted = fingerprint(plan, vocabulary_hash=tokenizer.vocabulary.hash, inputs=inputs)
    if (folder / MANIFEST).exists():
        manifest = load_manifest(folder)
        check_manifest(manifest, wanted)
        return manifest
    _check_free(folder, days)
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        manifest = _build(partial, days, tokenizer=tokenizer, plan=plan, on_day=on_day, wanted=wanted)
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def _check_free(folder: pathlib.Path, days: Sequence[ReadDay]) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise InputError(
            "the folder for records holds something else",
            where=folder,
            expected=f"no such folder, or one with a {MANIFEST}",
            was=sorted(path.name for path in folder.iterdir())[:5],
            remedy="name another --workdir, or move these files away",
        )
    if not days:
        raise InputError(
            "there is no day to make records of",
            where="config.data",
            expected="at least one day",
            was=0,
            remedy="name a file, or a folder with files, of the feed",
        )


def _build(
    partial: pathlib.Path,
    days: Sequence[ReadDay],
    *,
    tokenizer: Tokenizer,
    plan: RecordPlan,
    on_day: OnDay | None,
    wanted: dict[str, Any],
) -> dict[str, Any]:
    """Write shards, vocabulary and manifest into a new folder."""
    partial.mkdir(parents=True)
    tfds.disable_progress_bar()
    builder = LobEvents(days=days, tokenizer=tokenizer, plan=plan, on_day=on_day, data_dir=partial)
    downloads = partial / "downloads"
    builder.download_and_prepare(download_dir=downloads)
    shutil.rmtree(downloads, ignore_errors=True)
    tokenizer.vocabulary.save(partial / VOCABULARY)
    manifest = {
        "fingerprint": wanted,
        "splits": {name: _totals(name, builder.day_reports) for name in SPLITS},
        "days": [builder.day_reports[index] for index in sorted(builder.day_reports)],
        "outlines": {name: [dataclasses.astuple(about) for about in builder.outlines[name]] for name in SPLITS},
    }
    text = json.dumps(manifest)
    (partial / MANIFEST).write_text(text, encoding="utf-8")
    return json.loads(text)


def _totals(split: str, day_reports: dict[int, dict[str, Any]]) -> dict[str, int]:
    parts = [part for report in day_reports.values() for part in report["parts"] if part["split"] == split]
    return {name: sum(part[name] for part in parts) for name in ("events", "records", "tokens")}


class PreparedRecords:
    """The records of one split, by index, as dicts of NumPy arrays; can be sent to other processes."""

    def __init__(self, source: Sequence[dict[str, Any]], outlines: list[Outline]):
        self._source, self.outlines = source, outlines

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one record, see `make_records`; its arrays cannot be written to."""
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        record = dict(self._source[index])
        record["instrument"] = record["instrument"].decode()
        return record


def open_records(folder: pathlib.Path, split: str) -> PreparedRecords:
    """Open the records of one split for random access.

    Raises:
      InputError: there are no prepared records, or no such split.
    """
    manifest = load_manifest(folder)
    if split not in manifest["outlines"]:
        raise InputError(
            "no such split", where=folder, expected=list(manifest["outlines"]), was=split, remedy="name one of them"
        )
    version = pathlib.Path(folder) / LobEvents.name / str(LobEvents.VERSION)
    source = tfds.builder_from_directory(version).as_data_source(split)
    return PreparedRecords(source, [Outline(*about) for about in manifest["outlines"][split]])
