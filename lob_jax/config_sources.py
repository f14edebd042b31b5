"""Load a configuration from a file, by the name of a bundled one, or from the folder of a run."""

import dataclasses
import importlib.machinery
import importlib.util
import inspect
import json
import os
import pathlib
import traceback
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import ml_collections

from lob_jax import later_keys
from lob_jax.configs import bundled
from lob_jax.errors import InputError, flat
from lob_jax.settings import Kind, expanded, kinds_of, meant

RUN_FILE = "config.json"  # in a run's folder; training writes it
BROKEN = "restore the file, or pass --config as when the run was started"


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """A configuration and its origin.

    Attributes:
      config: the configuration as stored, unlocked.
      name: default name of the folder of a run with it.
      run_file: the config.json of the run that it was read from; None for a Python file.
      notes: sentences for the user about choices that may be unexpected.
    """

    config: ml_collections.ConfigDict
    name: str
    run_file: pathlib.Path | None = None
    notes: tuple[str, ...] = ()


def load_config(named: str, defaults: ml_collections.ConfigDict) -> Source:
    """Load the configuration named by `NAME[:SIZE]`, `FILE.py[:SIZE]` or the `config.json` of a run.

    The name of a bundled configuration selects it even if the working folder has a file of this name. Any other text is
    a path; if `configs/NAME.py` does not exist, the bundled one is selected as well.

    Raises:
      InputError: there is no such file, it does not define a configuration, or it does not take such a size.
    """
    text, colon, size = named.partition(":")
    path, notes = _file(text)
    if path.name == RUN_FILE and not colon:
        return run_config(path, defaults)
    return Source(_from_python(path, named, [size] if colon else []), path.stem, notes=notes)


def _file(text: str) -> tuple[pathlib.Path, tuple[str, ...]]:
    """Return the file that --config names, and notes about the choice."""
    known, path = bundled(), expanded(text, where="--config")
    if text in known:
        here = next((file for file in (path, path.with_suffix(".py")) if file.is_file()), known[text])
        note = f"--config={text}: using the bundled configuration; the file here is --config=./{here}"
        return known[text], () if os.path.samefile(here, known[text]) else (note,)
    if path.is_file():
        return path, ()
    if path.parent == pathlib.Path("configs") and path.suffix == ".py" and path.stem in known:
        note = f"--config={text}: there is no such file here; using the bundled configuration {path.stem}"
        return known[path.stem], (note,)
    near = _near(path)
    raise InputError(
        "there is no such configuration",
        where="--config",
        expected="the name of a bundled configuration, such as tiny, or a file",
        was=f"{text!r}{', which is a folder' if path.is_dir() else ''}",
        remedy=f"did you mean --config={near}?" if near else "name a file that exists; --mode=configs lists the others",
    )


def _near(path: pathlib.Path) -> pathlib.Path | str | None:
    """Return what was probably meant: the file with its suffix, a run's, one with a similar name, or a bundled one."""
    for file in (path.with_name(f"{path.name}.py") if path.name else path, path / RUN_FILE):
        if file.is_file():
            return file
    files = {file.stem: file for file in sorted(path.parent.glob("*.py"))} if path.parent.is_dir() else {}
    near = meant(path.stem, files)
    return files[near] if near else meant(path.stem, bundled())


def _from_python(path: pathlib.Path, named: str, sizes: Sequence[str]) -> ml_collections.ConfigDict:
    """Return the configuration that get_config() of a file returns for a size, or without one."""
    get_config = getattr(_module(path), "get_config", None)
    if not callable(get_config):
        raise InputError(
            "the configuration file has no get_config()",
            where=path,
            expected="a function get_config() that returns a ConfigDict",
            was="none",
            remedy="start from a copy of configs/tiny.py",
        )
    try:
        inspect.signature(get_config).bind(*sizes)
    except TypeError as error:
        size = f"leave out :{sizes[0]}; sized and the variants take sizes" if sizes else "add the size"
        raise InputError(
            "the configuration takes no size" if sizes else "the configuration takes a size",
            where="--config",
            expected=f"{path}" if sizes else f"{path}:<size>",
            was=named,
            remedy=size,
        ) from error
    config = _run(path, lambda: get_config(*sizes))
    if not isinstance(config, ml_collections.ConfigDict):
        raise InputError(
            "get_config() does not return a configuration",
            where=path,
            expected="an ml_collections.ConfigDict",
            was=type(config).__name__,
            remedy="return the configuration at the end of the function",
        )
    return config


def _module(path: pathlib.Path) -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("lob_jax_configuration", str(path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None  # always, if a loader is given
    module = importlib.util.module_from_spec(spec)
    _run(path, lambda: loader.exec_module(module))
    return module


def _run(path: pathlib.Path, call: Any) -> Any:
    """Call code of a user's file, which may raise any exception."""
    try:
        return call()
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        raise InputError(
            "the configuration file cannot be run",
            where=_place(error, path),
            expected="a Python file with a function get_config()",
            was=f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}",
            remedy="correct the file, or start from a copy of configs/tiny.py",
        ) from error


def _place(error: BaseException, path: pathlib.Path) -> str:
    """Return the file and the line of an error: the last one in the user's file."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{error.filename}, line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path}, line {lines[-1]}" if lines else str(path)


def run_config(path: pathlib.Path, defaults: ml_collections.ConfigDict) -> Source:
    """Return the configuration stored in a run's folder.

    Keys newer than the version that stored it get their neutral values, see `later_keys`, and are listed in the notes.

    Raises:
      InputError: the file is damaged, lacks other keys, or has unknown keys or values of wrong types.
    """
    saved, kinds = flat(_read_json(path)), kinds_of(defaults)
    written_by = str(saved.pop(later_keys.VERSION, later_keys.FIRST))
    source = later_keys.Source("the configuration", of="a run", where=path, written_by=written_by)
    values = later_keys.whole(saved, kinds, source)
    config = defaults.copy_and_resolve_references()
    config.update_from_flattened_dict(
        {key: _value(value, kinds[key], where=f"{path}, {key}") for key, value in values.items()}
    )
    notes = later_keys.remarks(later_keys.lacked(saved, kinds).values(), source)
    folder = path.absolute().parent.name
    return Source(config, folder or path.stem, run_file=path, notes=tuple(notes))


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(saved, dict) or not saved:
            raise ValueError(f"{saved!r}, which has no keys")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            "the configuration of the run cannot be read",
            where=path,
            expected="JSON, as training writes it",
            was=error,
            remedy=BROKEN,
        ) from error
    return saved


def _value(saved: object, kind: Kind, *, where: str) -> object:
    value = tuple(saved) if isinstance(saved, list) else saved  # JSON has no tuples
    if not kind.holds(value):
        raise InputError("a value of the wrong type", where=where, expected=kind, was=repr(saved), remedy=BROKEN)
    return value
