"""`load_run`: load a trained run from its folder, ready to evaluate, generate and score."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections

from lob_jax.command_line import told_command
from lob_jax.config import sections, validation
from lob_jax.config_sources import RUN_FILE, load_config, run_config
from lob_jax.data.records.builder import VOCABULARY
from lob_jax.data.windows.known import Beside
from lob_jax.errors import InputError
from lob_jax.models.config import ModelConfig
from lob_jax.runs.beside import beside_of, regime_bins
from lob_jax.settings import check_like, defaults, kinds_of, unknown_key
from lob_jax.tokens.registry import tokenizer_for
from lob_jax.tokens.tokenizer import Tokenizer
from lob_jax.tokens.vocabulary import Vocabulary
from lob_jax.training.run.checkpoint import Meta, restore_best, steps_in


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A trained run; `evaluate`, `generate` and `score` take it.

    Attributes:
      workdir: its folder.
      config: its configuration, locked.
      model: the shape of its model.
      params: parameters of the checkpoint with the lowest validation loss: a tree of arrays, on the first device.
      tokenizer: the tokenizer of its records.
      checkpoint: metadata of the checkpoint.
    """

    workdir: pathlib.Path
    config: ml_collections.ConfigDict
    model: ModelConfig
    params: Any
    tokenizer: Tokenizer
    checkpoint: Meta

    @property
    def step(self) -> int:
        """The step of the checkpoint."""
        return self.checkpoint.step

    @property
    def validation_loss(self) -> float:
        """The validation loss of the checkpoint, nats per token."""
        return self.checkpoint.validation_loss

    @functools.cached_property
    def beside(self) -> Beside:
        """What the model reads in addition to tokens, clock and book, with thresholds of the training split."""
        return beside_of(self.config, self.workdir)


def load_run(workdir: pathlib.Path | str) -> Run:
    """Load a trained run from its folder alone; the raw files that it was trained on are not read.

    Raises:
      InputError: the folder has no trained run, or its records and checkpoint have different vocabularies.
    """
    workdir = pathlib.Path(workdir).expanduser()
    require_trained(workdir)
    return open_run(_with(run_config(workdir / RUN_FILE, defaults()).config, {}), workdir)


def open_run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Run:
    """Return a run with its best checkpoint, under a configuration that may differ from that of its training.

    Raises:
      InputError: there are no checkpoints, or they belong to another model or vocabulary.
    """
    tokenizer = tokenizer_for(Vocabulary.load(workdir / "records" / VOCABULARY))
    model = sections.model_config(config)
    params, checkpoint = restore_best(
        workdir / "checkpoints",
        model=model,
        vocabulary_hash=tokenizer.vocabulary.hash,
        data=regime_bins(config),
    )
    return Run(workdir, config, model, params, tokenizer, checkpoint)


def require_trained(workdir: pathlib.Path) -> None:
    """Raise an error if a folder has no checkpoints.

    Raises:
      InputError: gives the command that trains there.
    """
    if not steps_in(workdir / "checkpoints"):
        raise InputError(
            "this run has no trained model yet",
            where=workdir,
            expected="checkpoints of a training run",
            was="none",
            remedy=f"train it first: {told_command(mode='train', workdir=workdir)}",
        )


def get_config(name: str, changes: Mapping[str, Any] | None = None) -> ml_collections.ConfigDict:
    """Return a configuration by its name, such as "tiny" or "multi_scale:small", or by the path of its file.

    Its values can be changed until it is used, for example `config.train.steps = 100`; unknown keys are refused.

    Args:
      name: the name of a file in configs/, or a path that ends in .py; a size may follow after a colon.
      changes: values to replace, by key, such as {"train.steps": 100}.

    Raises:
      InputError: there is no such configuration or key, a value has the wrong type, or the configuration is invalid.
    """
    return _with(load_config(name, defaults()).config, changes or {})


def _with(config: ml_collections.ConfigDict, changes: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """Return a configuration with some values replaced, validated and locked."""
    base = defaults()
    kinds = kinds_of(base)
    for key, value in changes.items():
        if key not in kinds:
            raise unknown_key(key, kinds)
        value = tuple(value) if isinstance(value, list) else value  # JSON has no tuples
        if not kinds[key].holds(value):
            raise InputError(
                "a value of the wrong type",
                where=f"config.{key}",
                expected=kinds[key],
                was=repr(value),
                remedy="correct it; configs/base.py says what each key means",
            )
        config.update_from_flattened_dict({key: value})
    check_like(config, base)
    validation.validate(config)
    return config.lock()
