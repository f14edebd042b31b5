"""Parse a command line to plain data; this reads only the configuration, and writes nothing."""

import dataclasses
import os
import pathlib
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
from absl import flags

from lob_jax.config_sources import RUN_FILE, Source, load_config, run_config
from lob_jax.errors import InputError
from lob_jax.settings import Kind, check_like, defaults, expanded, kinds_of, meant, read, unknown_key, value_of
from lob_jax.signals import SCRIPT, program

MODES = {
    "inspect": "show the contents of the files of --config.data.path",
    "convert": "write these files in another format",
    "prepare": "read these files and write records of tokens",
    "train": "prepare if necessary, train or resume training, and test the best checkpoint",
    "evaluate": "test the best checkpoint of a run",
    "audit": "check that no test event has shaped a run: exit status 1 if one has",
    "generate": "continue test events with the best checkpoint of a run",
    "prune": "cut heads and feed-forward columns out of the best model of a run, into a new run",
    "export": "write the best checkpoint of a run as a bundle, which runs without JAX",
    "serve": "answer requests over HTTP, with bundles (--config.serve.bundle) or the best checkpoint of a run",
    "experiments": "show, create and decide experiments with models that are served: --config.serve.database",
    "sweep": "prepare if necessary, and search hyperparameters",
    "find_lr": "prepare if necessary, and suggest a learning rate",
    "overfit": "prepare if necessary, and check that a single batch can be learned",
    "summary": "print the structure and the cost of the model",
    "forecast": "prepare if necessary, train a forecaster of the mid price and test it",
    "report": "write everything that a run has found as one HTML file",
    "compare": "put runs side by side: --mode=compare FOLDER FOLDER ...",
    "score": "compare sequences of any generator with real ones: --config.score.real and --config.score.generated",
    "configs": "list the bundled configurations",
    "show_config": "print the complete configuration, as a file for --config",
}
COMPARE = "compare"  # the mode whose arguments without a flag are folders of runs
UNCONFIGURED = ("configs",)  # modes that need no configuration
# Modes that take the configuration of base unless one is given.
OF_FOLDERS = ("score", COMPARE, "report", "serve", "experiments")
# Modes that read only the records of the run.
FROM_RECORDS = ("evaluate", "audit", "generate", "prune", "export", "report", "serve")
FLAGS = {
    "config": "a bundled configuration, such as tiny or multi_scale:small, or a file; the run's by default",
    "mode": "what to do, train by default",
    "workdir": "folder of the run, runs/<name of the config> by default",
    "distributed": "join the processes of the cluster that JAX detects (TPU, SLURM, MPI)",
    "coordinator": "host:port of process 0, without such a cluster",
    "processes": "number of processes, with --coordinator",
    "process": "index of this process, from 0, with --coordinator",
}
PROGRAM = ("lob_jax", "main.py")
LINE = "the command line"


@dataclasses.dataclass(frozen=True, eq=False)
class Command:
    """A parsed command line.

    Attributes:
      config: the configuration with the command line's changes; locked.
      mode: one of `MODES`.
      workdir: folder of the run.
      distributed: whether to join the processes of a cluster that JAX detects.
      coordinator: host:port of process 0; None unless processes are joined by flags.
      processes: number of processes, likewise.
      process: index of this process, likewise.
      notes: sentences for the user about choices that may be unexpected.
    """

    config: ml_collections.ConfigDict
    mode: str
    workdir: pathlib.Path
    distributed: bool
    coordinator: str | None
    processes: int | None
    process: int | None
    notes: tuple[str, ...]


def parse(argv: Sequence[str]) -> Command:
    """Parse a command line, whose first argument is the program.

    Raises:
      InputError: a flag, a key, a value or the configuration file is invalid.
    """
    base = defaults()
    kinds = kinds_of(base)
    source = _source(_parsed(argv, known_only=True)[0], base)
    if source is None:
        raise _no_configuration(_parsed(argv, kinds=kinds)[0])  # first report unknown flags, such as --cofnig
    config = source.config
    check_like(config, base)
    given, folders = _parsed(argv, kinds=kinds)
    mode, changes = _mode(given["mode"] or "train"), _changes(given, kinds)
    changes |= {"compare.runs": folders} if folders else {}
    lost = _without_lost_data(source, changes, mode)
    notes = _notes(source, changes, lost)
    config.update_from_flattened_dict({**changes, **lost})
    config.lock()
    return Command(
        config=config,
        mode=mode,
        workdir=_workdir(given["workdir"], source.name),
        distributed=given["distributed"] is not None and read(given["distributed"], Kind(bool), where="--distributed"),
        coordinator=given["coordinator"],
        processes=_count(given["processes"], "processes", least=1),
        process=_count(given["process"], "process", least=0),
        notes=notes,
    )


