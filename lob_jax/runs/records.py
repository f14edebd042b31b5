"""Records of a run: find the days that a configuration names, tokenize them, and write the records to its folder."""

import dataclasses
import pathlib
import shlex
from collections.abc import Callable, Sequence
from typing import Any, cast

import ml_collections

from lob_jax.config import validation
from lob_jax.data.records.builder import VOCABULARY, OnDay, prepare_on_beam, prepare_records
from lob_jax.data.records.records import RecordPlan
from lob_jax.data.records.split import context_of
from lob_jax.data.records.tokenizer_fit import fit_tokenizer as fit_to_days
from lob_jax.data.records.tokenizer_fit import measure_loss
from lob_jax.errors import InputError
from lob_jax.feeds.feed import DaySource, Feed, Reading
from lob_jax.feeds.load import format_named, make_feed
from lob_jax.feeds.synthetic import SYMBOL, SyntheticFeed
from lob_jax.forecasting.fi2010 import is_fi2010, refusal
from lob_jax.runs.workdir import write_json
from lob_jax.settings import expanded
from lob_jax.tokens.registry import tokenizer_class, tokenizer_for
from lob_jax.tokens.tokenizer import FittedTokenizer, Loss, Tokenizer
from lob_jax.tokens.vocabulary import Vocabulary

OnBytes = Callable[[int, int], None]  # (bytes read so far, bytes in all)


def prepare(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path | str,
    *,
    on_day: OnDay | None = None,
    on_bytes: OnBytes | None = None,
) -> dict[str, Any]:
    """Read the days that a configuration names and write their records, unless they exist; return their manifest.

    With several processes (`config.data.processes`, one per core by default), a script must call this under
    `if __name__ == "__main__"`, since each process imports the script; a notebook need not.

    Args:
      config: names the data and the tokenizer, see `get_config`.
      workdir: folder of the run; the records are in its folder records/.
      on_day: called when a day is done, with its name and the counts of each of its parts.
      on_bytes: called with the bytes of a day read so far and its total, if this process reads the files.

    Raises:
      InputError: the configuration is invalid, a file violates its format, or the folder has records of other data.
    """
    validation.validate(config)
    workdir = pathlib.Path(workdir)
    feed, days = find_days(config)
    workdir.mkdir(parents=True, exist_ok=True)
    if has_tokenizer_to_fit(config, workdir):
        tokenizer, _ = fit_tokenizer(config, workdir, feed, days, on_bytes=on_bytes)
    else:
        tokenizer = tokenizer_of(config, workdir)
    return write_records(config, workdir, feed, days, tokenizer=tokenizer, on_day=on_day, on_bytes=on_bytes)


def _kind_of(config: ml_collections.ConfigDict) -> type[Tokenizer]:
    return tokenizer_class(config.tokens.kind, where="config.tokens.kind")


