"""Train a run in its folder: open its windows, and what its model reads in addition to tokens."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
from rich.console import Console

from lob_jax.book.features import feature_moments
from lob_jax.config import sections
from lob_jax.config_sources import RUN_FILE
from lob_jax.data.records.builder import OnDay, open_records
from lob_jax.data.records.escapes import training_escapes
from lob_jax.data.records.manifest import load_manifest
from lob_jax.data.records.records import evenly_spaced
from lob_jax.data.windows.augment.altered import Alteration
from lob_jax.data.windows.augment.mirror import MirroredWindows
from lob_jax.data.windows.augment.own_flow import own_flow
from lob_jax.data.windows.augment.synthetic import MixedWindows
from lob_jax.data.windows.augment.token_dropout import SHOWN, DroppedTokens
from lob_jax.data.windows.augment.windows import AlteredWindows
from lob_jax.data.windows.dataset import Span, TokenBookDataset
from lob_jax.data.windows.known import ALWAYS, Beside
from lob_jax.data.windows.pairs import PairedDataset
from lob_jax.data.windows.pipeline import Windows, batches, first_position
from lob_jax.errors import InputError
from lob_jax.evaluation.evaluate import open_windows, without_places
from lob_jax.models.masking import make_masks
from lob_jax.runs.beside import beside_of, read_in_training, regime_bins
from lob_jax.runs.own_flow import own_flow_digest, own_flow_of
from lob_jax.runs.records import prepare, tokenizer_of
from lob_jax.runs.samples import Sampler
from lob_jax.runs.source import check_source, start_of
from lob_jax.runs.synthetic import open_synthetic, prepare_synthetic, synthetic_identity
from lob_jax.runs.workdir import write_config
from lob_jax.training.run.budget import plan_on
from lob_jax.training.run.count_tables import READ, fit_tables
from lob_jax.training.run.data import TrainingData
from lob_jax.training.run.loop import OnValidation, TrainingSummary
from lob_jax.training.run.loop import train as run_training
from lob_jax.training.step.layout import make_mesh
from lob_jax.training.step.state import Measured, abstract_params
from lob_jax.training.step.tuning import make_tuning

MOST_READING = 15  # processes that read windows unless a number is given; each has a cache of records of its own
COUNTED_WINDOWS = 64  # at a time
MEASURED_WINDOWS = 256  # of the training split, from which features are standardised


def train(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path | str,
    *,
    on_validation: OnValidation | None = None,
    on_day: OnDay | None = None,
) -> TrainingSummary:
    """Prepare records if necessary, then train a model on them or resume its training; return a summary.

    After an interruption the same call resumes the run from its last checkpoint. `load_run` loads the trained run.

    A script must call this under `if __name__ == "__main__"`: like the processes of `prepare`, those that read windows
    (`config.data.workers`, by default where an accelerator trains) import the script.

    Args:
      config: the configuration of the run, see `get_config`.
      workdir: its folder: records/, checkpoints/, metrics.jsonl, tensorboard/, config.json.
      on_validation: called with (step, validation loss in nats per token, parameters) after each validation; the next
        step donates the parameters, so they must not be used after it returns.
      on_day: see `prepare`.

    Raises:
      InputError: as for `prepare`; or the run does not fit in memory, or the folder holds another run.
      TrainingError: see `lob_jax.training.run.loop.train`.
    """
    workdir = pathlib.Path(workdir)
    refuse_what_cannot_fit(config)
    check_source(config, workdir)
    prepare(config, workdir, on_day=on_day)
    prepare_synthetic(config, workdir)
    data = open_training_data(config, workdir)
    return fit(config, workdir, data, console=Console(quiet=True), on_validation=on_validation)


def fit(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    data: TrainingData,
    *,
    console: Console,
    on_validation: OnValidation | None = None,
) -> TrainingSummary:
    """Train a run on its data, or resume it, and write its configuration to its folder; see `train`."""
    settings, first = sections.plain(config), jax.process_index() == 0
    if first and not (workdir / RUN_FILE).exists():
        write_config(workdir, settings)
    listeners: list[OnValidation] = []
    if config.train.sample_events:
        listeners.append(Sampler(config, workdir, beside_of(config, workdir)).sample)
    if on_validation is not None:
        listeners.append(on_validation)

    def on_each(step: int, loss: float, params: Any) -> None:
        for listener in listeners:
            listener(step, loss, params)

    summary = run_training(
        sections.model_config(config),
        sections.train_config(config),
        data,
        seed=config.seed,
        folder=workdir,
        settings=settings,
        start=start_of(config, workdir),
        on_validation=on_each if listeners else None,
        console=console,
    )
    if first:
        write_config(workdir, settings)  # only now, so that a refused run does not replace the configuration
    return summary


def refuse_what_cannot_fit(config: ml_collections.ConfigDict) -> None:
    """Check, before any data are read, that a run fits on the devices and in their memory, and has what it trains.

    Raises:
      InputError: it does not fit, or a pattern of parameters matches none.
    """
    model, train_config = sections.model_config(config), sections.train_config(config)
    mesh = make_mesh(jax.devices(), fsdp=train_config.fsdp, tensor=train_config.tensor)
    plan_on(mesh, model, train_config)
    make_tuning(train_config, abstract_params(model))


def open_training_data(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> TrainingData:
    """Open the prepared records of a run for training; each of several processes reads different windows.

    Raises:
      InputError: there are no records or too few, or the batch size is not a multiple of the number of processes.
    """
    processes, batch_size = jax.process_count(), config.train.batch_size
    if batch_size % processes:
        raise InputError(
            "the batch cannot be divided evenly among the processes",
            where="config.train.batch_size",
            expected=f"a multiple of {processes}",
            was=batch_size,
            remedy="change it, or use another number of processes",
        )
    beside, manifest = beside_of(config, workdir), load_manifest(workdir / "records")
    # Not those of validation, whose digest says what a loss is measured on.
    training = windows_of(config, workdir, "train", read_in_training(beside, config))
    tokenizer, mask = tokenizer_of(config, workdir), config.model.mask
    cut = {"batch_size": batch_size // processes, "host_count": processes}
    reading = {"seed": config.seed, "epochs": None, "shuffle": True, "workers": reading_processes(config.data.workers)}
    return TrainingData(
        batches=functools.partial(batches, training, host_index=jax.process_index(), **cut, **reading),
        start=first_position(training, **cut),
        windows=len(training),
        validation=validation_batches(config, windows_of(config, workdir, "validation", beside)),
        vocabulary_hash=tokenizer.vocabulary.hash,
        measured=Measured(
            np.array(manifest["token_counts"]["train"], np.int64),
            moments(config, workdir, beside),
            counts_of(config, workdir, beside),
        ),
        masks=None if mask == "none" else make_masks(tokenizer.grammar, training_escapes(manifest)),
        also=(SHOWN,) if config.data.augment.token_dropout else (),
        fingerprint={
            "tokenizer": dataclasses.asdict(tokenizer.vocabulary),
            **window_settings(config),
            **synthetic_identity(config, workdir),
            **own_flow_digest(config, workdir),
            # Not the format: records that are prepared again in another one have the same tokens and splits.
            **{name: value for name, value in manifest["fingerprint"].items() if name != "format"},
        },
    )


def reading_processes(asked: int | None) -> int:
    """Return how many processes read training windows; without a number, those that keep an accelerator busy.

    On a CPU they would take its cores from the training step.
    """
    if asked is not None:
        return asked
    return 0 if jax.default_backend() == "cpu" else min(max(len(os.sched_getaffinity(0)) - 1, 1), MOST_READING)


def window_settings(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Return the settings of the data section that decide what is in the windows of given records, by key."""
    augment = sections.augment_config(config).settings()
    return {**regime_bins(config), **({"mirror": True} if config.data.mirror else {}), **augment}


