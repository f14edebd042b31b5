"""Prune a trained run: cut the least important heads and columns out of its best model, and begin a new run with it.

The new run is an ordinary one. Its folder has the records of the first, as hard links where the file system has them,
so that neither run needs the other; its configuration has fewer heads and columns; and its checkpoint, of step 0, has
the pruned parameters and a fresh optimiser. So `train` goes on from them with a schedule of its own, and every other
mode reads them as the best model until training finds a better one.
"""

import dataclasses
import functools
import math
import os
import pathlib
import shutil
import tempfile
from typing import Any

import jax
import ml_collections

from lob_jax.config import sections
from lob_jax.config_sources import RUN_FILE, run_config
from lob_jax.errors import InputError
from lob_jax.models.accounting import flops_per_token, parameter_count
from lob_jax.models.attention.kind import KINDS
from lob_jax.models.config import ModelConfig
from lob_jax.models.pruning import Units, best_units, cut, cut_config, units_of
from lob_jax.models.transformer import LOBTransformer
from lob_jax.runs.load import Run
from lob_jax.runs.training import open_training_data, some_windows, windows_of
from lob_jax.runs.workdir import write_config, write_json
from lob_jax.settings import defaults
from lob_jax.training.pruning import PruneConfig, importance, kept_counts
from lob_jax.training.run.checkpoint import Checkpoints, Meta
from lob_jax.training.run.data import TrainingData
from lob_jax.training.run.loop import describe
from lob_jax.training.run.setup import Run as TrainingRun
from lob_jax.training.run.setup import prepare_run, validate
from lob_jax.training.run.stopping import EarlyStopping
from lob_jax.training.step.optimizer import make_optimizer
from lob_jax.training.step.state import first_state, kept_beside
from lob_jax.training.step.tasks import model_part

COPIED = ("records", "ingest_report.json", "distortion.json")  # of the first run's folder, as far as they are there
# Keys of a run that takes its parameters from another one; the new run has its own from the start.
OF_SOURCE = ("init", "init_allow", "lora_rank", "lora_alpha", "lora_targets", "lora_also")
FIRST = 0  # the step of the new run's checkpoint


@dataclasses.dataclass(frozen=True)
class Size:
    """A model before or after pruning.

    Attributes:
      heads: attention heads per block.
      columns: feed-forward columns per block.
      parameters: all parameters.
      flops_per_token: of a training step, see `accounting.flops_per_token`; a forward pass takes a third.
      bits_per_token: on the validation windows of training.
    """

    heads: int
    columns: int
    parameters: int
    flops_per_token: int
    bits_per_token: float


@dataclasses.dataclass(frozen=True)
class Pruned:
    """What pruning did, as plain JSON values: pruned.json.

    Attributes:
      source: folder of the run that was pruned.
      step: step of its best checkpoint.
      windows: training windows on which importance was measured.
      before: its model.
      after: the pruned one.
      kept: of each sublayer and layer, the heads or columns that are left, by their numbers before.
      importance: of each sublayer, layer and unit before pruning, see `training.pruning`.
    """

    source: str
    step: int
    windows: int
    before: Size
    after: Size
    kept: dict[str, list[list[int]]]
    importance: dict[str, list[list[float]]]


def check_folder(into: str) -> pathlib.Path:
    """Return the folder of a new run, which must not exist.

    Raises:
      InputError: none is named, or it exists.
    """
    folder = pathlib.Path(into).expanduser()
    if not into or os.path.lexists(folder):
        raise InputError(
            "the pruned model has no folder" if not into else "the folder of the pruned model exists",
            where="config.prune.into",
            expected="a folder that does not exist yet",
            was=repr(into),
            remedy="pass --config.prune.into=runs/pruned, say",
        )
    return folder


def check_without_counts(model: ModelConfig) -> None:
    """Check that a model has no count model, whose own counts of blocks are kept with a training only.

    Raises:
      InputError: it has one.
    """
    if model.counts:
        raise InputError(
            "a model with counts cannot be pruned",
            where="config.model.counts",
            expected=0,
            was=model.counts,
            remedy="prune a run that was trained without: the new run could not leave an event's own block out",
        )


def prune(run: Run, settings: PruneConfig) -> Pruned:
    """Prune a run's best model and write the new run to `settings.into`, whole or not at all; return what was done.

    Args:
      run: a trained run; its folder is only read. Its configuration, but for the shape of the model, is the new run's.
      settings: what to remove, and where to write the rest.

    Raises:
      InputError: the folder exists, a share removes nothing or everything, heads have roles that are not equal, or the
        model has counts.
    """
    into = check_folder(settings.into)
    check_without_counts(run.model)
    heads, columns = kept_counts(run.model, settings)
    model = cut_config(run.model, heads=heads, columns=columns)
    config = _config_of(run, model)
    data = open_training_data(config, run.workdir)
    scores, windows = _scores(run, data, settings.windows)
    kept = kept_units(run.model, model, scores)
    params = cut(run.params, kept)
    training = _training_run(config, model, data)
    loss = validate(training, params)
    pruned = Pruned(
        source=str(run.workdir.absolute()),
        step=run.step,
        windows=windows,
        before=_size(run.model, validate(_training_run(run.config, run.model, data), run.params)),
        after=_size(model, loss),
        kept={name: units.tolist() for name, units in kept.items()},
        importance={name: score.tolist() for name, score in scores.items()},
    )
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into.parent, prefix=f".{into.name}.") as partial:
        folder = pathlib.Path(partial) / into.name
        folder.mkdir()
        _take_records(run.workdir, folder)
        write_config(folder, sections.plain(config))
        write_json(folder / "pruned.json", dataclasses.asdict(pruned))
        _save(folder, training, params, seed=config.seed, about=_about(run, config, data, training, loss))
        os.rename(folder, into)  # last: a folder with this name is complete
    return pruned


