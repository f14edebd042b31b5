"""The stages that need a model: its training, its evaluation, new events."""

import collections
import dataclasses
import os
import pathlib
import shutil
from typing import Any

import jax
import ml_collections
import numpy as np
from rich.table import Table

from lob_jax import config as configuration
from lob_jax.book.replay import snapshots_at
from lob_jax.book.snapshot import Corrections
from lob_jax.data.builder import VOCABULARY, open_records
from lob_jax.data.dataset import TokenBookDataset, prepare_record
from lob_jax.data.manifest import check_manifest, load_manifest
from lob_jax.data.pipeline import batches
from lob_jax.data.records import record_corrections, record_instrument, record_start
from lob_jax.errors import InputError
from lob_jax.evaluation.evaluate import evaluate as run_evaluation
from lob_jax.evaluation.evaluate import table as evaluation_table
from lob_jax.events.instrument import NS_PER_DAY, Instrument
from lob_jax.events.schema import Events, Kind
from lob_jax.feeds.lobster_writer import write_lobster
from lob_jax.generation.loop import generate as run_generation
from lob_jax.generation.state import Prompt
from lob_jax.models.accounting import parameter_count
from lob_jax.stages.data import prepare, tokenizer_of
from lob_jax.stages.workdir import console, overview, write_json
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.vocabulary import Vocabulary
from lob_jax.training.budget import plan_on
from lob_jax.training.checkpoint import restore_best
from lob_jax.training.loop import TrainingData, TrainingSummary
from lob_jax.training.loop import train as run_training


def _windows(config: ml_collections.ConfigDict, workdir: pathlib.Path, split: str) -> TokenBookDataset:
    """Open the windows of a split: training windows, or those that score every token once."""
    return TokenBookDataset(
        open_records(workdir / "records", split),
        context=config.model.max_seq_length,
        time_buckets=config.model.time_buckets,
        evaluation=split != "train",
    )


def _validation_batches(config: ml_collections.ConfigDict, windows: TokenBookDataset) -> list[dict[str, np.ndarray]]:
    """Return the same windows for every validation, spread evenly over the split."""
    count = min(config.train.validation_windows, len(windows))
    chosen = np.linspace(0, len(windows) - 1, count).round().astype(int)
    parts = [{**windows[int(index)], "example": np.int32(index)} for index in chosen]
    return [{name: np.stack([part[name] for part in parts]) for name in parts[0]}] if parts else []


