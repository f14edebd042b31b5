"""The stage `summary`: parameters, operations and memory of a configuration's model, without training it."""

import itertools
import pathlib

import ml_collections
from rich import box
from rich.table import Table
from rich.text import Text

from lob_jax.config import sections
from lob_jax.console import show
from lob_jax.models.accounting import (
    ParameterRow,
    bytes_per_generated_token,
    cache_bytes_per_token,
    flops_per_token,
    non_embedding_count,
    parameter_count,
    parameter_rows,
)
from lob_jax.models.attention.kind import is_mask
from lob_jax.models.config import ModelConfig
from lob_jax.training.config import TrainConfig
from lob_jax.training.run.budget import GIB, passes, state_bytes, target_here, window_bytes

MIB = 2**20


def summary(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Print the model's parameters by shape, and the costs per token; write nothing."""
    del workdir
    model, train = sections.model_config(config), sections.train_config(config)
    show(shapes_table(model))
    show(costs_table(model, train))


def shapes_table(model: ModelConfig) -> Table:
    """Return a table of a model's parameters by part; all layers share a row, which shows the shape in one layer."""
    total = parameter_count(model)
    shown = Table(title=_title(model), box=box.SIMPLE_HEAD, show_footer=True)
    shown.add_column("parameter", "total")
    shown.add_column("shape", model.param_dtype)
    shown.add_column("parameters", f"{total:,}", justify="right")
    for part, rows in itertools.groupby(parameter_rows(model), key=lambda row: row.name.partition("/")[0]):
        of_part = list(rows)
        count, layers = sum(row.parameters for row in of_part), of_part[0].layers
        times = f" x {layers}" if part == "blocks" else ""
        shown.add_row(Text(f"{part}{times}", "bold"), f"{count / total:.1%}", Text(f"{count:,}", "bold"))
        for row in of_part:
            shown.add_row(f"  {row.name.partition('/')[2]}", _shape(row), f"{row.parameters:,}")
    return shown


def costs_table(model: ModelConfig, train: TrainConfig) -> Table:
    """Return a table of a model's operations and memory, estimated from its shapes."""
    context = model.max_seq_length
    training = flops_per_token(model, context)
    shown = Table(title=f"at {context:,} tokens, computing in {model.dtype}", show_header=False, box=box.SIMPLE)
    shown.add_column(justify="left")
    shown.add_column(justify="right")
    shown.add_row("parameters outside lookup tables", f"{non_embedding_count(model):,}")
    shown.add_row("training, flops per token", f"{training:.3e}")
    shown.add_row("forward pass, flops per token", f"{training / 3:.3e}")
    shown.add_row("training step", f"{training * train.windows_per_step * context:.3e} flops")
    if is_mask(model.attention.kind) and not model.attention.cross_asset:
        shown.add_row("cache per token", f"{cache_bytes_per_token(model) / 1024:.1f} KiB")
        shown.add_row("cache of a full context", f"{context * cache_bytes_per_token(model) / MIB:.1f} MiB")
        read = bytes_per_generated_token(model, context)
        shown.add_row("generating, bytes read per token", f"{read / MIB:.1f} MiB")
    target = target_here(model)
    shown.add_row("parameters, gradients, moments", f"{state_bytes(model, train, target) / GIB:.3f} GiB per device")
    activations = passes(model, train) * window_bytes(model, train.loss_block, target)
    shown.add_row("activations per window, about", f"{activations / MIB:.1f} MiB")
    shown.add_row("activations per token, about", f"{activations / context / 1024:.1f} KiB")
    return shown


def _title(model: ModelConfig) -> str:
    shape = f"{model.n_layers} layers x {model.d_model} wide x {model.n_heads} heads"
    return f"LOBTransformer, {shape}, {model.attention.kind.replace('_', '-')} attention"


def _shape(row: ParameterRow) -> str:
    """Return a shape with its axes' names, such as "embed 64 x ff 256"."""
    return " x ".join(f"{name} {size}" if name else str(size) for name, size in zip(row.axes, row.shape, strict=True))
