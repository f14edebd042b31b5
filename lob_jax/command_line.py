"""What a command line asks for, as plain data; nothing is read but its configuration file, and nothing is written."""

import dataclasses
import importlib.machinery
import importlib.util
import inspect
import pathlib
import shlex
import sys
import traceback
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import ml_collections
from absl import flags

from lob_jax.errors import InputError
from lob_jax.settings import Kind, check_like, defaults, expanded, kinds_of, meant, read, unknown_key

MODES = {
    "inspect": "show what is in the files of --config.data.path",
    "convert": "write them in another format",
    "prepare": "read them and write records of tokens",
    "train": "prepare if need be, train or go on training, and test the best checkpoint",
    "evaluate": "test the best checkpoint of a run",
    "generate": "continue test events with the best checkpoint of a run",
    "export": "write the parameters of the best checkpoint of a run",
    "sweep": "prepare if need be, and search hyper-parameters",
    "find_lr": "prepare if need be, and suggest a learning rate",
    "overfit": "prepare if need be, and see whether a single batch can be learned",
    "summary": "print what the model is and costs",
    "forecast": "prepare if need be, train a forecaster of the mid price and test it",
}
FLAGS = {
    "config": "a file of configs/, such as configs/tiny.py; a size may follow behind a colon",
    "mode": "what to do, train by default",
    "workdir": "folder of the run, runs/<name of the config> by default",
    "distributed": "join the processes that the cluster tells of (TPU, SLURM, MPI)",
    "coordinator": "host:port of process 0, where no cluster tells of it",
    "processes": "how many processes there are, with --coordinator",
    "process": "which of them this is, from 0, with --coordinator",
}
PROGRAM = ("lob_jax", "main.py")
LINE = "the command line"


@dataclasses.dataclass(frozen=True, eq=False)
class Command:
    """A command line, read.

    Attributes:
      config: with what the command line changes of it; locked.
      mode: of `MODES`.
      workdir: folder of the run.
      distributed: join the processes that the cluster tells of.
      coordinator: host:port of process 0; None where no cluster is joined by hand.
      processes: how many there are.
      process: which of them this is.
    """

    config: ml_collections.ConfigDict
    mode: str
    workdir: pathlib.Path
    distributed: bool
    coordinator: str | None
    processes: int | None
    process: int | None


def parse(argv: Sequence[str]) -> Command:
    """Return what a command line asks for; the first argument is the program.

    Raises:
      InputError: a flag, a key or a value that is none, or a configuration file that is not what it should be.
    """
    named = _parsed(argv, known_only=True)["config"]
    base = defaults()
    kinds = kinds_of(base)
    if named is None:
        _parsed(argv, kinds=kinds)  # it may be the name of the flag that is wrong
        raise InputError(
            "no configuration is named",
            where="--config",
            expected="a file such as configs/base.py",
            was="nothing",
            remedy="pass --config=configs/tiny.py to try the whole road in minutes",
        )
    path, config = load_config(named)
    check_like(config, base)
    given = _parsed(argv, kinds=kinds)
    for key, kind in kinds.items():
        text = given[f"config.{key}"]
        if text is not None:
            config.update_from_flattened_dict({key: read(text, kind, where=f"--config.{key}")})
    config.lock()
    return Command(
        config=config,
        mode=_mode(given["mode"] or "train"),
        workdir=_workdir(given["workdir"], path),
        distributed=given["distributed"] is not None and read(given["distributed"], Kind(bool), where="--distributed"),
        coordinator=given["coordinator"],
        processes=_count(given["processes"], "processes", least=1),
        process=_count(given["process"], "process", least=0),
    )


def _mode(mode: str) -> str:
    if mode not in MODES:
        near = meant(mode, MODES)
        raise InputError(
            "there is no such mode",
            where="--mode",
            expected=f"one of {', '.join(MODES)}",
            was=repr(mode),
            remedy=f"did you mean --mode={near}?" if near else "--help says what each does",
        )
    return mode


def _workdir(text: str | None, config: pathlib.Path) -> pathlib.Path:
    if text == "":
        raise InputError(
            "no folder is named",
            where="--workdir",
            expected="a folder for the run",
            was="an empty name",
            remedy=f"leave it out for runs/{config.stem}",
        )
    return expanded(f"runs/{config.stem}" if text is None else text, where="--workdir")


def _count(text: str | None, flag: str, *, least: int) -> int | None:
    if text is None:
        return None
    number = read(text, Kind(int), where=f"--{flag}")
    if number < least:
        raise InputError(
            "a count of processes out of range",
            where=f"--{flag}",
            expected=f"a whole number, {least} or more",
            was=number,
            remedy="processes are numbered from 0; --processes says how many there are",
        )
    return number


def _parsed(
    argv: Sequence[str], *, kinds: Mapping[str, Kind] | None = None, known_only: bool = False
) -> dict[str, str | None]:
    """Return the text of each flag, None of one that is not given; of one given more than once the last counts."""
    values = flags.FlagValues()
    values.set_gnu_getopt(True)
    types = {**dict.fromkeys(FLAGS, str), "distributed": bool}
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
            "the flags cannot be understood",
            where=LINE,
            expected="--flag=value",
            was=str(error),
            remedy="correct it; --help lists the flags",
        ) from error
    if len(rest) > 1 and not known_only:
        raise InputError(
            "there are arguments that no flag takes",
            where=LINE,
            expected=", ".join(f"--{name}" for name in FLAGS) + " and --config.<key>=<value>",
            was=shlex.join(rest[1:]),
            remedy="write values as --flag=value, in quotes where they hold spaces",
        )
    return {name: values[name].value for name in types}


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