def training_data(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> TrainingData:
    """Return what a run learns from and is measured on, from the records in its folder."""
    windows = _windows(config, workdir, "train")
    reading = {"epochs": None, "shuffle": True, "workers": config.data.workers}
    return TrainingData(
        batches=batches(windows, batch_size=config.train.batch_size, seed=config.seed, **reading),
        windows=len(windows),
        validation=_validation_batches(config, _windows(config, workdir, "validation")),
        vocabulary_hash=tokenizer_of(config).vocabulary.hash,
        token_counts=np.array(load_manifest(workdir / "records")["token_counts"]["train"], np.int64),
    )


def train(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Prepare if need be, train or go on training, and test the best checkpoint."""
    model, settings = configuration.model_config(config), configuration.plain(config)
    plan_on(jax.devices(), model, configuration.train_config(config))  # refuse what cannot fit before any data is read
    prepare(config, workdir)
    data = training_data(config, workdir)
    if not (workdir / "config.json").exists():
        write_json(workdir / "config.json", settings)
    console.print(f"{data.windows:,} training windows, {parameter_count(model):,} parameters")
    summary = run_training(
        model,
        configuration.train_config(config),
        data,
        seed=config.seed,
        folder=workdir,
        settings=settings,
        console=console,
    )
    write_json(workdir / "config.json", settings)  # a run that was refused has not replaced the one before
    console.print(_ending(summary))
    evaluate(config, workdir)


def _ending(summary: TrainingSummary) -> str:
    how = "stopped early" if summary.stopped_early else "done"
    if summary.best_validation_loss is None:
        return f"{how} after {summary.steps:,} steps; no validation loss was finite"
    best = f"{summary.best_validation_loss:.4f} nats a token at step {summary.best_step:,}"
    return f"{how} after {summary.steps:,} steps; best validation loss {best}"


def _best_parameters(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Any:
    """Return the best checkpoint's parameters; refuse one of another model, and records of another vocabulary."""
    manifest, vocabulary = load_manifest(workdir / "records"), Vocabulary.load(workdir / "records" / VOCABULARY)
    wanted = {**manifest["fingerprint"], "vocabulary": tokenizer_of(config).vocabulary.hash}
    check_manifest(manifest, wanted)
    model = configuration.model_config(config)
    params, meta = restore_best(workdir / "checkpoints", model=model, vocabulary_hash=vocabulary.hash)
    console.print(f"checkpoint of step {meta.step:,}, validation loss {meta.validation_loss:.4f}")
    return params


def evaluate(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Test the best checkpoint beside the baselines, and write evaluation.json."""
    params = _best_parameters(config, workdir)
    with console.status("testing the model and fitting the baselines"):
        result = run_evaluation(
            configuration.model_config(config),
            params,
            workdir / "records",
            batch_size=config.evaluate.batch_size,
            direction_events=config.evaluate.direction_events,
            ngram_orders=config.evaluate.ngram_orders,
        )
    write_json(workdir / "evaluation.json", result)
    console.print(evaluation_table(result))
    console.print(f"written to {workdir / 'evaluation.json'}")


def make_prompt(record: dict[str, Any], *, events: int, tokenizer: ExactTokenizer, time_buckets: int) -> Prompt:
    """Return the first events of a record as a prompt, with the book that they end in.

    Raises:
      InputError: the record has fewer events.
    """
    tokens, start, corrections = record["tokens"][:-1], record_start(record), record_corrections(record)
    prepared = prepare_record(record, time_buckets=time_buckets)
    available = len(record["clock_ns"]) - 1
    if events > available:
        raise InputError(
            "the prompt is longer than a record",
            where="config.generate.prompt_events",
            expected=f"at most {available}",
            was=events,
            remedy="ask for fewer events",
        )
    instrument = record_instrument(record)
    decoded = tokenizer.decode(tokens, instrument=instrument, start=start, corrections=corrections)
    (book,) = snapshots_at(decoded, start=start, corrections=corrections, at=np.array([events]))
    mine = prepared.event < events
    return Prompt(
        tokens_T=prepared.tokens[mine],
        time_of_day_T=prepared.time_of_day[prepared.event[mine]],
        day_of_week_T=np.full(mine.sum(), prepared.day_of_week, np.int32),
        book_TF=prepared.book[prepared.row[mine]],
        # What leaves the feed's window is still in the market: a generated book forgets nothing.
        book=dataclasses.replace(book, window=0),
        clock_ns=int(record["clock_ns"][events]),
    )


def generate(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Continue the first test events, and write each path as a LOBSTER pair."""
    params, tokenizer = _best_parameters(config, workdir), tokenizer_of(config)
    model, record = configuration.model_config(config), open_records(workdir / "records", "test")[0]
    instrument = record_instrument(record)
    prompt = make_prompt(
        record, events=config.generate.prompt_events, tokenizer=tokenizer, time_buckets=model.time_buckets
    )
    with console.status("generating") as status:
        generated = run_generation(
            params,
            prompt,
            model=model,
            grammar=tokenizer.grammar,
            instrument=instrument,
            sampling=configuration.sampling_config(config),
            on_progress=lambda events: status.update(f"generating: {events:,} of {config.generate.events:,} events"),
        )
    folder = workdir / "generated"
    partial = folder.with_name("generated.partial")
    shutil.rmtree(partial, ignore_errors=True)
    console.print(_write_paths(generated.tokens, prompt, instrument, config, partial))
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)
    console.print(f"the grammar took {generated.masked_mass.mean():.2%} of the model's probability, a token")
    console.print(overview(workdir))


def _write_paths(
    paths: list[np.ndarray],
    prompt: Prompt,
    instrument: Instrument,
    config: ml_collections.ConfigDict,
    folder: pathlib.Path,
) -> Table:
    """Decode each path, leave out what cannot have happened, write the rest, and return a table of the paths."""
    reasons: collections.Counter[str] = collections.Counter()
    start, tokenizer = dataclasses.replace(prompt.book, time_ns=prompt.clock_ns), tokenizer_of(config)
    shown = Table(title=f"{instrument.symbol} {instrument.trading_day}, from {len(prompt.tokens_T):,} prompt tokens")
    for heading in ("path", "tokens", "events", "left out", "seconds", "trades"):
        shown.add_column(heading, justify="right")
    for index, tokens in enumerate(paths):
        events, impossible = tokenizer.decode_generated(tokens, instrument=instrument, start=start)
        events, late = _same_day(events, instrument)
        reasons.update({**impossible, "after_midnight": late})
        left_out = f"{sum(impossible.values()) + late:,}"
        seconds = (events.time_ns[-1] - start.time_ns) / 1e9 if len(events) else 0.0
        trades = np.isin(events.kind, (Kind.EXECUTE, Kind.EXECUTE_HIDDEN)).sum()
        shown.add_row(str(index), f"{len(tokens):,}", f"{len(events):,}", left_out, f"{seconds:.3f}", f"{trades:,}")
        path = folder / f"path_{index}"
        path.mkdir(parents=True)
        if len(events):
            book = {"start": start, "corrections": Corrections.none(), "levels": config.data.book_levels}
            write_lobster(path, instrument=instrument, events=events, monotone_time=True, **book)
    shown.caption = "left out: " + (", ".join(f"{n} {reason}" for reason, n in reasons.items() if n) or "none")
    return shown


def _same_day(events: Events, instrument: Instrument) -> tuple[Events, int]:
    """Return the events of the trading day, and how many come after it: a file holds one day."""
    inside = events.time_ns < instrument.midnight_ns() + NS_PER_DAY
    return events[inside], int(np.count_nonzero(~inside))
