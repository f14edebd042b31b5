"""Records on disk: a TFDS data set of ArrayRecord shards, built by several processes or on Apache Beam, read by index.

The shards of a day are written by one process. If preparation is interrupted, running it again continues with the
remaining days and produces the same bytes.
"""

import os
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from lob_jax.data.records import beam
from lob_jax.data.records.decoding import Column, StoredRecord, columns_of
from lob_jax.data.records.files import sha256_of
from lob_jax.data.records.folder import DAYS, find_or_build
from lob_jax.data.records.jobs import finished, lay_out, make_jobs, write_days
from lob_jax.data.records.manifest import check_scales, fingerprint, load_manifest, make_manifest
from lob_jax.data.records.records import Outline, RecordPlan
from lob_jax.data.records.reveals import write_reveals
from lob_jax.data.records.shards import Account, record_features
from lob_jax.data.records.split import SPLITS
from lob_jax.errors import InputError
from lob_jax.feeds.feed import STRICT, DaySource, Feed, Reading
from lob_jax.tokens.tokenizer import Tokenizer
from lob_jax.tokens.vocabulary import Vocabulary

VOCABULARY = "vocabulary.json"

OnDay = Callable[[str, dict[str, Any]], None]


class LobEvents(tfds.core.GeneratorBasedBuilder):
    """The TFDS builder `lob_events`, which runs in processes on this machine or on Apache Beam.

    `DownloadConfig(beam_runner=..., beam_options=...)` selects Beam, see `prepare_on_beam`.

    Attributes:
      accounts: the account of each day, see `shards.Tally`; empty before preparation.
      shards: number of records and sha256 of each file, by name; empty before preparation.
    """

    VERSION = tfds.core.Version("1.0.0")
    url_infos: ClassVar[dict[str, Any]] = {}  # otherwise TFDS would look for a list of downloads next to this file

    def __init__(
        self,
        feed: Feed,
        days: Sequence[DaySource],
        *,
        tokenizer: Tokenizer,
        plan: RecordPlan,
        data_dir: pathlib.Path,
        reading: Reading = STRICT,
        processes: int | None = 1,
        on_day: OnDay | None = None,
    ):
        """Set up the builder; see `prepare_records`. Completed days are kept in the folder `DAYS` of `data_dir`.

        Raises:
          InputError: there are no days, or they are not sorted from the oldest.
        """
        self.feed, self.reading, self.places = feed, reading, lay_out(days)
        self.tokenizer, self.plan, self.processes, self.on_day = tokenizer, plan, processes, on_day
        self.accounts: list[Account] = []
        self.shards: dict[str, dict[str, Any]] = {}
        self._first_accounts: dict[str, Account] = {}  # by symbol
        self._days_folder = pathlib.Path(data_dir) / DAYS
        super().__init__(file_format="array_record", data_dir=data_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Order-book events as tokens, with clock and book features; every record decodes alone.",
            features=record_features(self.tokenizer, self.plan),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager, pipeline: Any) -> dict[str, Any]:
        """Return the Beam collections of all splits, from a single reading of each day."""
        del dl_manager  # nothing is downloaded
        jobs = make_jobs(self.feed, self.places, self.reading)
        records = beam.all_records(pipeline, jobs, self._days_folder, self.tokenizer, self.plan)
        return {name: self._generate_examples(records, name) for name in SPLITS}

    def _generate_examples(self, records: Any, split: str) -> Any:
        """Return the Beam collection of the (key, record) pairs of a split."""
        return beam.of_split(records, split)

    def _download_and_prepare(
        self, dl_manager: tfds.download.DownloadManager, download_config: tfds.download.DownloadConfig
    ) -> None:
        """Write the splits.

        Without Beam, TFDS's own writer is not used: it keeps up to 1 GB of a split in memory, and needs TensorFlow for
        more.
        """
        if download_config.beam_runner or download_config.beam_options:
            shutil.rmtree(self._days_folder, ignore_errors=True)
            self._days_folder.mkdir(parents=True)
            super()._download_and_prepare(dl_manager, download_config)
            self.accounts = beam.read_accounts(self._days_folder, self.places)
            for account in self.accounts:
                self._note(account)
            self._hash_shards()
        else:
            self.accounts = self._write_days()
            self.info.set_splits(tfds.core.SplitDict([self._take_split(name) for name in SPLITS]))

    def _write_days(self) -> list[Account]:
        """Write the days that are not complete yet; return the accounts of all days."""
        done = finished(self._days_folder, self.places)
        for account in done.values():
            self._check_scales(account)
        write_days(
            make_jobs(self.feed, [place for place in self.places if place.index not in done], self.reading),
            folder=self._days_folder,
            tokenizer=self.tokenizer,
            plan=self.plan,
            processes=self.processes,
            on_account=self._note,
        )
        done = finished(self._days_folder, self.places)
        return [done[place.index] for place in self.places]

    def _note(self, account: Account) -> None:
        """Check the account of a new day, and report it."""
        self._check_scales(account)
        if self.on_day is not None:
            for part in account["parts"]:
                self.on_day(f"{account['symbol']} {account['trading_day']}", part)

    def _check_scales(self, account: Account) -> None:
        check_scales(account, self._first_accounts.setdefault(account["symbol"], account))

    def _take_split(self, split: str) -> tfds.core.SplitInfo:
        """Add the names by which TFDS finds the days' shards; the old names remain until all is complete."""
        shards = [shard for account in self.accounts for shard in account["shards"].get(split, ())]
        names = tfds.core.ShardedFileTemplate(
            data_dir=self.data_path, dataset_name=self.name, split=split, filetype_suffix="array_record"
        )
        for number, shard in enumerate(shards):
            path = pathlib.Path(names.sharded_filepath(shard_index=number, num_shards=len(shards)))
            _link(self._days_folder / shard["file"], path)
            self.shards[path.name] = {key: shard[key] for key in ("records", "sha256")}
        return tfds.core.SplitInfo(
            name=split,
            shard_lengths=[shard["records"] for shard in shards],
            num_bytes=sum(shard["bytes"] for shard in shards),
            filename_template=names,
        )

    def _hash_shards(self) -> None:
        """Record the shards that Beam has written, with their hashes."""
        for split in self.info.splits.values():
            for path, records in zip(split.filepaths, split.shard_lengths, strict=True):
                self.shards[path.name] = {"records": records, "sha256": sha256_of(pathlib.Path(path))}

    def _log_download_bytes(self) -> None:
        """Print nothing, because nothing is downloaded."""

    _log_download_done = _log_download_bytes


