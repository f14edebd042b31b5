"""The stages that read files: inspect, convert and prepare."""

import contextlib
import dataclasses
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import ml_collections
from rich.progress import DownloadColumn

from lob_jax.book.day import MarketDay
from lob_jax.console import bar, console, show, waiting
from lob_jax.data.records.folder import has_records
from lob_jax.data.records.manifest import check_manifest, fingerprint, load_manifest, record_format
from lob_jax.feeds.feed import DaySource, Feed
from lob_jax.figures.day import depth_figure, save, trades_figure
from lob_jax.jit import compiled_before
from lob_jax.runs.records import (
    data_settings,
    feed_name,
    find_days,
    fit_tokenizer,
    has_tokenizer_to_fit,
    reading_of,
    record_plan,
    tokenizer_of,
    write_records,
)
from lob_jax.runs.synthetic import prepare_synthetic
from lob_jax.runs.workdir import write_json
from lob_jax.statistics.inspection import inspect_day, tables
from lob_jax.tokens.tokenizer import Tokenizer
from lob_jax.writers.hftbacktest import write_hftbacktest
from lob_jax.writers.lobster import write_lobster
from lob_jax.writers.parquet import write_parquet


def tell_feed(config: ml_collections.ConfigDict) -> None:
    """Report which feed is read, if the configuration leaves it open, and that the first run has to compile."""
    if not compiled_before():
        console.print("the first run of this version compiles its loops, once: that usually takes a minute or two")
    if config.data.feed == "auto":
        why = f"the format of {config.data.path}" if config.data.path else "since no --config.data.path is given"
        console.print(f"feed: {feed_name(config)}, {why}")


def check_records(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Raise an error if the records were not made from the data that a configuration names.

    If it names none (feed auto, no path), the records of the run are used, whatever their data, and the console reports
    their feed.

    Raises:
      InputError: there are no records, or they were made from other data.
    """
    manifest = load_manifest(workdir / "records")
    saved = manifest["fingerprint"]
    made_with = saved["inputs"].get("feed")
    tokenizer = tokenizer_of(config, workdir)
    if config.data.feed == "auto" and not config.data.path and made_with != "synthetic":
        console.print(f"records: those of the run, from the {made_with} feed, since no --config.data.path is given")
        format_now = record_format(tokenizer, flow_state=config.model.flow_state)
        check_manifest(manifest, {**saved, "vocabulary": tokenizer.vocabulary.hash, "format": format_now})
        return
    feed, days = find_days(config)
    inputs = {**data_settings(config), **feed.inputs(days)}
    check_manifest(manifest, fingerprint(days, record_plan(config), tokenizer=tokenizer, inputs=inputs))


@contextlib.contextmanager
def _progress() -> Generator[Callable[[int, int], None]]:
    """Show a progress bar of bytes while files are read; yield the function that advances it."""
    with bar("reading", total=None, unit="bytes", columns=(DownloadColumn(),)) as advance:
        yield lambda done, size: advance(done, total=size)


def prepare(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Read the feed, replay the book and write records, unless they exist."""
    tell_feed(config)
    feed, days = find_days(config)
    folder = workdir / "records"
    workdir.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer_to_prepare(config, workdir, feed, days)
    found = has_records(folder, record_format(tokenizer, flow_state=config.model.flow_state))
    if config.data.runner:
        console.print(f"{len(days)} day(s) of the {feed_name(config)} feed, on Beam's {config.data.runner}")
        manifest = write_records(config, workdir, feed, days, tokenizer=tokenizer)
    else:
        with bar("preparing", total=len(days), unit="days") as advance:
            done: set[str] = set()

            def on_day(name: str, counts: dict[str, Any]) -> None:
                done.add(name)
                advance(len(done))
                figures = f"{counts['events']:>9,} events  {counts['tokens']:>10,} tokens"
                console.print(f"{name}  {counts['split']:<10}  {figures}")

            def on_bytes(read: int, size: int) -> None:
                advance(len(done), f"{read / size:.0%} of a day's files read")

            progress = {"on_day": on_day, "on_bytes": on_bytes}
            manifest = write_records(config, workdir, feed, days, tokenizer=tokenizer, **progress)
    splits = manifest["splits"].values()
    events, tokens = (sum(split[name] for split in splits) for name in ("events", "tokens"))
    state = "found" if found else "written"
    console.print(f"{events:,} events as {tokens:,} tokens ({tokens / events:.2f} per event), {state} in {folder}")
    _tell_losses(manifest["days"])
    augment = config.data.augment
    if augment.synthetic:
        with waiting("preparing synthetic flow", usually="the time that the training split took"):
            prepare_synthetic(config, workdir)
        console.print(f"synthetic flow: {augment.synthetic_run or 'simulated'}")


def _tokenizer_to_prepare(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, feed: Feed, days: Sequence[DaySource]
) -> Tokenizer:
    """Return the tokenizer of the records; if it has to be fitted, report what it loses."""
    if not has_tokenizer_to_fit(config, workdir):
        return tokenizer_of(config, workdir)
    with _progress() as on_bytes:
        tokenizer, lost = fit_tokenizer(config, workdir, feed, days, on_bytes=on_bytes)
    console.print(lost.told())
    return tokenizer


def _tell_losses(days: list[dict[str, Any]]) -> None:
    """Report the rows that were left out of the days."""
    for day in days:
        dropped = day["report"]["rows_dropped"]
        if dropped:
            listed = ", ".join(f"{rows:,} {reason}" for reason, rows in dropped.items())
            console.print(f"{day['symbol']} {day['trading_day']}: rows left out: {listed}")


def _each_day(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Iterator[MarketDay]:
    """Read the days one after the other; the events of each are on disk until the next one is requested."""
    tell_feed(config)
    feed, days = find_days(config)
    reading = reading_of(config, workdir)
    for source in days:
        with tempfile.TemporaryDirectory(dir=workdir) as store:
            with _progress() as on_bytes:
                day = feed.read(source, dataclasses.replace(reading, store=pathlib.Path(store), on_bytes=on_bytes))
            yield day


def inspect(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Show each day: tables, a heat map of its depth, and a figure of its trades."""
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
            console.print(f"figure: {path}")
    write_json(workdir / "inspection.json", found)
    console.print(f"all numbers: {workdir / 'inspection.json'}")


def _file_name(day: MarketDay) -> str:
    """Return a name for the files of a day, in characters that every file system accepts."""
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
    """Write one day; return its path, and a remark about what had to be changed."""
    if config.convert.format == "parquet":
        target = folder / _file_name(day)
        shutil.rmtree(target, ignore_errors=True)
        return write_parquet(target, day), ""
    if config.convert.format == "hftbacktest":
        export = write_hftbacktest(folder / f"{_file_name(day)}.npz", day)
        moved = f"; {export.exchange_times_moved:,} times that ran backwards were adjusted"
        return export.path, moved if export.exchange_times_moved else ""
    how = {"levels": config.convert.levels, "past_midnight": config.convert.past_midnight}
    pair = write_lobster(folder, day, **how, monotone_time=True)
    counts = {f"{code} without a row": count for code, count in pair.left_out.items()}
    counts["times that ran backwards were adjusted"] = pair.moved_times
    counts["events after midnight were cut"] = pair.cut
    counts["events after midnight have times of 86,400 s and more"] = pair.past_midnight
    return pair.message, "".join(f"; {count:,} {what}" for what, count in counts.items() if count)
