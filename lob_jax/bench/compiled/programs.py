"""The programs that are compiled: the training step of a configuration, and the loop that generates tokens."""

import argparse
import dataclasses
import functools
import importlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding

from lob_jax.bench.generate import bench_model, prompt_of, tokenizers, with_inputs
from lob_jax.bench.train_step import some_masks
from lob_jax.config.sections import model_config, train_config
from lob_jax.feeds.feed import STRICT
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.generation import loop
from lob_jax.generation.context import model_variables, opened, prompt_window
from lob_jax.generation.device.orders import no_orders
from lob_jax.generation.settings import SamplingConfig
from lob_jax.generation.start import start_paths
from lob_jax.models.accounting import flops_per_token
from lob_jax.models.config import ModelConfig
from lob_jax.models.transformer import LOBTransformer, initial_parameters
from lob_jax.training.run.setup import compile_train_step
from lob_jax.training.run.speed import blank_batch
from lob_jax.training.step.layout import make_mesh
from lob_jax.training.step.optimizer import make_optimizer, make_schedule
from lob_jax.training.step.state import init_state, kept_beside

PROMPT = 32  # tokens of the prompt that generation starts from
NEVER_DONE = 2**30  # a number of events that no path reaches
STEPS = 1_000  # of the schedule, which only its constants depend on


class Lowered(NamedTuple):
    """A program that is ready to be compiled.

    Attributes:
      lowered: the program.
      model: the model.
      tokens: tokens of one run of it, or of one iteration of its loop.
      flops: operations of the model for these tokens, as MFU counts them, see `lob_jax.models.accounting`.
    """

    lowered: jax.stages.Lowered
    model: ModelConfig
    tokens: int
    flops: float


def train_program(device: jax.Device, chosen: argparse.Namespace) -> Lowered:
    """Return an optimiser step of the model of a configuration."""
    config = importlib.import_module(f"lob_jax.configs.{chosen.size}").get_config()
    model = model_config(config)
    model = dataclasses.replace(model, n_layers=chosen.layers or model.n_layers, mask=chosen.mask or model.mask)
    train = train_config(config)
    batch, micro_steps = chosen.batch or train.batch_size, chosen.accumulation or train.accumulation
    changes = {"batch_size": batch, "accumulation": micro_steps, "micro_batch": batch, "loss_block": None}
    train = dataclasses.replace(train, **changes, deterministic=chosen.deterministic)
    optimizer, beside = make_optimizer(train, STEPS, layers=model.n_layers), kept_beside(train, model)
    initial = functools.partial(init_state, model, optimizer, seed=0, **beside)
    mesh = make_mesh([device], fsdp=1, tensor=1)
    how: dict[str, Any] = {"mesh": mesh, "masks": some_masks(model)}
    step: Any = compile_train_step(LOBTransformer(model), train, optimizer, make_schedule(train, STEPS), initial, **how)
    blank = blank_batch(model, batch).items()
    shapes = {name: jax.ShapeDtypeStruct((micro_steps, batch, *leaf.shape[2:]), leaf.dtype) for name, leaf in blank}
    tokens = micro_steps * batch * model.max_seq_length
    flops = tokens * flops_per_token(model, model.max_seq_length)
    return Lowered(step.lower(jax.eval_shape(initial), shapes), model, tokens, flops)


def generate_program(device: jax.Device, chosen: argparse.Namespace) -> Lowered:
    """Return the loop that `lob_jax.bench.generate` measures, of exact tokens; in each iteration a path gets one."""
    widths = argparse.Namespace(context=chosen.context, width=768, layers=chosen.layers)
    model = bench_model(device.platform, widths)
    model = dataclasses.replace(model, n_layers=chosen.layers or model.n_layers)
    model = with_inputs(model) if chosen.inputs else model
    feed = SyntheticFeed(1, 2_000, 0)
    day = feed.read(feed.days()[0], STRICT)
    tokenizer = tokenizers(day)["exact"]
    prompt = prompt_of(day, tokenizer, model, tokens=PROMPT)
    sampling = SamplingConfig(paths=chosen.paths, events=NEVER_DONE, seed=0)
    shape = loop.loop_shape(model, tokenizer, prompt, day.instrument, sampling)
    given = loop.given_of(prompt, tokenizer, sampling, no_orders())
    paths, _ = start_paths([prompt], tokenizer, day.instrument, sampling)
    window, rest = prompt_window([prompt], chosen.paths, chosen.context)

    def start(key: jax.Array) -> Any:
        params = jax.tree.map(lambda leaf: leaf.astype(model.dtype), initial_parameters(model, key))
        variables = model_variables(params, model, rows=chosen.paths)
        return variables, opened(params, paths, window, shape, rest=rest)

    variables, state = jax.eval_shape(start, jax.random.key(0))
    there = SingleDeviceSharding(device)

    def on_device(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=there)

    placed = jax.tree.map(on_device, (variables, state, given, jnp.int32(0)))
    flops = chosen.paths * flops_per_token(model, 0) / 3  # forward alone
    return Lowered(loop.extend.lower(*placed, shape=shape), model, chosen.paths, flops)


PROGRAMS = {"train": train_program, "generate": generate_program}