def load_config(named: str) -> tuple[pathlib.Path, ml_collections.ConfigDict]:
    """Return the file that `path[:size]` names, and its configuration.

    Raises:
      InputError: there is no such file, it is no Python file that gives a configuration, or takes no such size.
    """
    text, colon, size = named.partition(":")
    path = _config_file(expanded(text, where="--config"))
    get_config = getattr(_module(path), "get_config", None)
    if not callable(get_config):
        raise InputError(
            "the configuration file has no get_config()",
            where=path,
            expected="a function get_config() that returns a ConfigDict",
            was="none",
            remedy="start from a copy of configs/tiny.py",
        )
    sizes = [size] if colon else []
    try:
        inspect.signature(get_config).bind(*sizes)
    except TypeError as error:
        raise InputError(
            "the configuration takes no size" if colon else "the configuration takes a size",
            where="--config",
            expected=f"{path}" if colon else f"{path}:<size>",
            was=named,
            remedy=f"leave :{size} out; configs/sized.py and the variants take sizes" if colon else "name the size",
        ) from error
    config = _run(path, lambda: get_config(*sizes))
    if not isinstance(config, ml_collections.ConfigDict):
        raise InputError(
            "get_config() returns no configuration",
            where=path,
            expected="an ml_collections.ConfigDict",
            was=type(config).__name__,
            remedy="return the configuration that the function has made",
        )
    return path, config


def _config_file(path: pathlib.Path) -> pathlib.Path:
    if path.is_file():
        return path
    near = _near_file(path)
    raise InputError(
        "there is no such configuration file",
        where="--config",
        expected="a file such as configs/base.py",
        was=f"{str(path)!r}{', which is a folder' if path.is_dir() else ''}",
        remedy=f"did you mean --config={near}?" if near else "name a file that exists; configs/ has those of lob_jax",
    )


def _near_file(path: pathlib.Path) -> pathlib.Path | None:
    """Return which file was probably meant: the same with its ending, or one like it beside it or in configs/."""
    if path.name and path.with_name(f"{path.name}.py").is_file():
        return path.with_name(f"{path.name}.py")
    for folder in (path.parent, pathlib.Path("configs")):
        files = {file.stem: file for file in sorted(folder.glob("*.py"))} if folder.is_dir() else {}
        near = meant(path.stem, files)
        if near:
            return files[near]
    return None


def _module(path: pathlib.Path) -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("lob_jax_configuration", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    _run(path, lambda: loader.exec_module(module))
    return module


def _run(path: pathlib.Path, call: Any) -> Any:
    """Call what a user's file holds, which may fail in any way."""
    try:
        return call()
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # whatever code a user's file holds can raise
        raise InputError(
            "the configuration file cannot be run",
            where=_place(error, path),
            expected="a Python file with a function get_config()",
            was=f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}",
            remedy="correct the file, or start from a copy of configs/tiny.py",
        ) from error


def _place(error: BaseException, path: pathlib.Path) -> str:
    """Return the file and the line at which an error came, the last that is the user's."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{error.filename}, line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path}, line {lines[-1]}" if lines else str(path)


def wants_help(argv: Sequence[str]) -> bool:
    """Return whether a command line asks what there is."""
    return any(argument.lstrip("-") in ("help", "h") and argument.startswith("-") for argument in argv[1:])


def help_text() -> str:
    """Return what a command line may hold."""
    lines = [
        "usage: python -m lob_jax.main --config=FILE [--mode=MODE] [--workdir=FOLDER] [--config.KEY=VALUE ...]",
        "",
    ]
    lines += [f"  --{name:<12} {meaning}" for name, meaning in FLAGS.items()]
    lines += [
        "  --config.KEY   any value of the configuration; configs/base.py has all keys, with their meaning",
        "",
        "modes:",
    ]
    lines += [f"  {name:<12} {meaning}" for name, meaning in MODES.items()]
    exits = "0 done, 1 not done, 2 wrong input, 70 a fault of the program, 75 stopped after saving: start it again"
    return "\n".join([*lines, "", f"exit status: {exits}"])


def command(arguments: Sequence[str], changes: Mapping[str, Any], *, mode: str, workdir: pathlib.Path) -> str:
    """Return the command that does something else with what a command line asked for.

    Args:
      arguments: of that command line, without the program.
      changes: values to use in place of its own, by key.
      mode: what to do.
      workdir: where.
    """
    kept = [flag for flag in _joined(arguments) if not _is_replaced(flag, changes)]
    chosen = [f"--config.{key}={value}" for key, value in changes.items()]
    return shlex.join(["python", "-m", "lob_jax.main", *kept, *chosen, f"--mode={mode}", f"--workdir={workdir}"])


def told_command(*, mode: str, workdir: pathlib.Path) -> str:
    """Return the running command with another mode; without a command, what a command would need."""
    if pathlib.Path(sys.argv[0]).parts[-2:] == PROGRAM:
        return command(sys.argv[1:], {}, mode=mode, workdir=workdir)
    return f"--mode={mode} --workdir={workdir}, with the same configuration"


def _joined(arguments: Sequence[str]) -> list[str]:
    """Return flags as --name=value, those too whose value is the argument behind them."""
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
