"""Train a model for a generation benchmark, and load the prompt that it continues."""

import pathlib
from typing import Any, NamedTuple

import ml_collections
from rich.console import Console

from lob_jax.config.sections import model_config, plain, train_config
from lob_jax.data.records.builder import open_records
from lob_jax.data.records.records import record_instrument
from lob_jax.events.instrument import Instrument
from lob_jax.generation.prompt import Prompt
from lob_jax.models.config import ModelConfig
from lob_jax.runs.load import open_run
from lob_jax.runs.prompt import make_prompt
from lob_jax.runs.synthetic import prepare_synthetic
from lob_jax.runs.training import open_training_data
from lob_jax.stages.data import prepare
from lob_jax.tokens.tokenizer import Tokenizer
from lob_jax.training.run.loop import train as run_training


class Trained(NamedTuple):
    """The inputs that `lob_jax.generation` needs.

    Attributes:
      params: parameters of the best checkpoint.
      prompt: the first test events.
      model: configuration of the model.
      tokenizer: the tokenizer of the records.
      instrument: the instrument of the test split.
    """

    params: Any
    prompt: Prompt
    model: ModelConfig
    tokenizer: Tokenizer
    instrument: Instrument


def trained(config: ml_collections.ConfigDict, workdir: pathlib.Path, *, prompt_events: int) -> Trained:
    """Prepare the records of a configuration and train on them.

    Args:
      config: the configuration.
      workdir: an empty folder, or that of an earlier call with the same configuration, which is resumed.
      prompt_events: events of the prompt.
    """
    prepare(config, workdir)
    prepare_synthetic(config, workdir)
    data = open_training_data(config, workdir)
    run_training(
        model_config(config),
        train_config(config),
        data,
        seed=config.seed,
        folder=workdir,
        settings=plain(config),
        console=Console(quiet=True),
    )
    run, records = open_run(config, workdir), open_records(workdir / "records", "test")
    reads = {"tokenizer": run.tokenizer, "time_buckets": run.model.time_buckets, "beside": run.beside}
    prompt = make_prompt(records, events=prompt_events, **reads)
    return Trained(run.params, prompt, run.model, run.tokenizer, record_instrument(records[0]))
