"""What the model knows of a token before it attends: its id, its position, the clock and the book."""

import math

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from lob_jax.errors import InputError
from lob_jax.models.config import ModelConfig, full_precision
from lob_jax.models.layers import INIT_STD, LayerNorm, dropout, weight_init

DAYS = 7
WAVELENGTH = 10_000.0  # longest wavelength / 2 pi of sinusoidal and rotary positions (Vaswani et al., 2017)
EMBEDDING_SITE = 0  # of dropout


@flax.struct.dataclass
class Conditioning:
    """What is known, beside the token, when token t is the newest one; None for what the model does not use.

    Attributes:
      time_of_day_BT: int32, bucket of the day.
      day_of_week_BT: int32, Monday = 0.
      book_BTF: float32, features of the book.
    """

    time_of_day_BT: jax.Array | None = None
    day_of_week_BT: jax.Array | None = None
    book_BTF: jax.Array | None = None


def sinusoidal(positions_BT: jax.Array, width: int) -> jax.Array:
    """Return the sinusoidal encoding [B, T, width], float32, of integer positions.

    Entry 2i is sin(p / 10000^(2i / width)), entry 2i + 1 the cosine of the same angle (Vaswani et al., 2017, 3.5).
    """
    frequency = jnp.exp(jnp.arange(0, width, 2, dtype=jnp.float32) * (-math.log(WAVELENGTH) / width))
    angle = positions_BT[..., None].astype(jnp.float32) * frequency
    return jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1).reshape(*positions_BT.shape, width)


def rotate(x_BTNH: jax.Array, positions_BT: jax.Array) -> jax.Array:
    """Turn each pair (i, i + H/2) of a head by the angle position / 10000^(2i / H), in float32 (Su et al., 2021).

    The product of a turned query and a turned key then depends on the difference of their positions alone.
    """
    H = x_BTNH.shape[-1]
    frequency = jnp.exp(jnp.arange(0, H, 2, dtype=jnp.float32) * (-math.log(WAVELENGTH) / H))
    angle = positions_BT[..., None, None].astype(jnp.float32) * frequency
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    first, second = jnp.split(x_BTNH.astype(full_precision(x_BTNH.dtype.name)), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x_BTNH.dtype)


class Table(nn.Module):
    """A table of learned rows; an index outside it reads the nearest row, never NaN."""

    rows: int
    width: int
    param_dtype: str

    def setup(self) -> None:
        self.table = self.param("table", weight_init(), (self.rows, self.width), self.param_dtype)

    def __call__(self, index_BT: jax.Array) -> jax.Array:
        return jnp.take(self.table, index_BT, axis=0, mode="clip")


class Embeddings(nn.Module):
    """Sum the embeddings of token, position, clock and book; normalise; drop out.

    The sum is float32, and every summand starts at about the same small size, so that none drowns the token:
    sinusoids (root mean square 1 / sqrt(2)) are scaled down to INIT_STD, and the projection of F book features, which
    are logarithms of order one to ten, starts F-fold smaller in variance.
    """

    config: ModelConfig

    def setup(self) -> None:
        config, full = self.config, self.config.param_dtype
        self.token = Table(config.vocab_size, config.d_model, full)
        if config.positions == "learned":
            self.position = Table(config.max_seq_length, config.d_model, full)
        if config.time_of_day:
            self.time_of_day = Table(config.time_buckets, config.d_model, full)
        if config.day_of_week:
            self.day_of_week = Table(DAYS, config.d_model, full)
        if config.book_state:
            std = INIT_STD / math.sqrt(config.book_features)
            init = nn.initializers.normal(std)
            self.book = nn.Dense(config.d_model, dtype=full, param_dtype=full, kernel_init=init)
        self.norm = LayerNorm(config.dtype)

    def __call__(
        self, tokens_BT: jax.Array, positions_BT: jax.Array, conditioning: Conditioning, keys_B: jax.Array | None
    ) -> jax.Array:
        """Return x_BTD in config.dtype; keys_B are dropout keys, None outside training."""
        config = self.config
        x_BTD = self.token(tokens_BT)
        if config.positions == "learned":
            x_BTD += self.position(positions_BT)
        if config.positions == "sinusoidal":
            x_BTD += INIT_STD * math.sqrt(2) * sinusoidal(positions_BT, config.d_model)
        if config.time_of_day:
            x_BTD += self.time_of_day(_given(conditioning.time_of_day_BT, "time_of_day_BT"))
        if config.day_of_week:
            x_BTD += self.day_of_week(_given(conditioning.day_of_week_BT, "day_of_week_BT"))
        if config.book_state:
            x_BTD += self.book(_given(conditioning.book_BTF, "book_BTF"))
        return dropout(self.norm(x_BTD), keys_B, site=EMBEDDING_SITE, rate=config.dropout)


def _given(array: jax.Array | None, name: str) -> jax.Array:
    if array is None:
        raise InputError(
            f"the model embeds {name.rsplit('_', 1)[0]} and was not given it",
            where=f"conditioning.{name}",
            expected="an array with leading axes [B, T]",
            was=None,
            remedy=f"pass {name}, or build the model without it",
        )
    return array
