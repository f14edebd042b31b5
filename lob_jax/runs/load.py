"""`load_run`: a trained run as its folder holds it, ready to be evaluated, to generate and to score."""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Generator, Mapping
from typing import Any

import ml_collections
from absl import logging

from lob_jax.command_line import told_command
from lob_jax.config import sections, validation
from lob_jax.config_sources import RUN_FILE, load_config, run_config
from lob_jax.data.records.builder import VOCABULARY
from lob_jax.data.windows.known import Beside
from lob_jax.errors import InputError
from lob_jax.models.config import ModelConfig
from lob_jax.runs.training import beside_of, regime_bins
from lob_jax.settings import check_like, defaults, kinds_of, unknown_key
from lob_jax.tokens.load import tokenizer_for
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
      tokenizer: that wrote its records.
      checkpoint: what the checkpoint says of itself.
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
        """The validation loss of the checkpoint, nats a token."""
        return self.checkpoint.validation_loss

    @functools.cached_property
    def beside(self) -> Beside:
        """What the model reads beside tokens, clock and book, by thresholds of the training split."""
        return beside_of(self.config, self.workdir)


def load_run(workdir: pathlib.Path | str) -> Run:
    """Load a trained run from its folder, which is all that it takes; files that it was trained on are not read.

    Raises:
      InputError: no trained run lies there, or records that are of another vocabulary than the checkpoint.
    """
    workdir = pathlib.Path(workdir).expanduser()
    require_trained(workdir)
    return open_run(_with(run_config(workdir / RUN_FILE, defaults()).config, {}), workdir)


def open_run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Run:
    """Return a run's best checkpoint under a configuration, which may differ from that of its training.

    Raises:
      InputError: the checkpoints are of another model, or the records of another vocabulary; or there are none.
    """
    tokenizer = tokenizer_for(Vocabulary.load(workdir / "records" / VOCABULARY))
    model = sections.model_config(config)
    with _orbax_silent():
        params, checkpoint = restore_best(
            workdir / "checkpoints",
            model=model,
            vocabulary_hash=tokenizer.vocabulary.hash,
            data=regime_bins(config),
        )
    return Run(workdir, config, model, params, tokenizer, checkpoint)


@contextlib.contextmanager
def _orbax_silent() -> Generator[None]:
    """Keep Orbax from warning, through absl, that what is opened for reading is not written to."""
    level = logging.get_verbosity()
    logging.set_verbosity(min(level, logging.ERROR))
    try:
        yield
    finally:
        logging.set_verbosity(level)


def require_trained(workdir: pathlib.Path) -> None:
    """Refuse a folder without checkpoints.

    Raises:
      InputError: says how to train there.
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

    Its values may be changed until it is used, such as `config.train.steps = 100`; keys that do not exist are refused.

    Args:
      name: of a file of configs/, or a path that ends in .py; a size may follow behind a colon.
      changes: values in place of its own, by key, such as {"train.steps": 100}.

    Raises:
      InputError: there is no such configuration, key or kind of value, or together they make no sense.
    """
    return _with(load_config(name, defaults()).config, changes or {})


def _with(config: ml_collections.ConfigDict, changes: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """Return a configuration with other values, checked and locked."""
    base = defaults()
    kinds = kinds_of(base)
    for key, value in changes.items():
        if key not in kinds:
            raise unknown_key(key, kinds)
        value = tuple(value) if isinstance(value, list) else value  # JSON knows no tuples
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
