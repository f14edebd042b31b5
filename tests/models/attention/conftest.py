"""Queries, keys, values and positions that the kinds of attention are compared on."""

import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.models.attention.positions import Positions


@pytest.fixture
def qkv():
    """Return a function that draws queries, keys and values [B, T, N, H] and the positions of their tokens."""

    def draw(T, *, batch=2, heads=4, size=8, seed=0, scale=1.0, dtype=jnp.float32):
        random = np.random.default_rng(seed)
        arrays = [
            jnp.asarray(scale * random.standard_normal((batch, T, heads, size)), jnp.float32).astype(dtype)
            for _ in range(3)
        ]
        gaps_ns = random.choice([0, 5_000, 400_000_000, 1_700_000_000], (batch, T))
        clock = np.stack(np.divmod(34_200 * 10**9 + gaps_ns.cumsum(1), 10**9), axis=-1)
        positions = Positions(
            position_BT=jnp.broadcast_to(jnp.arange(T), (batch, T)),
            event_BT=jnp.asarray(random.integers(0, 2, (batch, T)).cumsum(1), jnp.int32),
            clock_BT2=jnp.asarray(clock, jnp.int32),
        )
        return (*arrays, positions)

    return draw