def _source(first: Mapping[str, str | None], base: ml_collections.ConfigDict) -> Source | None:
    """Return the configuration of --config, else that of the run in --workdir; None if neither is there."""
    if first["config"] is not None:
        return load_config(first["config"], base)
    if first["mode"] in UNCONFIGURED:
        return Source(base.copy_and_resolve_references(), "base")
    path = _run_file(first)
    if path is not None and path.exists():
        return run_config(path, base)
    return Source(base.copy_and_resolve_references(), first["mode"]) if first["mode"] in OF_FOLDERS else None


def _run_file(given: Mapping[str, str | None]) -> pathlib.Path | None:
    return expanded(given["workdir"], where="--workdir") / RUN_FILE if given["workdir"] else None


def _no_configuration(given: Mapping[str, str | None]) -> InputError:
    path = _run_file(given)
    try_one = "pass --config=tiny to try everything in minutes; --mode=configs lists the bundled ones"
    return InputError(
        "no configuration is given",
        where="--config",
        expected="a bundled configuration or a file; or --workdir with the folder of a trained run",
        was="nothing" if path is None else f"nothing, and {path}, which training writes, does not exist",
        remedy=try_one if path is None else "pass --config, or the --workdir of another run",
    )


def _changes(given: Mapping[str, str | None], kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """Return the values given on a command line, by key."""
    texts = {key: given[f"config.{key}"] for key in kinds}
    return {key: read(text, kinds[key], where=f"--config.{key}") for key, text in texts.items() if text is not None}


def _without_lost_data(source: Source, changes: Mapping[str, Any], mode: str) -> dict[str, Any]:
    """Return changes that remove a run's data path, if the data no longer exist and the mode needs only records."""
    path = source.config.data.path
    gone = path and "data.path" not in changes and not os.path.exists(os.path.expanduser(path))
    return {"data.path": "", "data.feed": "auto"} if source.run_file and gone and mode in FROM_RECORDS else {}


def _notes(source: Source, changes: Mapping[str, Any], lost: Mapping[str, Any]) -> tuple[str, ...]:
    """Return notes on the origin of the configuration, and on the command line's changes to that of a run."""
    if source.run_file is None:
        return source.notes
    now = {key: (value_of(source.config, key), value) for key, value in changes.items()}
    changed = ", ".join(f"{key} {before!r} -> {value!r}" for key, (before, value) in now.items() if before != value)
    notes = [*source.notes, f"configuration: {source.run_file}{f'; changed here: {changed}' if changed else ''}"]
    if lost:
        notes.append(f"the data at {source.config.data.path} no longer exist: using the run's records unchecked")
    return tuple(notes)


def _mode(mode: str) -> str:
    if mode not in MODES:
        near = meant(mode, MODES)
        raise InputError(
            "there is no such mode",
            where="--mode",
            expected=f"one of {', '.join(MODES)}",
            was=repr(mode),
            remedy=f"did you mean --mode={near}?" if near else "--help describes each",
        )
    return mode


def _workdir(text: str | None, name: str) -> pathlib.Path:
    if text == "":
        raise InputError(
            "no folder is given",
            where="--workdir",
            expected="a folder for the run",
            was="an empty name",
            remedy=f"omit it for runs/{name}",
        )
    return expanded(f"runs/{name}" if text is None else text, where="--workdir")


def _count(text: str | None, flag: str, *, least: int) -> int | None:
    if text is None:
        return None
    number = read(text, Kind(int), where=f"--{flag}")
    if number < least:
        raise InputError(
            "a number of processes is out of range",
            where=f"--{flag}",
            expected=f"a whole number, {least} or more",
            was=number,
            remedy="processes are numbered from 0; --processes is their number",
        )
    return number


def _parsed(
    argv: Sequence[str], *, kinds: Mapping[str, Kind] | None = None, known_only: bool = False
) -> tuple[dict[str, str | None], tuple[str, ...]]:
    """Return the text of each flag, None for one that is not given, and the arguments without a flag.

    The last one counts if a flag is repeated.
    """
    values = flags.FlagValues()
    values.set_gnu_getopt(True)
    types: dict[str, type] = {**dict.fromkeys(FLAGS, str), "distributed": bool}
    types |= {f"config.{key}": kind.type for key, kind in (kinds or {}).items()}
    for name, of in types.items():
        flag = flags.Flag(flags.ArgumentParser(), flags.ArgumentSerializer(), name, None, "", boolean=of is bool)
        flags.DEFINE_flag(flag, values)
    try:
        rest = values(list(argv), known_only=known_only)
    except flags.UnrecognizedFlagError as error:
        raise _unknown_flag(error.flagname, types) from error
    except (
        flags.Error,
        ValueError,
    ) as error:  # a value that is missing or not wanted, a --flagfile that cannot be read
        raise InputError(
            "the flags cannot be parsed",
            where=LINE,
            expected="--flag=value",
            was=str(error),
            remedy="correct it; --help lists the flags",
        ) from error
    if len(rest) > 1 and not known_only and values["mode"].value != COMPARE:
        raise InputError(
            "there are arguments that belong to no flag",
            where=LINE,
            expected=", ".join(f"--{name}" for name in FLAGS) + " and --config.<key>=<value>",
            was=shlex.join(rest[1:]),
            remedy="write values as --flag=value, in quotes if they contain spaces",
        )
    return {name: values[name].value for name in types}, tuple(rest[1:])


def _unknown_flag(name: str, known: Mapping[str, type]) -> InputError:
    if name.startswith("config."):
        return unknown_key(name.removeprefix("config."), [one[7:] for one in known if one.startswith("config.")])
    near = meant(name, known)
    return InputError(
        "there is no such flag",
        where=LINE,
        expected=", ".join(f"--{flag}" for flag in FLAGS) + " or --config.<key>",
        was=f"--{name}",
        remedy=f"did you mean --{near}?" if near else "--help lists the flags",
    )


def wants_help(argv: Sequence[str]) -> bool:
    """Return whether a command line asks for help."""
    return _has(argv, "help", "h")


def wants_version(argv: Sequence[str]) -> bool:
    """Return whether a command line asks for the version."""
    return _has(argv, "version")


def _has(argv: Sequence[str], *names: str) -> bool:
    return any(argument.lstrip("-") in names and argument.startswith("-") for argument in argv[1:])


def help_text() -> str:
    """Return the text of --help."""
    lines = [
        f"usage: {shlex.join(program())} --config=NAME|FILE [--mode=MODE] [--workdir=FOLDER] [--config.KEY=VALUE ...]",
        f"       {shlex.join(program())} --workdir=FOLDER --mode=MODE   (a trained run, with its own configuration)",
        f"       {shlex.join(program())} --mode={COMPARE} FOLDER FOLDER ...   (trained runs side by side)",
        f"       {shlex.join(program())} --mode=configs | --help | --version",
        "",
    ]
    lines += [f"  --{name:<12} {meaning}" for name, meaning in FLAGS.items()]
    lines += [
        "  --config.KEY   any value of the configuration; configs/base.py describes all keys",
        "",
        "modes:",
    ]
    lines += [f"  {name:<12} {meaning}" for name, meaning in MODES.items()]
    exits = "0 success, 1 failure, 2 invalid input, 70 a bug in the program, 75 stopped after saving: start it again"
    return "\n".join([*lines, "", f"exit status: {exits}"])


def command(arguments: Sequence[str], changes: Mapping[str, Any], *, mode: str, workdir: pathlib.Path) -> str:
    """Return a command line with another mode, folder and values, and otherwise the same.

    Args:
      arguments: the arguments of the command line, without the program.
      changes: values that replace its own, by key.
      mode: the new mode.
      workdir: the new folder.
    """
    kept = [flag for flag in _joined(arguments) if not _is_replaced(flag, changes)]
    if not any(flag.startswith("--config=") for flag in kept):
        kept = [*_config_of_run(arguments, but=workdir), *kept]
    chosen = [f"--config.{key}={value}" for key, value in changes.items()]
    return shlex.join([*program(), *kept, *chosen, f"--mode={mode}", f"--workdir={workdir}"])


def _config_of_run(arguments: Sequence[str], *, but: pathlib.Path) -> list[str]:
    """Return --config for the run whose configuration a command line uses, unless its folder remains --workdir."""
    folders = [flag.partition("=")[2] for flag in _joined(arguments) if flag.startswith("--workdir=")]
    return [f"--config={pathlib.Path(folder) / RUN_FILE}" for folder in folders[-1:] if pathlib.Path(folder) != but]


def told_command(*, mode: str, workdir: pathlib.Path) -> str:
    """Return the running command with another mode; if no command is running, the flags that it would need."""
    path = pathlib.Path(sys.argv[0])
    if path.parts[-2:] == PROGRAM or path.name == SCRIPT:
        return command(sys.argv[1:], {}, mode=mode, workdir=workdir)
    return f"--mode={mode} --workdir={workdir}, with the same configuration"


def _joined(arguments: Sequence[str]) -> list[str]:
    """Return flags as --name=value, also if the value was a separate argument."""
    joined: list[str] = []
    for argument in arguments:
        if argument.startswith("-") or not joined:
            joined.append(f"--{argument.lstrip('-')}" if argument.startswith("-") else argument)
        else:
            joined[-1] += f"={argument}"
    return joined


def _is_replaced(flag: str, changes: Mapping[str, Any]) -> bool:
    name = flag.removeprefix("--").split("=", 1)[0]
    return name in ("mode", "workdir") or name.startswith("config.sweep.") or name.removeprefix("config.") in changes