def _link(source: pathlib.Path, path: pathlib.Path) -> None:
    """Hard-link a file, or copy it if the file system has no hard links."""
    try:
        os.link(source, path)
    except OSError:
        shutil.copyfile(source, path)


def prepare_records(
    feed: Feed,
    days: Sequence[DaySource],
    *,
    folder: pathlib.Path,
    tokenizer: Tokenizer,
    plan: RecordPlan,
    inputs: Mapping[str, Any],
    reading: Reading = STRICT,
    processes: int | None = None,
    on_day: OnDay | None = None,
) -> dict[str, Any]:
    """Prepare the records of some days in a folder unless they exist there already, and return their manifest.

    Days are read and written by separate processes, each in bounded memory. If preparation is interrupted, its
    completed days are kept next to the folder, and the same call continues from there. Existing records of other data
    or of another configuration are refused, never overwritten.

    Args:
      feed: the feed of the days; must be picklable.
      days: the days, oldest first.
      folder: the folder for the shards, records.json and vocabulary.json.
      tokenizer: the tokenizer of the events.
      plan: how days are divided into splits and records.
      inputs: what identifies the data, see `fingerprint`.
      reading: how files are read; `store` is ignored, and `on_bytes` is called only for files read by this process.
      processes: number of worker processes, None for one per core. With more than one, a script must guard its main
        code by `if __name__ == "__main__"`, because the workers import it.
      on_day: called with a day's name and the counts ("split", "events", "records", "tokens") of each of its parts
        whenever a day is complete, in order of completion.

    Raises:
      InputError: the folder contains other records or other files, or another process is working on it; days are out
        of order, cannot be read, divided or tokenized, or differ in their scales.
    """
    arguments = {"tokenizer": tokenizer, "plan": plan, "reading": reading, "processes": processes, "on_day": on_day}

    def build(partial: pathlib.Path) -> dict[str, Any]:
        _remove_data_set(partial)
        return _build(LobEvents(feed, days, data_dir=partial, **arguments), partial, wanted, config=None)

    wanted = fingerprint(days, plan, tokenizer=tokenizer, inputs=inputs)
    return find_or_build(folder, wanted, build)