def windows_of(config: ml_collections.ConfigDict, workdir: pathlib.Path, split: str, beside: Beside) -> Windows:
    """Open the windows of a split: training windows, or for the other splits windows that score every token once."""
    source = open_records(workdir / "records", split)
    windows = open_windows(sections.model_config(config), source, evaluation=split != "train", beside=beside)
    return windows if split != "train" else augmented(config, workdir, windows, beside)


def augmented(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    windows: TokenBookDataset | PairedDataset,
    beside: Beside,
) -> Windows:
    """Return training windows with the augmentations of a configuration.

    Raises:
      InputError: the tokens do not give the events of a record back, which some augmentations need; or there is no
        synthetic flow that fits, see `open_synthetic`; or no flow of the run's own, see `own_flow_of`.
    """
    found: Windows = windows
    if isinstance(windows, TokenBookDataset):
        how = sections.augment_config(config)
        flow = own_flow_of(config, workdir, windows) if how.own_flow else ()
        of_span = own_flow(flow, windows.spans, share=how.own_flow)
        found = altered = _altered(config, windows, beside, of_span)
        if how.synthetic:
            source = open_synthetic(config, workdir)
            synthetic = TokenBookDataset(
                source, context=windows.context, time_buckets=windows.time_buckets, evaluation=False, beside=beside
            )
            found = MixedWindows(altered, _altered(config, synthetic, beside, {}), share=how.synthetic)
    if config.data.mirror:
        found = MirroredWindows(found)
    hidden = config.data.augment.token_dropout
    return DroppedTokens(found, share=hidden) if hidden else found


