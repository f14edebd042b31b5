"""What the model knows of a token before it attends: its id, its position, the clock, the book and the market."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.models.config import ModelConfig, full_precision
from lob_jax.models.inputs import DAYS, Conditioning, given
from lob_jax.models.layers import INIT_STD, LayerNorm, dropout, weight_init

WAVELENGTH = 10_000.0  # longest wavelength / 2 pi of sinusoidal and rotary positions (Vaswani et al., 2017)
FASTEST_TURNS = 10_000  # a second: bursts within a tenth of a millisecond are told apart
SLOWEST_TURN = 3_600  # seconds
EMBEDDING_SITE = 0  # of dropout


def sinusoidal(positions_BT: jax.Array, width: int) -> jax.Array:
    """Return the sinusoidal encoding [B, T, width], float32, of integer positions.

    Entry 2i is sin(p / 10000^(2i / width)), entry 2i + 1 the cosine of the same angle (Vaswani et al., 2017, 3.5).
    """
    frequency = jnp.exp(jnp.arange(0, width, 2, dtype=jnp.float32) * (-math.log(WAVELENGTH) / width))
    angle = positions_BT[..., None].astype(jnp.float32) * frequency
    return jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1).reshape(*positions_BT.shape, width)


def rotate(x_BTNH: jax.Array, positions_BT: jax.Array) -> jax.Array:
    """Turn each pair (i, i + H/2) of a head by the angle position / 10000^(2i / H), in float32 (Su et al., 2021).

    The product of a turned query and a turned key then depends on the difference of their positions alone. Angles are
    counted in 2^-32 of a turn, in integers that run over as turns do: a position of millions is turned as exactly as 1.
    """
    H = x_BTNH.shape[-1]
    per_position = np.exp(np.arange(0, H, 2) * (-math.log(WAVELENGTH) / H)) / (2 * math.pi)
    phase_BTK = positions_BT[..., None].astype(jnp.uint32) * np.round(per_position * 2**32).astype(np.uint32)
    return turn(x_BTNH, phase_BTK.astype(jnp.float32) * np.float32(2 * math.pi / 2**32))


def time_cycles(pairs: int) -> tuple[list[int], list[int]]:
    """Return how fast `pairs` pairs turn with time: (turns a second, seconds a turn), one of the two 1 in each pair.

    Rates are spread evenly in their logarithm from FASTEST_TURNS a second to one turn in SLOWEST_TURN seconds, and
    rounded to whole turns a second or whole seconds a turn. A phase then needs only the nanoseconds within a second, or
    the seconds within a turn, and is exact at any time of day.
    """
    rates = np.geomspace(FASTEST_TURNS, 1 / SLOWEST_TURN, pairs) if pairs > 1 else np.array([1.0])
    turns = [max(1, round(float(rate))) if rate >= 1 else 1 for rate in rates]
    seconds = [1 if rate >= 1 else max(1, round(1 / float(rate))) for rate in rates]
    return turns, seconds


def time_phase(clock_BT2: jax.Array, pairs: int) -> jax.Array:
    """Return the angle [B, T, pairs], float32, that each pair has turned by at a time (seconds, nanoseconds)."""
    turns, seconds = (jnp.array(numbers, jnp.int32) for numbers in time_cycles(pairs))
    # A number of turns times nanoseconds overflows int32; in two pieces, 10^9 = 10^4 * 10^5, it does not.
    tenths_BT1, rest_BT1 = clock_BT2[..., 1:] // 100_000, clock_BT2[..., 1:] % 100_000
    within_BTK = jnp.mod(turns * tenths_BT1, 10_000) / 10_000 + (turns * rest_BT1) / 1_000_000_000
    cycles_BTK = (jnp.mod(clock_BT2[..., :1], seconds) + within_BTK) / seconds
    return 2 * math.pi * (cycles_BTK - jnp.floor(cycles_BTK))


def turn(x_BTNH: jax.Array, angle_BTK: jax.Array) -> jax.Array:
    """Turn each pair (i, i + H/2) of a head by its angle, in float32; K = H / 2."""
    angle_BT1K = angle_BTK[:, :, None]
    sin, cos = jnp.sin(angle_BT1K), jnp.cos(angle_BT1K)
    first, second = jnp.split(x_BTNH.astype(full_precision(x_BTNH.dtype.name)), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x_BTNH.dtype)


def rotate_by_time(x_BTNH: jax.Array, positions_BT: jax.Array, clock_BT2: jax.Array) -> jax.Array:
    """Turn the first half of each head by position, as `rotate`, and the second by time, see `time_cycles`.

    Time alone would not tell apart tokens of one event, nor events of one nanosecond.
    """
    by_position, by_time = jnp.split(x_BTNH, 2, axis=-1)
    angle_BTK = time_phase(clock_BT2, by_time.shape[-1] // 2)
    return jnp.concatenate([rotate(by_position, positions_BT), turn(by_time, angle_BTK)], axis=-1)


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
    """Sum the embeddings of token, position, clock, book, regime and instrument; normalise; drop out.

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
        if config.regime == "added":
            self.regime = Table(config.n_regimes, config.d_model, full)
        if config.n_instruments:
            self.instrument = Table(config.n_instruments, config.d_model, full)
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
            x_BTD += self.time_of_day(given(conditioning, "time_of_day"))
        if config.day_of_week:
            x_BTD += self.day_of_week(given(conditioning, "day_of_week"))
        if config.book_state:
            x_BTD += self.book(given(conditioning, "book"))
        if config.regime == "added":
            x_BTD += self.regime(given(conditioning, "regime"))
        if config.n_instruments:
            x_BTD += self.instrument(given(conditioning, "instrument"))
        return dropout(self.norm(x_BTD), keys_B, site=EMBEDDING_SITE, rate=config.dropout)