def tokenizer_of(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Tokenizer:
    """Return the tokenizer that a configuration names; a fitted one is loaded from the records.

    Before there are records, a run that starts from another one has the fitted tokenizer of that run.

    Raises:
      InputError: it must be fitted, and the records are not prepared yet; or the other run has other tokens.
    """
    if _kind_of(config).fitted:
        own = workdir / "records" / VOCABULARY
        taken = bool(config.train.init) and not own.exists()
        return tokenizer_for(_vocabulary_of_source(config) if taken else Vocabulary.load(own))
    return _kind_of(config).from_settings(time_digits=config.tokens.time_digits, references=config.tokens.references)


def has_tokenizer_to_fit(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> bool:
    """Return whether the tokenizer must be fitted before records can be written."""
    given = bool(config.train.init) or (workdir / "records" / VOCABULARY).exists()
    return _kind_of(config).fitted and not given


def _vocabulary_of_source(config: ml_collections.ConfigDict) -> Vocabulary:
    """Return the vocabulary of the run that a new one starts from, whose tokens must be of the configured kind."""
    vocabulary = Vocabulary.load(expanded(config.train.init, where="config.train.init") / "records" / VOCABULARY)
    if vocabulary.tokenizer != config.tokens.kind:
        raise InputError(
            "the tokens of the run to start from are of another kind",
            where="config.tokens.kind",
            expected=f"{vocabulary.tokenizer}, that of config.train.init",
            was=config.tokens.kind,
            remedy=f"pass --config.tokens.kind={vocabulary.tokenizer}, or start from another run",
        )
    return vocabulary


def fit_tokenizer(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    feed: Feed,
    days: Sequence[DaySource],
    *,
    on_bytes: OnBytes | None = None,
) -> tuple[FittedTokenizer, Loss]:
    """Fit the tokenizer that a configuration names to the training days; return it and its loss on validation events.

    The loss is also written to distortion.json in the run's folder.
    """
    reading = dataclasses.replace(reading_of(config, workdir), on_bytes=on_bytes)
    how: dict[str, Any] = {"plan": record_plan(config), "reading": reading, "store": workdir}
    kind = cast(type[FittedTokenizer], _kind_of(config))  # known by name alone, so a type checker cannot tell
    tokenizer = fit_to_days(kind, feed, days, **how)
    lost = measure_loss(tokenizer, feed, days, **how)
    write_json(workdir / "distortion.json", dataclasses.asdict(lost))
    return tokenizer, lost


def write_records(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    feed: Feed,
    days: Sequence[DaySource],
    *,
    tokenizer: Tokenizer,
    on_day: OnDay | None = None,
    on_bytes: OnBytes | None = None,
) -> dict[str, Any]:
    """Write the records of some days, unless they exist, and ingest_report.json; return the manifest of the records.

    Raises:
      InputError: as `builder.prepare_records`.
    """
    common: dict[str, Any] = {
        "folder": workdir / "records",
        "tokenizer": tokenizer,
        "plan": record_plan(config),
        "inputs": {**data_settings(config), **feed.inputs(days)},
        "reading": reading_of(config, workdir),
    }
    if config.data.runner:
        options = shlex.split(config.data.runner_options)
        manifest = prepare_on_beam(feed, days, runner=config.data.runner, options=options, **common)
    else:
        common["reading"] = dataclasses.replace(common["reading"], on_bytes=on_bytes)
        manifest = prepare_records(feed, days, processes=config.data.processes, on_day=on_day, **common)
    write_json(workdir / "ingest_report.json", [day["report"] for day in manifest["days"]])
    return manifest


def record_plan(config: ml_collections.ConfigDict) -> RecordPlan:
    """Return the settings by which days become records."""
    data = config.data
    return RecordPlan(
        record_events=data.record_events,
        context=context_of(config.model.max_seq_length, fewest_event_tokens=_kind_of(config).fewest_event_tokens),
        book_levels=data.book_levels,
        train_fraction=data.train_fraction,
        validation_fraction=data.validation_fraction,
        embargo_events=data.embargo_events,
        flow_state=config.model.flow_state,
    )


def feed_name(config: ml_collections.ConfigDict) -> str:
    """Return the name of the feed: the simulator without a path, else the feed of the files' format.

    Raises:
      InputError: the path does not exist, or has no file of a known format.
    """
    data = config.data
    if not data.path:
        return "synthetic" if data.feed == "auto" else data.feed
    path = _path(config)
    if not path.exists():
        raise InputError(
            "there is nothing at the path of the data",
            where="config.data.path",
            expected="a file, or a folder of files",
            was=path,
            remedy="name files that exist"
            if data.path == str(path.absolute())
            else f"check it: it is {path.absolute()}",
        )
    if data.feed == "auto" and is_fi2010(path):
        raise refusal(path)
    return format_named(path, data.feed)


def _path(config: ml_collections.ConfigDict) -> pathlib.Path:
    return expanded(config.data.path, where="config.data.path")


def find_days(config: ml_collections.ConfigDict) -> tuple[Feed, list[DaySource]]:
    """Return the feed of a configuration and the days at its path, oldest first.

    Raises:
      InputError: the feed finds no days there, or not all of the requested symbols.
    """
    data, name = config.data, feed_name(config)
    symbols = tuple(symbol.strip() for symbol in data.symbols.split(",") if symbol.strip())
    if name == "synthetic":
        feed = SyntheticFeed(data.synthetic_days, data.synthetic_events, config.seed, symbols=symbols or (SYMBOL,))
        return feed, feed.days()
    path = _path(config)
    own = {"tick": data.tick, "lot": data.lot, "columns": data.columns, "time_zone": data.time_zone}
    # The default is passed as None: make_feed refuses a setting that a feed lacks, and only LOBSTER has this one.
    own["order_book"] = None if data.order_book == "required" else data.order_book
    feed = make_feed(name, symbols=symbols, **own)
    days = feed.days(path)
    missing = sorted(set(symbols) - {day.symbol for day in days})
    if missing:
        raise InputError(
            "the data do not have this symbol",
            where=f"config.data.symbols, {path}",
            expected=sorted({day.symbol for day in days})[:20],
            was=missing,
            remedy="name symbols of these files, or leave symbols empty to read all of them",
        )
    return feed, [day for day in days if not symbols or day.symbol in symbols]


def reading_of(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Reading:
    """Return the settings by which files are read."""
    quarantine = workdir / "quarantine" if config.data.on_error == "quarantine" else None
    return Reading(on_error=config.data.on_error, quarantine=quarantine)


def data_settings(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Return the settings that determine what is read from files, with the name of the feed that is used."""
    deciding = ("symbols", "tick", "lot", "on_error", "columns", "time_zone", "order_book")
    return {"feed": feed_name(config)} | {key: config.data[key] for key in deciding}
