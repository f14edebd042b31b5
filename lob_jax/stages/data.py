"""The stages that turn files into records: look at them, write them in another format, tokenize them."""

import contextlib
import dataclasses
import pathlib
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ml_collections
from rich.progress import DownloadColumn

from lob_jax.console import bar, console, show
from lob_jax.data.records.builder import VOCABULARY, prepare_on_beam, prepare_records
from lob_jax.data.records.manifest import MANIFEST, check_manifest, fingerprint, load_manifest
from lob_jax.data.records.records import RecordPlan
from lob_jax.data.records.split import context_of
from lob_jax.data.records.tokenizer_fit import fit_tokenizer, measure_loss
from lob_jax.errors import InputError
from lob_jax.feeds.feed import DaySource, Feed, MarketDay, Reading
from lob_jax.feeds.load import format_named, make_feed
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.figures.day import depth_figure, save, trades_figure
from lob_jax.jit import compiled_before
from lob_jax.settings import expanded
from lob_jax.stages.workdir import write_json
from lob_jax.statistics.inspection import inspect_day, tables
from lob_jax.tokens.load import tokenizer_for
from lob_jax.tokens.registry import tokenizer_class
from lob_jax.tokens.tokenizer import Tokenizer
from lob_jax.tokens.vocabulary import Vocabulary
from lob_jax.writers.hftbacktest import write_hftbacktest
from lob_jax.writers.lobster import write_lobster
from lob_jax.writers.parquet import write_parquet


def _kind_of(config: ml_collections.ConfigDict) -> type[Tokenizer]:
    return tokenizer_class(config.tokens.kind, where="config.tokens.kind")