def kept_units(before: ModelConfig, after: ModelConfig, scores: Units) -> Units:
    """Return the units of each layer that the smaller model keeps, int [L, K]: those with the highest scores."""
    groups = KINDS[before.attention.kind].roles(before)
    kept = units_of(after)
    return {
        name: best_units(score, kept[name], groups=groups if name == "attention" else 1)
        for name, score in scores.items()
    }


def _scores(run: Run, data: TrainingData, count: int) -> tuple[Units, int]:
    """Return the importance of each unit on some windows of the training split, and the number of these windows."""
    batches = some_windows(windows_of(run.config, run.workdir, "train", run.beside), count)
    how: dict[str, Any] = {"objective": sections.train_config(run.config).objective_of_loss, "masks": data.masks}
    scores = importance(run.params, batches, model=LOBTransformer(run.model), **how)
    return scores, len(batches[0]["tokens"])


def _size(model: ModelConfig, loss: float) -> Size:
    flops = flops_per_token(model, model.max_seq_length)
    return Size(model.n_heads, model.d_ff, parameter_count(model), flops, loss / math.log(2))


def _config_of(run: Run, model: ModelConfig) -> ml_collections.ConfigDict:
    """Return the configuration of the new run: of the first, with another shape, and without a pruning of its own."""
    config = run.config.copy_and_resolve_references().unlock()
    config.model.update(n_heads=model.n_heads, head_size=model.head_size, d_ff=model.d_ff)
    base = defaults()
    config.prune.update(base.prune)
    config.train.update({key: base.train[key] for key in OF_SOURCE})
    config.data.augment.own_flow = base.data.augment.own_flow  # it needs a source
    if not config.data.path and (run.workdir / RUN_FILE).exists():  # it may only be that the data are gone for now
        named = run_config(run.workdir / RUN_FILE, base).config.data
        config.data.update(path=named.path, feed=named.feed)
    return config.lock()


def _training_run(config: ml_collections.ConfigDict, model: ModelConfig, data: TrainingData) -> TrainingRun:
    return prepare_run(
        model,
        sections.train_config(config),
        total_steps=1,  # of the schedule, which nothing here depends on
        validation=data.validation,
        seed=config.seed,
        devices=jax.devices(),
        before=None,
        masks=data.masks,
    )


def _take_records(source: pathlib.Path, folder: pathlib.Path) -> None:
    """Put the records of a run into the folder of another, with the reports on them."""
    for name in COPIED:
        there = (source / name).resolve()  # a trial of a sweep has a symbolic link to the records of all
        if there.is_dir():
            shutil.copytree(there, folder / name, copy_function=_link)
        elif there.exists():
            shutil.copy2(there, folder / name)


def _link(source: str, target: str) -> None:
    """Link a file, which is cheap and safe: files of records are replaced, never changed; copy it where that fails."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _about(run: Run, config: ml_collections.ConfigDict, data: TrainingData, training: TrainingRun, loss: float) -> Meta:
    """Return the metadata of the checkpoint of the new run, whose history says what was pruned."""
    model = training.model.config
    devices = list(training.mesh.devices.flat)
    described = describe(
        model, training.config, data, seed=config.seed, settings=sections.plain(config), devices=devices
    )
    before, after = run.model.to_dict(), model.to_dict()
    changed = {
        f"model.{key}": [before[key], after[key]]
        for key in ("n_heads", "head_size", "d_ff")
        if before[key] != after[key]
    }
    return dataclasses.replace(
        described,
        validation_loss=loss if math.isfinite(loss) else math.inf,
        early_stopping=dataclasses.asdict(EarlyStopping().after(loss, FIRST)),
        history=[{"step": FIRST, "changed": changed}],
        micro_batch=training.plan.micro_batch,
        source=run.checkpoint.source,
    )


def _save(folder: pathlib.Path, training: TrainingRun, params: Any, *, seed: int, about: Meta) -> None:
    """Write the checkpoint from which the new run starts."""
    train, model, sharding = training.config, training.model.config, training.state_sharding
    optimizer = make_optimizer(train, 1, layers=model.n_layers)
    beside = kept_beside(train, model)
    first = functools.partial(first_state, config=model, optimizer=optimizer, seed=seed, **beside)
    state = jax.jit(first, out_shardings=sharding)(jax.device_put(params, model_part(sharding.params)))
    with Checkpoints(folder / "checkpoints", keep_best=train.keep_best) as checkpoints:
        checkpoints.save(state, meta=about)
