"""The stages that need a model: its training, its evaluation, its weights."""

import dataclasses
import functools
import pathlib
from typing import Any

import jax
import ml_collections
import numpy as np
from jax.experimental import multihost_utils
from rich.console import Console

from lob_jax.command_line import told_command
from lob_jax.config import sections
from lob_jax.console import console, show, waiting
from lob_jax.data.labels.moves import fit_outlooks
from lob_jax.data.labels.regimes import fit_regimes
from lob_jax.data.records.builder import VOCABULARY, open_records
from lob_jax.data.records.manifest import load_manifest
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.data.windows.known import MAKERS, Beside
from lob_jax.data.windows.pairs import PairedDataset
from lob_jax.data.windows.pipeline import batches, first_position
from lob_jax.errors import InputError, flat
from lob_jax.evaluation.evaluate import evaluate as run_evaluation
from lob_jax.evaluation.evaluate import open_windows
from lob_jax.evaluation.evaluate import table as evaluation_table
from lob_jax.evaluation.likelihood.hidden import evaluate_hidden, hidden_table
from lob_jax.models.accounting import parameter_count
from lob_jax.models.inputs import fields_held
from lob_jax.signals import same_command
from lob_jax.stages.data import check_records, prepare, tokenizer_of
from lob_jax.stages.samples import Sampler
from lob_jax.stages.workdir import CONFIG, write_config, write_json
from lob_jax.tokens.vocabulary import Vocabulary
from lob_jax.training.run.budget import plan_on
from lob_jax.training.run.checkpoint import Meta, restore_best, steps_in
from lob_jax.training.run.identity import model_identity
from lob_jax.training.run.interruption import saved_line, status_of
from lob_jax.training.run.loop import OnValidation, TrainingData, TrainingSummary
from lob_jax.training.run.loop import train as run_training
from lob_jax.training.run.resumption import taken_as_neutral
from lob_jax.training.run.weights import save_weights
from lob_jax.training.step.layout import make_mesh

EVALUATION = "10 s to 10 min, as long as the test split and the model ask for"