def tokenizer_of(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Tokenizer:
    """Return the tokenizer that a configuration names; a fitted one is that which the records were written with.

    Raises:
      InputError: it is to be fitted, and the records are not prepared yet.
    """
    if _kind_of(config).fitted:
        return tokenizer_for(Vocabulary.load(workdir / "records" / VOCABULARY))
    return _kind_of(config).from_settings(time_digits=config.tokens.time_digits)


def _tokenizer_to_prepare(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, feed: Feed, days: Sequence[DaySource]
) -> Tokenizer:
    """Return the tokenizer that records are written with; it is fitted if it has to be and is not yet."""
    if not _kind_of(config).fitted or (workdir / "records" / VOCABULARY).exists():
        return tokenizer_of(config, workdir)
    with _progress() as on_bytes:
        reading = dataclasses.replace(reading_of(config, workdir), on_bytes=on_bytes)
        how = {"plan": record_plan(config), "reading": reading, "store": workdir}
        tokenizer = fit_tokenizer(_kind_of(config), feed, days, **how)
        lost = measure_loss(tokenizer, feed, days, **how)
    write_json(workdir / "distortion.json", dataclasses.asdict(lost))
    console.print(lost.told())
    return tokenizer


def record_plan(config: ml_collections.ConfigDict) -> RecordPlan:
    """Return how days become records."""
    data = config.data
    return RecordPlan(
        record_events=data.record_events,
        context=context_of(config.model.max_seq_length, fewest_event_tokens=_kind_of(config).fewest_event_tokens),
        book_levels=data.book_levels,
        train_fraction=data.train_fraction,
        validation_fraction=data.validation_fraction,
        embargo_events=data.embargo_events,
    )


def feed_name(config: ml_collections.ConfigDict) -> str:
    """Return the feed that a configuration means: without a path the simulator, else the one of its files' format.

    Raises:
      InputError: nothing lies at the path, or nothing that a feed reads.
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
    return format_named(path, data.feed)


def _path(config: ml_collections.ConfigDict) -> pathlib.Path:
    return expanded(config.data.path, where="config.data.path")


def find_days(config: ml_collections.ConfigDict) -> tuple[Feed, list[DaySource]]:
    """Return the feed that a configuration means, and the days that lie at its path, oldest first.

    Raises:
      InputError: nothing there that the feed reads, or not all of the wanted symbols.
    """
    data, name = config.data, feed_name(config)
    symbols = tuple(symbol.strip() for symbol in data.symbols.split(",") if symbol.strip())
    if name == "synthetic":
        named = {"symbols": symbols} if symbols else {}
        feed = SyntheticFeed(data.synthetic_days, data.synthetic_events, config.seed, **named)
        return feed, feed.days()
    path = _path(config)
    own = {"tick": data.tick, "lot": data.lot, "columns": data.columns, "time_zone": data.time_zone}
    own["order_book"] = None if data.order_book == "required" else data.order_book  # the default of its one feed
    feed = make_feed(name, symbols=symbols, **own)
    days = feed.days(path)
    missing = sorted(set(symbols) - {day.symbol for day in days})
    if missing:
        raise InputError(
            "a symbol that is not there",
            where=f"config.data.symbols, {path}",
            expected=sorted({day.symbol for day in days})[:20],
            was=missing,
            remedy="name symbols of these files, or none for all of them",
        )
    return feed, [day for day in days if not symbols or day.symbol in symbols]


def reading_of(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Reading:
    """Return how a configuration wants files to be read."""
    quarantine = workdir / "quarantine" if config.data.on_error == "quarantine" else None
    return Reading(on_error=config.data.on_error, quarantine=quarantine)


def _settings(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Return what of the configuration decides what is read from files; the feed is the one that is read with."""
    deciding = ("symbols", "tick", "lot", "on_error", "columns", "time_zone", "order_book")
    return {"feed": feed_name(config)} | {key: config.data[key] for key in deciding}


def tell_feed(config: ml_collections.ConfigDict) -> None:
    """Say which feed is read, where the configuration leaves it open, and what the first reading of all waits for."""
    if not compiled_before():
        console.print("the first run of this version compiles its loops: that usually takes a minute or two, once")
    if config.data.feed == "auto":
        why = f"as the files at {config.data.path} are" if config.data.path else "since no --config.data.path is given"
        console.print(f"feed: {feed_name(config)}, {why}")


def check_records(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Refuse records that were not made from the data that a configuration names.

    A configuration that names none (feed auto, no path) takes the records of the run, whatever they are from, and says
    what that is.

    Raises:
      InputError: there are no records, or they are of other data.
    """
    manifest = load_manifest(workdir / "records")
    saved = manifest["fingerprint"]
    made_with = saved["inputs"].get("feed")
    vocabulary = tokenizer_of(config, workdir).vocabulary.hash
    if config.data.feed == "auto" and not config.data.path and made_with != "synthetic":
        console.print(f"records: of the {made_with} feed, those of the run, since no --config.data.path is given")
        check_manifest(manifest, {**saved, "vocabulary": vocabulary})
        return
    feed, days = find_days(config)
    inputs = {**_settings(config), **feed.inputs(days)}
    check_manifest(manifest, fingerprint(days, record_plan(config), vocabulary_hash=vocabulary, inputs=inputs))


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show a bar of bytes read, for as long as files are read; yield what moves it."""
    with bar("reading", total=None, unit="bytes", columns=(DownloadColumn(),)) as advance:
        yield lambda done, size: advance(done, total=size)


def prepare(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Read the feed, replay the book and write records, or find them there."""
    tell_feed(config)
    feed, days = find_days(config)
    folder = workdir / "records"
    found = (folder / MANIFEST).exists()
    workdir.mkdir(parents=True, exist_ok=True)
    common = {
        "folder": folder,
        "tokenizer": _tokenizer_to_prepare(config, workdir, feed, days),
        "plan": record_plan(config),
        "inputs": {**_settings(config), **feed.inputs(days)},
    }
    reading = reading_of(config, workdir)
    if config.data.runner:
        options = shlex.split(config.data.runner_options)
        console.print(f"{len(days)} day(s) of the {feed_name(config)} feed, on Beam's {config.data.runner}")
        manifest = prepare_on_beam(feed, days, reading=reading, runner=config.data.runner, options=options, **common)
    else:
        with bar("preparing", total=len(days), unit="days") as advance:
            done: set[str] = set()

            def on_day(name: str, counts: dict[str, Any]) -> None:
                done.add(name)
                advance(len(done))
                figures = f"{counts['events']:>9,} events  {counts['tokens']:>10,} tokens"
                console.print(f"{name}  {counts['split']:<10}  {figures}")

            manifest = prepare_records(
                feed,
                days,
                reading=dataclasses.replace(
                    reading, on_bytes=lambda read, size: advance(len(done), f"{read / size:.0%} of a day's files read")
                ),
                processes=config.data.processes,
                on_day=on_day,
                **common,
            )
    write_json(workdir / "ingest_report.json", [day["report"] for day in manifest["days"]])
    splits = manifest["splits"].values()
    events, tokens = (sum(split[name] for split in splits) for name in ("events", "tokens"))
    state = "found" if found else "written"
    console.print(f"{events:,} events as {tokens:,} tokens ({tokens / events:.2f} an event), {state} in {folder}")
    _tell_losses(manifest["days"])


def _tell_losses(days: list[dict[str, Any]]) -> None:
    """Say what was left out of the days, if anything was."""
    for day in days:
        dropped = day["report"]["rows_dropped"]
        if dropped:
            listed = ", ".join(f"{rows:,} {reason}" for reason, rows in dropped.items())
            console.print(f"{day['symbol']} {day['trading_day']}: rows left out: {listed}")


def _each_day(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Iterator[MarketDay]:
    """Read the days one after the other; the events of each lie on disk until the next one is asked for."""
    tell_feed(config)
    feed, days = find_days(config)
    reading = reading_of(config, workdir)
    for source in days:
        with tempfile.TemporaryDirectory(dir=workdir) as store:
            with _progress() as on_bytes:
                day = feed.read(source, dataclasses.replace(reading, store=pathlib.Path(store), on_bytes=on_bytes))
            yield day


def inspect(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Show what is in each day: tables, a heat map of its depth, and a figure of its trades."""
    levels, figures, found = config.inspect.levels, workdir / "figures", []
    figures.mkdir(parents=True, exist_ok=True)
    for day in _each_day(config, workdir):
        found.append(inspect_day(day, levels=levels))
        for shown in tables(found[-1]):
            show(shown)
        drawn = {"depth": depth_figure(day, levels=levels), "trades": trades_figure(day)} if len(day.events) else {}
        for name, figure in drawn.items():
            path = figures / f"{_file_name(day)}_{name}.png"
            save(figure, path)
            console.print(f"drawn: {path}")
    write_json(workdir / "inspection.json", found)
    console.print(f"all numbers: {workdir / 'inspection.json'}")


def _file_name(day: MarketDay) -> str:
    """Return a name for the files of a day, of characters that any system takes."""
    name = f"{day.instrument.venue}_{day.instrument.symbol}_{day.instrument.trading_day}"
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in name)


def convert(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Write each day in another format."""
    folder = workdir / "converted"
    folder.mkdir(parents=True, exist_ok=True)
    for day in _each_day(config, workdir):
        written, remark = _convert_day(config, day, folder)
        console.print(f"{day.instrument.symbol} {day.instrument.trading_day}: {written}{remark}")


def _convert_day(config: ml_collections.ConfigDict, day: MarketDay, folder: pathlib.Path) -> tuple[pathlib.Path, str]:
    """Write one day; return where it lies, and what had to be changed on the way."""
    if config.convert.format == "parquet":
        target = folder / _file_name(day)
        shutil.rmtree(target, ignore_errors=True)
        return write_parquet(target, day), ""
    if config.convert.format == "hftbacktest":
        export = write_hftbacktest(folder / f"{_file_name(day)}.npz", day)
        moved = f"; {export.exchange_times_moved:,} times that ran backwards were moved"
        return export.path, moved if export.exchange_times_moved else ""
    parts = {name: getattr(day, name) for name in ("instrument", "start", "events", "corrections")}
    how = {"levels": config.convert.levels, "past_midnight": config.convert.past_midnight}
    pair = write_lobster(folder, **parts, **how, monotone_time=True)
    counts = {f"{code} without a row": count for code, count in pair.left_out.items()}
    counts["times that ran backwards were moved"] = pair.moved_times
    counts["events after midnight were cut"] = pair.cut
    counts["events after midnight have times of 86,400 s and more"] = pair.past_midnight
    return pair.message, "".join(f"; {count:,} {what}" for what, count in counts.items() if count)
