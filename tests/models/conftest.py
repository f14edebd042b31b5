"""A tiny model that every test of this folder varies."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.config.sections import model_config
from lob_jax.configs import base
from lob_jax.models.config import ModelConfig
from lob_jax.models.inputs import Role, names_of, zeros
from lob_jax.models.transformer import initial_parameters

TINY = dataclasses.replace(
    model_config(base.get_config()),
    d_model=16,
    n_layers=2,
    n_heads=2,
    head_size=0,
    d_ff=24,
    vocab_size=40,
    max_seq_length=16,
    dropout=0.0,
    tie_embeddings=True,
    norm="pre",
    positions="learned",
    time_of_day=True,
    time_buckets=12,
    day_of_week=True,
    book_state=True,
    book_features=3,
    standardize_book=True,
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


@pytest.fixture
def tiny():
    """Return a function that makes a tiny ModelConfig with some fields changed, those of its parts by their names."""

    def make(*, attention=None, heads=None, **changes):
        parts = {
            "attention": dataclasses.replace(TINY.attention, **(attention or {})),
            "heads": dataclasses.replace(TINY.heads, **(heads or {})),
        }
        return dataclasses.replace(TINY, **parts, **changes)

    return make


@pytest.fixture
def lively():
    """Return a function that makes parameters far from their start: no weight is zero, no scale is one."""

    def make(config: ModelConfig, seed: int = 0):
        shapes = jax.eval_shape(lambda: initial_parameters(config, jax.random.key(0)))
        random = np.random.default_rng(seed)

        def draw(path, leaf):
            mean = 1 if path[-1].key == "scale" else 0
            return jnp.asarray(random.normal(mean, 0.2, leaf.shape), leaf.dtype)

        return jax.tree_util.tree_map_with_path(draw, shapes)

    return make


def ascending_clock(random, shape):
    """Draw times of which some are equal and others seconds apart, as int32 (seconds, nanoseconds)."""
    gaps = random.choice([0, 1_000, 30_000_000, 1_500_000_000], shape)
    total_ns = 36_000 * 10**9 + gaps.cumsum(1)
    return np.stack(np.divmod(total_ns, 10**9), axis=-1).astype(np.int32)


@pytest.fixture
def inputs():
    """Return a function that draws tokens [B, T] and everything known beside them."""

    def make(config: ModelConfig, batch: int, length: int, seed: int = 1):
        random = np.random.default_rng(seed)
        shape = (batch, length)
        conditioning = {
            "time_of_day": jnp.asarray(random.integers(0, config.time_buckets, shape), jnp.int32),
            "day_of_week": jnp.asarray(random.integers(0, 7, shape), jnp.int32),
            "book": jnp.asarray(random.standard_normal((*shape, config.book_features)), jnp.float32),
            "regime": jnp.asarray(random.integers(0, config.n_regimes, shape), jnp.int32),
            "instrument": jnp.asarray(random.integers(0, max(config.n_instruments, 1), shape), jnp.int32),
            "event": jnp.asarray(random.integers(0, 2, shape).cumsum(1), jnp.int32),
            "clock": jnp.asarray(ascending_clock(random, shape)),
            "peer_seen": jnp.asarray(np.sort(random.integers(0, length + 1, shape), axis=1), jnp.int32),
        }
        tokens_BT = jnp.asarray(random.integers(0, config.vocab_size, shape), jnp.int32)
        others = tuple(name for name in names_of(Role.BESIDE) if name not in conditioning)
        blank = zeros(config, others, windows=(batch,), tokens=length)
        return tokens_BT, conditioning | jax.tree.map(jnp.asarray, blank)

    return make
