"""A tiny model of every kind that is exported, with parameters far from their start, and inputs for it."""

import dataclasses

import jax
import numpy as np

from lob_jax.config.sections import model_config
from lob_jax.configs import base
from lob_jax.models.inputs import Role, fields_read, zeros
from lob_jax.models.transformer import LOBTransformer, initial_parameters

TINY = dataclasses.replace(
    model_config(base.get_config()),
    d_model=16,
    n_layers=2,
    n_heads=2,
    d_ff=24,
    vocab_size=40,
    max_seq_length=16,
    dropout=0.0,
    time_buckets=12,
    time_of_day=True,
    book_state=True,
    book_features=3,
    standardize_book=False,
    flow_state=False,
    queue_state=False,
    price_memory=False,
    latest_tokens=False,
    token_parts=False,
    digits_rank=0,
    gap_components=0,
    counts=0,
    pointer=False,
    dtype="float32",
)


def small(*, attention=None, heads=None, **changes):
    """Return a tiny configuration with some fields changed, those of its parts by their names."""
    parts = {
        "attention": dataclasses.replace(TINY.attention, **(attention or {})),
        "heads": dataclasses.replace(TINY.heads, **(heads or {})),
    }
    return dataclasses.replace(TINY, **parts, **changes)


def parameters(config):
    """Return parameters of which none is zero and no scale is one."""
    shapes = jax.eval_shape(lambda: initial_parameters(config, jax.random.key(0)))
    random = np.random.default_rng(0)

    def draw(path, leaf):
        return random.normal(path[-1].key == "scale", 0.2, leaf.shape).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def windows(config, batch, length):
    """Return tokens and the other inputs of windows."""
    random = np.random.default_rng(length)
    names = ("tokens", *fields_read(config, Role.BESIDE))
    blank = zeros(config, names, windows=(batch,), tokens=length)
    most = {"tokens": config.vocab_size, "time_of_day": config.time_buckets, "day_of_week": 7, "peer_seen": length}
    drawn = {name: random.integers(0, most[name], blank[name].shape) for name in most if name in blank}
    drawn |= {name: random.standard_normal(blank[name].shape) for name in ("book", "flow") if name in blank}
    if "clock" in blank:
        drawn["clock"] = np.stack([np.arange(length) + np.zeros((batch, 1)), np.zeros((batch, length))], axis=-1)
    return {name: np.asarray(drawn.get(name, array), array.dtype) for name, array in blank.items()}


def logits(params, config, inputs):
    """Return what the model itself predicts."""
    others = {name: array for name, array in inputs.items() if name != "tokens"}
    return np.asarray(LOBTransformer(config).apply({"params": params}, inputs["tokens"], others))
