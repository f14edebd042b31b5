"""Train one cell of a paired comparison, test it, and let it generate: what a variant gives from one seed.

A cell is an ordinary run in a folder of its own, whose records are shared with the other cells. `result.json` is
written last, so that a cell without one is not finished, and the same call goes on from its last checkpoint.
"""

import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import ml_collections

from lob_jax.bench.surroundings import surroundings
from lob_jax.data.records.builder import open_records
from lob_jax.data.records.escapes import training_escapes
from lob_jax.data.records.manifest import load_manifest
from lob_jax.errors import InputError, differing
from lob_jax.evaluation.direction.moves import record_moves
from lob_jax.evaluation.direction.state_table import fit_state_table
from lob_jax.evaluation.evaluate import evaluate_direction, open_windows, score_split, with_places
from lob_jax.evaluation.fidelity.compare import compare
from lob_jax.evaluation.likelihood.events import figures as bits_of
from lob_jax.evaluation.likelihood.split import counts_of, targets_of
from lob_jax.evaluation.robustness import robustness
from lob_jax.models.accounting import parameter_count
from lob_jax.models.masking import make_masks
from lob_jax.runs.continuations.generate import check_continuations, flows_of, generate_many
from lob_jax.runs.load import Run, get_config, load_run
from lob_jax.runs.training import train
from lob_jax.runs.workdir import write_json

RESULT = "result.json"
MOST_PARAMETERS = 1_000_000
TESTED, GENERATED, MANIPULATED = "tested", "generated", "manipulated"  # what is measured of a trained cell
# By what is measured, the keys that decide it; the others decide what is trained.
MEASURING = {
    TESTED: ("evaluate.direction_events",),
    GENERATED: ("generate.", "score."),
    MANIPULATED: ("evaluate.manipulated",),
}
MANIPULATED_DIRECTIONS = 500  # events whose direction is predicted, in the clean and in the manipulated stream
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
MODEL = "model"  # the name of the generated flow


@dataclasses.dataclass(frozen=True)
class Cell:
    """A variant from one seed.

    Attributes:
      variant: name of the variant.
      seed: of initial weights, dropout and the order of the data.
      base: name of the configuration that is changed.
      changes: values that replace those of the configuration, by key.
      folder: folder of the run.
      records: folder of the prepared records that it is trained on.
      start: folder of the run that it starts from; None for random parameters.
      measures: what is measured, of MEASURING.
    """

    variant: str
    seed: int
    base: str
    changes: Mapping[str, Any]
    folder: pathlib.Path
    records: pathlib.Path
    start: pathlib.Path | None = None
    measures: tuple[str, ...] = (TESTED, GENERATED)

    @property
    def name(self) -> str:
        """The name in tables and messages."""
        return f"{self.variant}, seed {self.seed}"

    def config(self) -> ml_collections.ConfigDict:
        """Return the configuration of the run."""
        start = {} if self.start is None else {"train.init": str(self.start)}
        return get_config(self.base, {**self.changes, **start, "seed": self.seed})


def finished(cell: Cell) -> dict[str, Any] | None:
    """Return the result of a cell; None if it has none, or one that lacks a measurement.

    Raises:
      InputError: the folder has the result of another training.
    """
    result = _saved(cell)
    return result if result is not None and set(_usable(result, cell)) == set(cell.measures) else None


def _saved(cell: Cell) -> dict[str, Any] | None:
    """Return the contents of result.json; see `finished`."""
    path = cell.folder / RESULT
    if not path.exists():
        return None
    result = json.loads(path.read_text(encoding="utf-8"))
    wanted, saved = trained_by(_plain(cell.changes)), trained_by(result["changes"])
    if saved != wanted:
        expected, was = differing(wanted, saved)
        raise InputError(
            "this folder has a result of other settings",
            where=path,
            expected=expected,
            was=was,
            remedy="use the options that it was made with, or another --folder",
        )
    return result


def _usable(result: Mapping[str, Any], cell: Cell) -> dict[str, Any]:
    """Return the measurements of a result whose settings are those of the cell, by name."""
    wanted = _plain(cell.changes)
    return {
        name: result["measured"][name]
        for name in cell.measures
        if name in result["measured"]
        and _chosen(result["changes"], MEASURING[name]) == _chosen(wanted, MEASURING[name])
    }


def _chosen(changes: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in changes.items() if key.startswith(keys)}


