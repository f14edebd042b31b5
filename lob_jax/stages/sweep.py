"""The stage `sweep`: search for hyper-parameters with Optuna; each trial is a training run, and bad ones stop early.

The complete state of a sweep is in its folder. Each trial starts from that state alone, whether or not the command was
restarted, so a sweep that is killed at any time resumes with the same command and gives the same trials.
"""

import dataclasses
import gc
import logging
import math
import os
import pathlib
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import jax
import ml_collections
import numpy as np
from rich.table import Table

from lob_jax.command_line import command
from lob_jax.config import sections, validation
from lob_jax.config.search_space import Space, Value, describe_space, suggest
from lob_jax.console import console, show
from lob_jax.errors import InputError, TrainingError, differing, flat
from lob_jax.later_keys import FIRST, VERSION, Source, completed, refuse_newer, version
from lob_jax.lock import locked
from lob_jax.runs.source import check_source, start_of
from lob_jax.runs.synthetic import prepare_synthetic
from lob_jax.runs.training import open_training_data, refuse_what_cannot_fit
from lob_jax.runs.workdir import write_config, write_json
from lob_jax.signals import Stopped, exit_status, listening, same_command
from lob_jax.stages.data import prepare
from lob_jax.training.run.interruption import status_of
from lob_jax.training.run.logs import read_metrics
from lob_jax.training.run.loop import train as run_training

if TYPE_CHECKING:
    import optuna

NAME = "sweep"  # of the study; Hyperband hashes it to assign trials to brackets
OBJECTIVE = "lowest validation loss, nats per token"
SHOWN = 10  # trials in the table
NO_TRIAL = 1  # the exit status if no trial was completed
# These keys do not affect the loss, so they may differ when a sweep is resumed.
FREE = (
    *("data.processes", "data.workers", "data.runner", "data.runner_options", "train.log_every", "train.keep_best"),
    *("train.max_hours", "train.sample_events", "train.profile_step", "train.profile_steps"),
)


class _PrunedError(Exception):
    """End a trial that has fallen behind the others."""


class _InterruptedError(BaseException):
    """End the sweep, which can be resumed: a trial was interrupted and saved, see `training.run.interruption`."""


@dataclasses.dataclass(frozen=True)
class TrialRecord:
    """A trial, as in sweep.json.

    Attributes:
      number: index of the trial, from 0.
      state: complete, pruned, failed or running.
      parameters: the values of the searched keys.
      loss: the lowest validation loss, nats per token; None before the first validation.
      step: the step of that loss.
      folder: folder of its run, relative to the sweep's folder.
      reason: why it failed; None if it did not.
    """

    number: int
    state: str
    parameters: dict[str, Value]
    loss: float | None
    step: int | None
    folder: str
    reason: str | None