def beside_of(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Beside:
    """Return what a configuration's model reads beside tokens, by thresholds of the training split and its manifest.

    Raises:
      InputError: there are no records, or more instruments than the model tells apart.
    """
    model, train = sections.model_config(config), open_records(workdir / "records", "train")
    bins = {"volatility_bins": config.data.volatility_regimes, "spread_bins": config.data.spread_regimes}
    names = tuple(name for name in fields_held(model) if name in MAKERS)  # what else windows hold comes unasked
    symbols = tuple(sorted({day["symbol"] for day in load_manifest(workdir / "records")["days"]}))
    if 0 < model.n_instruments < len(symbols):
        raise InputError(
            "there are more instruments than the model tells apart",
            where="config.model.n_instruments",
            expected=f"0, or at least {len(symbols)}: {', '.join(symbols[:20])}",
            was=model.n_instruments,
            remedy=f"pass --config.model.n_instruments={len(symbols)}, or name fewer --config.data.symbols",
        )
    return Beside(
        names=names,
        regimes=fit_regimes(train, **bins) if "regime" in names else None,
        prefix=model.regime == "prefix",
        symbols=symbols,
        outlooks=fit_outlooks(train, model.heads.outlook_events) if "direction" in names else None,
    )


def regime_bins(config: ml_collections.ConfigDict) -> dict[str, int]:
    """Return what decides the regimes that a model is told of or learns to tell apart, by key of the data section."""
    by_regime = "regime" in fields_held(sections.model_config(config))
    return {key: config.data[key] for key in ("volatility_regimes", "spread_regimes")} if by_regime else {}


def _windows(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, split: str, beside: Beside
) -> TokenBookDataset | PairedDataset:
    """Open the windows of a split: training windows, or those that score every token once."""
    source = open_records(workdir / "records", split)
    return open_windows(sections.model_config(config), source, evaluation=split != "train", beside=beside)


def _validation_batches(
    config: ml_collections.ConfigDict, windows: TokenBookDataset | PairedDataset
) -> list[dict[str, np.ndarray]]:
    """Return the same windows for every validation, spread evenly over the split."""
    count = min(config.train.validation_windows, len(windows))
    chosen = np.linspace(0, len(windows) - 1, count).round().astype(int)
    parts = [{**windows[int(index)], "example": np.int32(index)} for index in chosen]
    return [{name: np.stack([part[name] for part in parts]) for name in parts[0]}] if parts else []


def open_training_data(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> TrainingData:
    """Open the prepared records of a run for training; of several processes each reads windows of its own.

    Raises:
      InputError: there are no records or too few, or the batch does not divide over the processes.
    """
    processes, batch_size = jax.process_count(), config.train.batch_size
    if batch_size % processes:
        raise InputError(
            "the batch does not divide over the processes",
            where="config.train.batch_size",
            expected=f"a multiple of {processes}",
            was=batch_size,
            remedy="change it, or use another number of processes",
        )
    beside = beside_of(config, workdir)
    windows, manifest = _windows(config, workdir, "train", beside), load_manifest(workdir / "records")
    vocabulary = tokenizer_of(config, workdir).vocabulary
    cut = {"batch_size": batch_size // processes, "host_count": processes}
    reading = {"seed": config.seed, "epochs": None, "shuffle": True, "workers": config.data.workers}
    return TrainingData(
        batches=functools.partial(batches, windows, host_index=jax.process_index(), **cut, **reading),
        start=first_position(windows, **cut),
        windows=len(windows),
        validation=_validation_batches(config, _windows(config, workdir, "validation", beside)),
        vocabulary_hash=vocabulary.hash,
        token_counts=np.array(manifest["token_counts"]["train"], np.int64),
        fingerprint={
            "tokenizer": dataclasses.asdict(vocabulary),
            **regime_bins(config),
            **manifest["fingerprint"],
        },
    )


def refuse_what_cannot_fit(config: ml_collections.ConfigDict) -> None:
    """Check, before any data is read, that a run fits on the devices and in their memory.

    Raises:
      InputError: it does not.
    """
    model, train_config = sections.model_config(config), sections.train_config(config)
    mesh = make_mesh(jax.devices(), fsdp=train_config.fsdp, tensor=train_config.tensor)
    plan_on(mesh, model, train_config)


def train(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int | None:
    """Prepare if need be, train or go on training, and test the best checkpoint; return the exit status.

    It is that of `status_of` if the run was interrupted and saved. Of several processes the first prepares, and the
    others wait for it; none of them tests.
    """
    refuse_what_cannot_fit(config)
    model, settings = sections.model_config(config), sections.plain(config)
    first = jax.process_index() == 0
    if first:
        prepare(config, workdir)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("the records are prepared")
    data = open_training_data(config, workdir)
    if first and not (workdir / CONFIG).exists():
        write_config(workdir, settings)
    shown = console if first else Console(quiet=True)
    shown.print(f"{data.windows:,} training windows, {parameter_count(model):,} parameters; losses are nats a token")
    summary = run_training(
        model,
        sections.train_config(config),
        data,
        seed=config.seed,
        folder=workdir,
        settings=settings,
        on_validation=_sampler(config, workdir) if config.train.sample_events else None,
        console=shown,
    )
    if first:
        write_config(workdir, settings)  # a run that was refused has not replaced the one before
    shown.print(_ending(summary))
    if summary.interrupted is not None:
        return status_of(summary.interrupted)
    if jax.process_count() > 1:  # they would wait for one another over work that one of them does
        shown.print("test it in one process: the same command with --mode=evaluate")
        return None
    evaluate(config, workdir)
    return None


def _sampler(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> OnValidation:
    return Sampler(config, workdir, beside_of(config, workdir)).sample


def _ending(summary: TrainingSummary) -> str:
    if summary.interrupted is not None:
        return f"{saved_line(summary.steps, summary.interrupted)}: {same_command()}"
    how = "stopped early" if summary.stopped_early else "done"
    if summary.best_validation_loss is None:
        return f"{how} after {summary.steps:,} steps; no validation loss was finite"
    best = f"{summary.best_validation_loss:.4f} nats a token at step {summary.best_step:,}"
    return f"{how} after {summary.steps:,} steps; best validation loss {best}"


def best_parameters(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> tuple[Any, Meta]:
    """Return the best checkpoint's parameters; refuse one of another model, and records of other data or vocabulary."""
    if not steps_in(workdir / "checkpoints"):
        raise InputError(
            "this run has no trained model yet",
            where=workdir,
            expected="checkpoints of a training run",
            was="none",
            remedy=f"train it first: {told_command(mode='train', workdir=workdir)}",
        )
    check_records(config, workdir)
    vocabulary = Vocabulary.load(workdir / "records" / VOCABULARY)
    model = sections.model_config(config)
    wanted = {"model": model, "vocabulary_hash": vocabulary.hash, "data": regime_bins(config)}
    params, meta = restore_best(workdir / "checkpoints", **wanted)
    averaged = ", averaged parameters" if meta.averaged else ""
    for remark in taken_as_neutral(meta, flat({"model": model_identity(model)})):
        console.print(remark)
    console.print(f"checkpoint of step {meta.step:,}, validation loss {meta.validation_loss:.4f}{averaged}")
    return params, meta


def evaluate(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Test the best checkpoint beside the baselines, and write evaluation.json."""
    params, _ = best_parameters(config, workdir)
    model = sections.model_config(config)
    if not model.causal:
        _evaluate_hidden(config, workdir, params)
        return
    with waiting("testing the model and fitting the baselines", usually=EVALUATION):
        result = run_evaluation(
            model,
            params,
            workdir / "records",
            batch_size=config.evaluate.batch_size,
            direction_events=config.evaluate.direction_events,
            ngram_orders=config.evaluate.ngram_orders,
            beside=beside_of(config, workdir),
        )
    write_json(workdir / "evaluation.json", result)
    show(evaluation_table(result))
    console.print(f"written to {workdir / 'evaluation.json'}")


def _evaluate_hidden(config: ml_collections.ConfigDict, workdir: pathlib.Path, params: Any) -> None:
    """Test a model of hidden tokens beside their frequencies, and write evaluation.json."""
    windows = _windows(config, workdir, "test", beside_of(config, workdir))
    with waiting("testing the model on hidden tokens", usually=EVALUATION):
        result = evaluate_hidden(
            sections.model_config(config),
            params,
            batches(windows, batch_size=config.evaluate.batch_size, seed=0, epochs=1, shuffle=False),
            share=config.train.mask_share,
            token_counts=np.array(load_manifest(workdir / "records")["token_counts"]["train"], np.int64),
        )
    write_json(workdir / "evaluation.json", result)
    show(hidden_table(result))
    console.print(f"written to {workdir / 'evaluation.json'}")


def export(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Write the best checkpoint's parameters as a safetensors file."""
    params, meta = best_parameters(config, workdir)
    path = workdir / "weights.safetensors"
    save_weights(path, params, about={**dataclasses.asdict(meta), "early_stopping": None})
    console.print(f"{parameter_count(sections.model_config(config)):,} parameters written to {path}")
