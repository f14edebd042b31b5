"""Start a run from the best parameters of another one: read them, and check that they mean the same in both."""

import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import ml_collections

from lob_jax.config import sections
from lob_jax.config_sources import RUN_FILE, run_config
from lob_jax.data.records.builder import VOCABULARY
from lob_jax.data.records.manifest import load_manifest
from lob_jax.errors import InputError, differing
from lob_jax.models.config import ModelConfig
from lob_jax.runs.records import tokenizer_of
from lob_jax.runs.workdir import write_json
from lob_jax.settings import defaults, expanded
from lob_jax.tokens.vocabulary import Vocabulary
from lob_jax.training.run.checkpoint import restore_best, steps_in
from lob_jax.training.run.weights import sha256_of
from lob_jax.training.source import Start, allowed_differences, changed_settings, in_layout_of, taken_over

INIT = "config.train.init"


def check_source(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Check, before data are read, that a new run can start from the run that it names; one that goes on needs none.

    Raises:
      InputError: there is no such run, its model differs more than is allowed, or its tokens mean other things.
    """
    if not config.train.init or steps_in(workdir / "checkpoints"):
        return
    folder = _folder_of(config, workdir)
    _allowed(config, folder)
    _check_tokens(config, workdir, folder)


def start_of(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Callable[[], Start] | None:
    """Return the function that reads what a run starts from, once its records are prepared; None if it starts anew."""
    return functools.partial(_start, config, workdir) if config.train.init else None


def _start(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Start:
    """Return what a new run takes over from the run that it names; errors are those of `check_source`."""
    folder, ours = _folder_of(config, workdir), sections.model_config(config)
    theirs, different = _allowed(config, folder)
    vocabulary = _check_tokens(config, workdir, folder)
    params, best = restore_best(folder / "checkpoints", model=theirs, vocabulary_hash=vocabulary.hash)
    params = jax.device_get(params)
    symbols, known = (_symbols(one / "records") for one in (workdir, folder))
    taken = taken_over(
        in_layout_of(params, theirs, ours), different, symbols=symbols, known=known, instruments=ours.n_instruments
    )
    changed = changed_settings(theirs, ours)
    source = {
        "folder": str(folder.absolute()),
        "step": best.step,
        "validation_loss": best.validation_loss,
        "parameters": sha256_of(params),
        "identity": hashlib.sha256(json.dumps(best.identity, sort_keys=True).encode()).hexdigest(),
        "differences": different,
        "settings": changed,
        "symbols": known,
        "days": best.identity["data"].get("days", []),
        "source": best.source,
    }
    write_json(workdir / "init.json", source)
    return Start(taken, source, _remarks(folder, source, symbols if ours.n_instruments else []))


def _remarks(folder: pathlib.Path, source: dict[str, Any], symbols: list[str]) -> tuple[str, ...]:
    """Return what the log says of a source."""
    sentences = [f"starts from the best parameters of {folder}, of step {source['step']:,}"]
    if source["differences"]:
        listed = "; ".join(f"{name} ({how})" for name, how in source["differences"].items())
        sentences.append(f"not taken from there: {listed}")
    if source["settings"]:
        listed = ", ".join(f"{key} {one!r} -> {other!r}" for key, (one, other) in source["settings"].items())
        sentences.append(f"settings of the model that differ from there: {listed}")
    added = [symbol for symbol in symbols if symbol not in source["symbols"]]
    if added:
        sentences.append(f"instruments without a row in its table, whose rows start at random: {', '.join(added)}")
    return tuple(sentences)


def _folder_of(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> pathlib.Path:
    """Return the folder of the run to start from, which has checkpoints and is not that of the new run."""
    folder = expanded(config.train.init, where=INIT)
    if jax.process_count() > 1:
        raise _refused("one process, to start from another run", jax.process_count(), "start the run in one process")
    if not steps_in(folder / "checkpoints"):
        remedy = "name the --workdir of a run that was trained"
        raise _refused("the folder of a trained run", f"{folder}, which has no checkpoints", remedy)
    if folder.resolve() == workdir.resolve():
        raise _refused("the folder of another run", folder, "pass another --workdir for the new run")
    return folder


def _refused(expected: object, was: object, remedy: str) -> InputError:
    what = "the run cannot start from there"
    return InputError(what, where=INIT, expected=expected, was=was, remedy=remedy)


def _allowed(config: ml_collections.ConfigDict, folder: pathlib.Path) -> tuple[ModelConfig, dict[str, str]]:
    """Return the source's model, and how its parameters differ; see `allowed_differences`."""
    theirs = sections.model_config(run_config(folder / RUN_FILE, defaults()).config)
    return theirs, allowed_differences(theirs, sections.model_config(config), allow=config.train.init_allow)


def _check_tokens(config: ml_collections.ConfigDict, workdir: pathlib.Path, folder: pathlib.Path) -> Vocabulary:
    """Return the source's vocabulary, which must be the new run's.

    Raises:
      InputError: they differ; the error has one line for each field that does.
    """
    theirs = Vocabulary.load(folder / "records" / VOCABULARY)
    ours = tokenizer_of(config, workdir).vocabulary
    if ours.hash != theirs.hash:
        expected, was = differing(dataclasses.asdict(theirs), dataclasses.asdict(ours))
        raise InputError(
            "the tokens of the run mean other things than those of the run that it starts from",
            where=f"{INIT}, {folder / 'records' / VOCABULARY}",
            expected=expected,
            was=was,
            remedy="give config.tokens the values of that run, in a --workdir without records of other tokens",
        )
    return theirs


def _symbols(records: pathlib.Path) -> list[str]:
    """Return the symbols of some records, in the order of a table of instruments."""
    return sorted({day["symbol"] for day in load_manifest(records)["days"]})