def _altered(
    config: ml_collections.ConfigDict,
    windows: TokenBookDataset,
    beside: Beside,
    of_span: Mapping[Span, Sequence[Alteration]],
) -> TokenBookDataset | AlteredWindows:
    """Return windows with the alterations of events that a configuration asks for, and those of single windows."""
    alterations = sections.augment_config(config).alterations()
    if not alterations and not of_span:
        return windows
    assert beside.tokenizer is not None
    sizes = {"tokenizer": beside.tokenizer, "book_levels": config.data.book_levels}
    return AlteredWindows(windows, alterations, **sizes, of_span=of_span)


def moments(config: ml_collections.ConfigDict, workdir: pathlib.Path, beside: Beside) -> dict[str, np.ndarray]:
    """Return the mean and the standard deviation of each feature of evenly spaced windows, float32 [2, F].

    By name of the inputs that the model standardises.
    """
    names = sections.model_config(config).standardized
    if not names:
        return {}
    windows = windows_of(config, workdir, "train", without_places(beside))  # no token sets, which take most of the time
    chosen = evenly_spaced(len(windows), min(MEASURED_WINDOWS, len(windows)))
    inside = ((window, window["event"] >= 0) for window in map(windows.__getitem__, chosen))  # without padding
    parts = [{name: window[name][rows] for name in names} for window, rows in inside]
    return {name: feature_moments(np.concatenate([part[name] for part in parts])) for name in names}


def counts_of(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, beside: Beside
) -> dict[str, dict[str, np.ndarray]] | None:
    """Return the tables of the model's count model, of all training windows as they are in the records."""
    model = sections.model_config(config)
    if not model.counts:
        return None
    source = open_records(workdir / "records", "train")
    read = dataclasses.replace(beside, names=(*ALWAYS, *READ), prefix=False)
    windows = open_windows(model, source, evaluation=False, beside=read)
    every = np.array_split(np.arange(len(windows)), -(-len(windows) // COUNTED_WINDOWS))
    groups = ([windows[int(index)] for index in group] for group in every)
    joined = ({name: np.stack([window[name] for window in group]) for name in group[0]} for group in groups)
    return fit_tables(model, joined, records=len(source))


def validation_batches(config: ml_collections.ConfigDict, windows: Windows) -> list[dict[str, np.ndarray]]:
    """Return the windows of every validation as one batch, see `some_windows`."""
    return some_windows(windows, config.train.validation_windows)


def some_windows(windows: Windows, count: int) -> list[dict[str, np.ndarray]]:
    """Return so many windows of a split (or all, if it has fewer) as one batch, evenly spaced over it."""
    chosen = evenly_spaced(len(windows), min(count, len(windows)))
    parts = [{**windows[index], "example": np.int32(index)} for index in chosen]
    return [{name: np.stack([part[name] for part in parts]) for name in parts[0]}] if parts else []