def prepare_on_beam(
    feed: Feed,
    days: Sequence[DaySource],
    *,
    folder: pathlib.Path,
    tokenizer: Tokenizer,
    plan: RecordPlan,
    inputs: Mapping[str, Any],
    reading: Reading = STRICT,
    runner: str = "DirectRunner",
    options: Sequence[str] = (),
) -> dict[str, Any]:
    """Prepare on Apache Beam the records that `prepare_records` prepares, in other shards; return their manifest.

    Workers read days and write records in any order; within a shard, records are in the order of the days. Every worker
    must reach the files of the feed and the folder under the same paths, and must have lob_jax installed. A pipeline
    that fails leaves nothing behind.

    Args:
      feed: see `prepare_records`, also for the arguments that are not listed here.
      runner: the name of the Beam runner. Examples, with options as Beam documents them for the command line:
        "DirectRunner", this machine: `["--direct_num_workers=4", "--direct_running_mode=multi_processing"]`;
        "DataflowRunner": `["--project=...", "--region=...", "--temp_location=gs://...",
        "--sdk_container_image=...", "--experiments=use_runner_v2"]`, the image with lob_jax and a mount of the files;
        "FlinkRunner": `["--flink_master=host:8081", "--environment_type=LOOPBACK"]`, or `DOCKER` with an image;
        "SparkRunner": `["--spark_master_url=spark://host:7077", "--environment_type=LOOPBACK"]`, or another runner's
        job server: "PortableRunner" with `["--job_endpoint=host:8099"]`.
      options: options of the runner.

    Raises:
      InputError: as `prepare_records`, or Beam is not installed. If a worker fails, the runner raises its own error.
    """
    config = beam.download_config(runner, options)

    def build(partial: pathlib.Path) -> dict[str, Any]:
        _remove_data_set(partial)
        builder = LobEvents(feed, days, data_dir=partial, tokenizer=tokenizer, plan=plan, reading=reading)
        try:
            return _build(builder, partial, wanted, config=config)
        except BaseException:
            shutil.rmtree(partial / DAYS, ignore_errors=True)
            raise

    wanted = fingerprint(days, plan, tokenizer=tokenizer, inputs=inputs)
    return find_or_build(folder, wanted, build)


def _remove_data_set(partial: pathlib.Path) -> None:
    """Remove the data set of a preparation that was interrupted at its end; TFDS would take it for complete."""
    shutil.rmtree(partial / LobEvents.name, ignore_errors=True)


def _build(
    builder: LobEvents, partial: pathlib.Path, wanted: Mapping[str, Any], *, config: tfds.download.DownloadConfig | None
) -> dict[str, Any]:
    """Write the data set, the vocabulary and what came into view to a folder, and return the manifest."""
    tfds.disable_progress_bar()
    downloads = partial / "downloads"
    builder.download_and_prepare(download_dir=downloads, download_config=config)
    shutil.rmtree(downloads, ignore_errors=True)
    builder.tokenizer.vocabulary.save(partial / VOCABULARY)
    manifest = make_manifest(wanted, builder.accounts, builder.shards)
    return {**manifest, **write_reveals(partial, builder.accounts)}


class PreparedRecords:
    """The records of one split, by index; picklable."""

    def __init__(
        self, source: Sequence[bytes], columns: Mapping[str, Column], outlines: list[Outline], *, tokenizer: str
    ):
        self._source, self._columns, self.outlines, self._beside = source, columns, outlines, {"tokenizer": tokenizer}

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> StoredRecord:
        """Return one record, see `make_records`; its arrays are read-only."""
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        return StoredRecord(self._source[index], self._columns, self._beside)


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
    builder = tfds.builder_from_directory(version)
    how = {"deserialize_method": tfds.decode.DeserializeMethod.RAW_BYTES}
    source: Any = builder.as_data_source(split, **how)  # ty: ignore[invalid-argument-type]  # a decorator hides `self`
    columns, outlines = columns_of(builder.info.features), manifest["outlines"][split]
    tokenizer = Vocabulary.load(pathlib.Path(folder) / VOCABULARY).tokenizer
    return PreparedRecords(source, columns, [Outline(*about) for about in outlines], tokenizer=tokenizer)