def sweep(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int | None:
    """Run trials until there are `sweep.trials` of them; return the exit status."""
    _import_optuna()
    refuse_what_cannot_fit(config)
    check_source(config, workdir)
    prepare(config, workdir)
    with locked(workdir / "sweep.lock", doing="sweeping"):
        try:
            with listening():
                _run_trials(config, workdir)
        except (_InterruptedError, Stopped) as stop:
            write_json(workdir / "sweep.json", _contents(open_study(config, workdir)))
            console.print(
                f"stopped; the same command resumes the trial that was running, from its checkpoint: {same_command()}"
            )
            return exit_status(stop.number) if isinstance(stop, Stopped) else status_of(str(stop))
        records = records_of(open_study(config, workdir))
    show(results_table(records))
    for line in _ending(records, workdir, sys.argv[1:]):
        console.print(line)
    return None if best_of(records) else NO_TRIAL


def _import_optuna() -> ModuleType:
    """Import Optuna, with its messages limited to warnings.

    Raises:
      InputError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise InputError(
            "a sweep needs Optuna, which is not installed",
            where="--mode=sweep",
            expected="an installation with the extra [sweep]",
            was=error,
            remedy='pip install -e ".[sweep]"',
        ) from error
    optuna.logging.set_verbosity(logging.WARNING)
    return optuna


def open_study(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> "optuna.study.Study":
    """Return the study in a sweep's folder, creating it if there is none.

    Raises:
      InputError: its trials cannot be compared with those of the configuration.
    """
    optuna = _import_optuna()
    study = optuna.create_study(
        study_name=NAME,
        storage=_address(workdir),
        direction="minimize",
        load_if_exists=True,
    )
    wanted = terms(config)
    if "terms" not in study.user_attrs:  # new, or killed before the first trial
        study.set_user_attr("terms", wanted)
        study.set_user_attr(VERSION, version())
    source = Source(
        "the sweep", of="a sweep", where=workdir / "sweep.db", written_by=study.user_attrs.get(VERSION, FIRST)
    )
    _refuse_other_terms(study.user_attrs["terms"], wanted, source)
    study.pruner = _pruner(study, config.sweep)
    return study


def _address(workdir: pathlib.Path) -> str:
    return f"sqlite:///{workdir.resolve() / 'sweep.db'}"


def _pruner(study: "optuna.study.Study", section: ml_collections.ConfigDict) -> "optuna.pruners.BasePruner":
    """Return the pruner, which decides after each validation whether a trial continues; it counts from 1."""
    optuna = _import_optuna()
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if section.pruner == "none" or not complete or len(complete) < section.startup_trials:
        return optuna.pruners.NopPruner()
    first = section.warmup_validations + 1
    if section.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=0, n_warmup_steps=first)
    longest = max(trial.last_step or 1 for trial in complete)
    return optuna.pruners.HyperbandPruner(min_resource=min(first, longest), max_resource=longest)


def terms(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Return the settings that all trials of a sweep share, as flat JSON values."""
    space = sections.search_space(config)
    free = {*FREE, *(dimension.key for dimension in space)}
    shared = {"objective": OBJECTIVE, "sweep.space": describe_space(space), "seed": config.seed}
    shared |= {f"sweep.{key}": config.sweep[key] for key in ("pruner", "startup_trials", "warmup_validations")}
    for section, values in sections.plain(config).items():
        if section in ("data", "tokens", "model", "train"):
            shared |= {f"{section}.{key}": value for key, value in values.items() if f"{section}.{key}" not in free}
    return shared


def _refuse_other_terms(saved: dict[str, Any], wanted: dict[str, Any], source: Source) -> None:
    saved, wanted = flat(saved), flat(wanted)
    saved = completed(saved, wanted)
    refuse_newer(saved.keys() - wanted.keys(), source)
    of_sweep, now = differing(saved, wanted)
    if of_sweep:
        raise InputError(
            "this folder has a sweep with other settings",
            where=source.where,
            expected=of_sweep,
            was=now,
            remedy="use the settings it was started with, or another --workdir",
        )


def _run_trials(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Resume the trial that was running, if any, then start new ones until there are `sweep.trials`."""
    space = sections.search_space(config)
    while True:
        study = open_study(config, workdir)
        write_json(workdir / "sweep.json", _contents(study))
        states = [trial.state for trial in study.get_trials(deepcopy=False)]
        if sum(state.is_finished() for state in states) >= config.sweep.trials:
            return
        trial = _next_trial(study, space, workdir, seed=config.seed)
        parameters = suggest(space, trial)
        listed = "  ".join(f"{key} {_readable(value)}" for key, value in parameters.items())
        console.print(f"trial {trial.number} of 0..{config.sweep.trials - 1}: {listed}")
        _run_trial(config, parameters, trial, study, workdir)
        jax.clear_caches()  # each trial compiles new programs; without this their memory would add up
        gc.collect()


def _next_trial(study: "optuna.study.Study", space: Space, workdir: pathlib.Path, *, seed: int) -> "optuna.trial.Trial":
    """Return the trial that was interrupted, or a new one.

    The parameters of a new trial depend only on the seed and the earlier trials. They are drawn in a study in memory
    and stored in one transaction, so that an interruption can neither store some of them nor change them.
    """
    optuna = _import_optuna()
    running = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
    if running:
        storage = optuna.storages.get_storage(_address(workdir))
        mine = storage.get_study_id_from_name(NAME)
        return optuna.trial.Trial(study, storage.get_trial_id_from_study_id_trial_number(mine, running[0].number))
    if not study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,)):
        study.enqueue_trial(_draw(study, space, seed=seed))
    return study.ask()


def _draw(study: "optuna.study.Study", space: Space, *, seed: int) -> dict[str, Value]:
    """Draw the parameters of a study's next trial with the tree-structured Parzen estimator."""
    optuna = _import_optuna()
    before = study.get_trials(deepcopy=False)
    startup = study.user_attrs["terms"]["sweep.startup_trials"]
    (own,) = np.random.SeedSequence((seed, len(before))).generate_state(1)
    sampler = optuna.samplers.TPESampler(n_startup_trials=startup, seed=int(own))
    scratch = optuna.create_study(direction="minimize", sampler=sampler)
    scratch.add_trials(before)
    return suggest(space, scratch.ask())


def _run_trial(
    config: ml_collections.ConfigDict,
    parameters: dict[str, Value],
    trial: "optuna.trial.Trial",
    study: "optuna.study.Study",
    workdir: pathlib.Path,
) -> None:
    """Train with the parameters and record the result in the study; a trial that fails does not end the sweep."""
    states = _import_optuna().trial.TrialState
    state, reason = states.COMPLETE, None
    try:
        _train(config, parameters, trial, workdir)
    except _PrunedError:
        state = states.PRUNED
    except (InputError, TrainingError, jax.errors.JaxRuntimeError) as error:
        state, reason = states.FAIL, _reason(error)
    losses = recorded_losses(workdir / folder_of(trial.number))
    loss, step = min(losses.items(), key=lambda pair: pair[::-1], default=(None, None))[::-1]
    if state == states.COMPLETE and (loss is None or not math.isfinite(loss)):
        state, reason = states.FAIL, "no validation loss was finite"
    if loss is not None and math.isfinite(loss):
        trial.set_user_attr("loss", loss)
        trial.set_user_attr("step", step)
    if reason is not None:
        trial.set_user_attr("reason", reason)
    study.tell(trial, loss if state == states.COMPLETE else None, state=state)
    shown = f"{loss:.4f} nats per token at step {step:,}" if loss is not None else "no loss"
    console.print(f"trial {trial.number} {_name(state)}: {reason or shown}")


def _reason(error: Exception) -> str:
    """Return in one line why a trial failed; re-raise device errors other than lack of memory, which end the sweep."""
    if isinstance(error, InputError):
        return f"{error.what} ({error.where}: expected {error.expected}, was {error.was})"
    if isinstance(error, TrainingError):
        return f"{error.what}, step {error.step}"
    if "RESOURCE_EXHAUSTED" not in str(error):
        raise error
    return "a device ran out of memory"


def _train(
    config: ml_collections.ConfigDict,
    parameters: dict[str, Value],
    trial: "optuna.trial.Trial",
    workdir: pathlib.Path,
) -> None:
    """Train in a trial's folder, resuming from a checkpoint there; the folder is that of an ordinary run.

    Raises:
      _PrunedError: the pruner ended the trial.
      InputError, TrainingError: see `lob_jax.training.run.loop.train`.
      _InterruptedError: a signal or `train.max_hours` ended the training before its last step.
    """
    mine = config.copy_and_resolve_references()
    mine.update_from_flattened_dict(parameters)
    validation.validate(mine)
    folder, every = workdir / folder_of(trial.number), mine.train.validate_every
    for step, loss in recorded_losses(
        folder
    ).items():  # the trial may have been killed between a checkpoint and its report
        _report(trial, step, loss, every=every)
    _make_folder(folder, records=workdir / "records")
    prepare_synthetic(mine, folder)  # what is searched may be how much there is of it
    settings, data = sections.plain(mine), open_training_data(mine, folder)
    write_config(folder, settings)
    summary = run_training(
        sections.model_config(mine),
        sections.train_config(mine),
        data,
        seed=mine.seed,
        folder=folder,
        settings=settings,
        start=start_of(mine, folder),
        on_validation=lambda step, loss, _: _report(trial, step, loss, every=every),
        console=console,
    )
    if summary.interrupted is not None:
        raise _InterruptedError(summary.interrupted)


def _report(trial: "optuna.trial.Trial", step: int, loss: float, *, every: int) -> None:
    """Report a validation to the study, once, and raise an error if the pruner ends the trial."""
    validation = -(-step // every)
    if validation not in trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values:
        trial.report(loss, validation)
    if trial.should_prune():
        raise _PrunedError


def _make_folder(folder: pathlib.Path, *, records: pathlib.Path) -> None:
    """Create a trial's folder, with a symbolic link to the records of the sweep."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "records").is_symlink():
        (folder / "records").symlink_to(os.path.relpath(records, folder), target_is_directory=True)


def folder_of(number: int) -> str:
    """Return the folder of a trial's run, relative to the sweep's folder."""
    return f"trials/{number}"


def recorded_losses(folder: pathlib.Path) -> dict[int, float]:
    """Return the validation losses in a run's metrics, by step; infinity for losses that were not finite."""
    losses = {}
    for _, figures in read_metrics(folder / "metrics.jsonl"):
        if figures is not None and "validation_loss" in figures:
            loss = figures["validation_loss"]
            losses[figures["step"]] = math.inf if loss is None else loss
    return losses


def _name(state: "optuna.trial.TrialState") -> str:
    return {"FAIL": "failed", "WAITING": "running"}.get(state.name, state.name.lower())


def records_of(study: "optuna.study.Study") -> list[TrialRecord]:
    """Return the trials of a study, in order."""
    return [
        TrialRecord(
            number=trial.number,
            state=_name(trial.state),
            parameters=trial.params or trial.system_attrs["fixed_params"],
            loss=trial.user_attrs.get("loss"),
            step=trial.user_attrs.get("step"),
            folder=folder_of(trial.number),
            reason=trial.user_attrs.get("reason"),
        )
        for trial in study.get_trials(deepcopy=False)
    ]


def best_of(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """Return the completed trial with the lowest loss; None if no trial was completed."""
    complete = [record for record in records if record.state == "complete"]
    return min(complete, key=lambda record: (record.loss, record.number), default=None)


def _contents(study: "optuna.study.Study") -> dict[str, Any]:
    """Return the contents of sweep.json."""
    records = records_of(study)
    best = best_of(records)
    return {
        "objective": OBJECTIVE,
        "space": study.user_attrs["terms"]["sweep.space"],
        "best": None if best is None else best.number,
        "trials": [dataclasses.asdict(record) for record in records],
    }


def _readable(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def results_table(records: Sequence[TrialRecord]) -> Table:
    """Return a table of the trials with the lowest losses, with the number of trials by state."""
    keys = list(records[0].parameters) if records else []
    table = Table(title=f"the best of {len(records)} trials, {OBJECTIVE}")
    for heading in ("trial", "loss, nats per token", "step", *keys):
        table.add_column(heading, justify="right")
    table.add_column("state")
    measured = [record for record in records if record.loss is not None]
    for record in sorted(measured, key=lambda record: (record.loss, record.number))[:SHOWN]:
        figures = (str(record.number), f"{record.loss:.4f}", f"{record.step:,}")
        table.add_row(*figures, *(_readable(record.parameters[key]) for key in keys), record.state)
    states = [record.state for record in records]
    table.caption = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return table


def _ending(records: Sequence[TrialRecord], workdir: pathlib.Path, arguments: Sequence[str]) -> list[str]:
    """Return the last lines of a sweep: where its results are, and the commands for the best trial."""
    best, lines = best_of(records), [f"all trials: {workdir / 'sweep.json'}; their runs: {workdir / 'trials'}"]
    if best is None:
        failed = next((record.reason for record in records if record.reason), "all were pruned")
        return [*lines, f"no trial was completed: {failed}"]
    return [
        *lines,
        f"to test the model of trial {best.number}:",
        f"  {command(arguments, best.parameters, mode='evaluate', workdir=workdir / best.folder)}",
        "to train again with its parameters:",
        f"  {command(arguments, best.parameters, mode='train', workdir=workdir / 'best')}",
    ]
