"""The stage `experiments`: show, create and decide experiments with models that are served."""

import contextlib
import datetime
import getpass
import json
import os
import pathlib
import secrets
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import ml_collections
import numpy as np
from rich.table import Table

from lob_jax.console import console, show
from lob_jax.errors import InputError
from lob_jax.serving.config import serve_config
from lob_jax.serving.experiments.analysis import analysed
from lob_jax.serving.experiments.config import ExperimentsConfig, experiments_config
from lob_jax.serving.experiments.experiment import GUARDS, Experiment, experiment_of
from lob_jax.serving.experiments.results import Analysis, ArmResult, Decision, Guard, Interval, Standing

if TYPE_CHECKING:
    from lob_jax.serving.experiments.store.store import Store

SALT_BYTES = 16
NOTHING = "-"


def experiments(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Create an experiment or record a decision, if asked to, and show one experiment or a list of all.

    Raises:
      InputError: there is no database, it does not answer, or what is asked is invalid or not allowed.
    """
    settings = experiments_config(config.experiments)
    url = serve_config(config.serve).database
    if not url:
        raise _without_database()
    try:
        from lob_jax.serving.experiments.store.errors import Unavailable
        from lob_jax.serving.experiments.store.store import Store
    except ImportError as error:
        raise without_packages(error) from error
    try:
        with contextlib.closing(Store(url)) as store:
            _answer(store, settings)
    except Unavailable as error:
        raise _unavailable(error) from error


def _answer(store: "Store", settings: ExperimentsConfig) -> None:
    if settings.create:
        experiment = read_experiment(pathlib.Path(settings.create).expanduser(), now_s=time.time())
        store.create(experiment)
        console.print(f"created {experiment.name}: {described(experiment)}")
    if not settings.name:
        show(list_table(store))
        return
    experiment = store.experiment(settings.name)
    analysis = analysed(experiment, store.kept(experiment))
    if settings.decision:
        decision = Decision(
            decision=settings.decision,
            arm=settings.arm,
            by=user(),
            because=settings.because,
            at_s=time.time(),
            known=analysis.to_json(),
        )
        store.decide(settings.name, decision)
    standing = store.standing(settings.name)
    console.print(f"{experiment.name}: {described(experiment)}; {standing_words(standing)}")
    show(arms_table(experiment, analysis, standing))
    decisions = store.decisions(settings.name)
    if decisions:
        show(decisions_table(decisions))
    for line in conclusions(analysis, standing):
        console.print(line)


def read_experiment(path: pathlib.Path, *, now_s: float) -> Experiment:
    """Return the experiment of a file of JSON; a salt that it lacks is random, and it begins now unless it says when.

    Raises:
      InputError: the file cannot be read, or is no experiment.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(plain, dict):
        raise _unreadable(path, f"JSON of another kind: {type(plain).__name__}")
    return experiment_of({"salt": secrets.token_hex(SALT_BYTES), "created_s": now_s, **plain})


def user() -> str:
    """Return the login name of who runs this, or the number of one without a name, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def described(experiment: Experiment) -> str:
    """Return in words what an experiment is."""
    arms = ", ".join(f"{arm.name} ({arm.model})" for arm in experiment.arms)
    begun = moment(experiment.created_s)
    return f"{experiment.design}, {arms}, blocks of {experiment.block} events, since {begun}"


def moment(at_s: float) -> str:
    """Return a time in UTC."""
    return datetime.datetime.fromtimestamp(at_s, tz=datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def standing_words(standing: Standing) -> str:
    """Return in words how an experiment stands."""
    tripped = f"; circuit breaker open: {', '.join(sorted(standing.tripped))}" if standing.tripped else ""
    winner = "" if standing.status == "running" else f", {standing.winner} answers"
    return f"{standing.status}{winner}{tripped}"


def list_table(store: "Store") -> Table:
    """Return a table of all experiments."""
    shown = Table(title="experiments")
    for heading in ("name", "design", "status", "arms"):
        shown.add_column(heading)
    for heading in ("units", "blocks"):
        shown.add_column(heading, justify="right")
    shown.add_column("advice")
    for experiment in store.experiments():
        kept, standing = store.kept(experiment), store.standing(experiment.name)
        shown.add_row(
            experiment.name,
            experiment.design,
            standing_words(standing),
            ", ".join(arm.name for arm in experiment.arms),
            f"{len(kept.units):,}",
            f"{len(kept.unit_B):,}",
            analysed(experiment, kept).advice if standing.status == "running" else NOTHING,
        )
    return shown


def arms_table(experiment: Experiment, analysis: Analysis, standing: Standing) -> Table:
    """Return a table of what is known of each arm."""
    shown = Table(title=f"{experiment.name}: differences from {experiment.control.name}")
    shown.add_column("arm", no_wrap=True)
    for heading in ("units", "blocks", "nats per event", "Brier score", *GUARDS):
        shown.add_column(heading, justify="right")
    shown.add_column("verdict")
    for arm in experiment.arms:
        result, is_control = analysis.arms[arm.name], arm == experiment.control
        differences = (NOTHING, NOTHING) if is_control else map(interval_text, (result.nats, result.brier))
        guards = (guard_text(result.guards[name]) for name in GUARDS)
        shown.add_row(
            arm.name,
            f"{result.units:,}",
            f"{result.blocks:,}",
            *differences,
            *guards,
            "control" if is_control else verdict(arm.name, result, standing),
        )
    return shown


def verdict(name: str, result: ArmResult, standing: Standing) -> str:
    """Return what is known of an arm in a word, and whether its circuit breaker is open."""
    return f"{result.verdict}, tripped" if name in standing.tripped else result.verdict


def interval_text(interval: Interval) -> str:
    """Return a difference with its bounds."""
    if np.isnan(interval.mean):
        return NOTHING
    return f"{interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"


def guard_text(guard: Guard) -> str:
    """Return how often something happened, and whether that is too often."""
    if np.isnan(guard.share):
        return NOTHING
    return f"{guard.share:.2%} of {guard.tolerated:.2%}{', too often' if guard.tripped else ''}"


def decisions_table(decisions: Sequence[Decision]) -> Table:
    """Return a table of decisions."""
    shown = Table(title="decisions")
    for heading in ("when", "decision", "arm", "by", "because"):
        shown.add_column(heading)
    for one in decisions:
        shown.add_row(moment(one.at_s), one.decision, one.arm or NOTHING, printable(one.by), printable(one.because))
    return shown


def printable(text: str) -> str:
    """Return a text that somebody has sent without characters that would steer a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def conclusions(analysis: Analysis, standing: Standing) -> list[str]:
    """Return the last lines: whether units are distributed as they should be, and what is advised while it runs."""
    evidence = f"evidence {analysis.ratio_evidence:.3g} against it, of 1,000 at which nothing can be concluded"
    broken = "units are not distributed as the weights say" if analysis.ratio_broken else "units by arm: as expected"
    lines = [f"{broken}; {evidence}"]
    if standing.status == "running":
        lines.append(f"advice: {analysis.advice}, because {analysis.because}")
    return lines


def without_packages(error: ImportError) -> InputError:
    """Return the error for an installation without the packages of databases."""
    return InputError(
        "experiments need packages that are not installed",
        where="--mode=experiments",
        expected="an installation with the extra [experiments]",
        was=error,
        remedy='pip install -e ".[experiments]"',
    )


def _without_database() -> InputError:
    return InputError(
        "no database of experiments is given",
        where="config.serve.database",
        expected="sqlite:///FILE or postgresql://USER@HOST/NAME",
        was="nothing",
        remedy="pass --config.serve.database= as the server has it",
    )


def _unavailable(error: Exception) -> InputError:
    return InputError(
        "the database of experiments does not answer",
        where="config.serve.database",
        expected="an answer",
        was=error,
        remedy="try again: nothing is kept by halves, and nothing twice",
    )


def _unreadable(path: pathlib.Path, was: Any) -> InputError:
    return InputError(
        "the experiment cannot be read",
        where=path,
        expected="a file of JSON with name, design and arms, and what else differs from the defaults",
        was=was,
        remedy="correct the file or config.experiments.create",
    )