def trained_by(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings among `changes` that decide what is trained."""
    measuring = tuple(key for keys in MEASURING.values() for key in keys)
    return {key: value for key, value in changes.items() if not key.startswith(measuring)}


def _plain(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as JSON gives them back."""
    return json.loads(json.dumps(dict(changes)))


def link_records(cell: Cell) -> None:
    """Create the folder of a cell, with a symbolic link to the records."""
    cell.folder.mkdir(parents=True, exist_ok=True)
    link = cell.folder / "records"
    if not link.is_symlink():
        link.symlink_to(os.path.relpath(cell.records, cell.folder), target_is_directory=True)


def run_cell(cell: Cell, core: int | None = None, cache: pathlib.Path | None = None) -> dict[str, Any]:
    """Train a cell or resume its training, measure it, and write its result.

    Args:
      cell: the cell.
      core: the only core that this process may use from now on; None for all.
      cache: folder of compiled programs, which cells of the same shape share; None for none.

    Returns:
      The result, as in result.json.

    Raises:
      InputError: the configuration is invalid, or the model has too many parameters.
      TrainingError: see `lob_jax.training.run.loop.train`.
    """
    if core is not None:
        os.sched_setaffinity(0, {core})  # before JAX starts its threads, whose number is that of the cores
    if cache is not None:
        jax.config.update("jax_compilation_cache_dir", str(cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    link_records(cell)
    config, clock = cell.config(), _Clock()
    summary = train(config, cell.folder)
    if summary.interrupted is not None:
        raise KeyboardInterrupt(summary.interrupted)
    clock.lap("train")
    run = load_run(cell.folder)
    parameters = small_enough(run)
    measured = _usable(before, cell) if (before := _saved(cell)) is not None else {}
    for name in cell.measures:
        if name not in measured:
            measured[name] = MEASURES[name](run)
            clock.lap(name)
    result = {
        "variant": cell.variant,
        "seed": cell.seed,
        "changes": _plain(cell.changes),
        "parameters": parameters,
        "steps": summary.steps,
        "step": run.step,
        "validation_loss": run.validation_loss,
        "figures": {key: value for part in measured.values() for key, value in part["figures"].items()},
        "measured": measured,
        "seconds": clock.seconds,
        **surroundings("cell", packages=PACKAGES, used="all used" if core is None else "one used"),
    }
    write_json(cell.folder / RESULT, result)
    return result


class _Clock:
    """Seconds between laps, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now


def small_enough(run: Run) -> int:
    """Return the number of parameters of a run.

    Raises:
      InputError: there are more than a comparison of small models allows.
    """
    count = parameter_count(run.model)
    if count > MOST_PARAMETERS:
        raise InputError(
            "too large a model for this comparison",
            where=run.workdir,
            expected=f"at most {MOST_PARAMETERS:,} parameters",
            was=f"{count:,}",
            remedy="pass a smaller configuration",
        )
    return count


def tested(run: Run) -> dict[str, Any]:
    """Test a run on the whole test split, without the baselines of `--mode=evaluate`, which are the same for all cells.

    Returns:
      "figures": bits and bits_without_gap_digits, per event; macro_f1 of the direction of the next move, over the first
      `evaluate.direction_events` events.
    """
    folder = run.workdir / "records"
    source, escape_FK = open_records(folder, "test"), training_escapes(load_manifest(folder))
    windows = open_windows(run.model, source, evaluation=True, beside=with_places(run.beside, run.tokenizer))
    how = {"tokenizer": run.tokenizer, "escape_FK": escape_FK}
    scores = score_split(run.model, run.params, source, windows, batch_size=run.config.evaluate.batch_size, **how)
    counts = counts_of(scores, targets_of(source, scores), time_digits=run.tokenizer.vocabulary.time_digits)
    bits = bits_of(counts)
    found = {"bits": bits["bits_per_event"], "bits_without_gap_digits": bits["bits_per_event_without_gap_digits"]}
    events = run.config.evaluate.direction_events
    if not events:
        return {"figures": found}
    train_records = open_records(folder, "train")
    table = fit_state_table([record_moves(train_records[i], run.tokenizer) for i in range(len(train_records))])
    direction = evaluate_direction(
        run.model,
        run.params,
        folder,
        split="test",
        tokenizer=run.tokenizer,
        table=table,
        events=events,
        beside=run.beside,
        masks=make_masks(run.tokenizer.grammar, escape_FK),
    )
    return {"figures": {**found, "macro_f1": direction["model"]["macro_f1"]}}


def closeness(run: Run) -> dict[str, Any]:
    """Continue prompts that are spread over the test split, and compare the paths with what really followed.

    Returns:
      "figures": mean L1 over LOB-Bench's 21 scores as a multiple of its floor, and the same by blocks of messages under
      "l1_by_block"; prompts, events and invalid events.
    """
    paths = generate_many(run)
    invalid = sum(sum(one.faults.values()) for one in check_continuations(paths))
    flows, score = flows_of(paths, levels=run.config.data.book_levels), run.config.score
    how = {"splits": score.splits, "resamples": score.resamples, "block": score.block, "seed": score.seed}
    compared = compare(flows.real, {MODEL: flows.generated}, **how)
    summary, blocks = compared["summary"]["lob_bench"][MODEL], compared["divergence"][MODEL]
    found = {"l1": summary["l1"]["ratio"], "w1": summary["w1"]["ratio"]}
    return {
        "figures": {name: value for name, value in found.items() if value is not None},
        "floor": {name: summary[name]["floor"] for name in found},
        "l1_by_block": {"first_message": blocks["first_message"], "ratio": blocks["ratio"]},
        "prompts": len(paths.real),
        "events": run.config.generate.events,
        "invalid_events": invalid,
    }


def manipulated(run: Run) -> dict[str, Any]:
    """Test a run on manipulated flow.

    Returns:
      "figures": means over the patterns of bits_lost, the bits per event that manipulation costs beyond the clean flow,
      and of macro_f1_manipulated; "robustness", by pattern, see `lob_jax.evaluation.robustness`.
    """
    section, found = run.config.evaluate, {}
    by_pattern = robustness(
        run.model,
        run.params,
        run.workdir / "records",
        patterns=section.manipulated,
        records=section.manipulated_records,
        batch_size=section.batch_size,
        direction_events=min(section.direction_events, MANIPULATED_DIRECTIONS),
        beside=run.beside,
    )
    for name, key in (("bits_lost", "difference"), ("macro_f1_manipulated", "macro_f1_manipulated")):
        values = [one[key] for one in by_pattern.values()]
        if values and None not in values:
            found[name] = sum(values) / len(values)
    return {"figures": found, "robustness": by_pattern}


MEASURES: Mapping[str, Callable[[Run], dict[str, Any]]] = {
    TESTED: tested,
    GENERATED: closeness,
    MANIPULATED: manipulated,
}
