"""Embed the inputs at each token: its id, its position, clock, book, flow, queue, regime and instrument."""

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.nn.initializers import Initializer
from jax.typing import ArrayLike

from lob_jax.book.flow import FLOW_FEATURES
from lob_jax.book.price_memory import PRICE_MEMORIES
from lob_jax.book.queue import QUEUE_NUMBERS
from lob_jax.models.config import ModelConfig, full_precision
from lob_jax.models.inputs import DAYS, Conditioning, given
from lob_jax.models.layers import INIT_STD, LayerNorm, dropout, weight_init
from lob_jax.models.parts import PARTS, parts_of_tokens
from lob_jax.tokens.latest import LATEST_TOKENS
from lob_jax.tokens.vocabulary import SIZE

WAVELENGTH = 10_000.0  # longest wavelength / 2 pi of sinusoidal and rotary positions (Vaswani et al., 2017)
FASTEST_TURNS = 10_000  # per second, to resolve bursts within a tenth of a millisecond
SLOWEST_TURN = 3_600  # seconds per turn
# Parameters that stay as they were measured, by the input that they standardise.
MOMENTS = {name: (f"{name}_mean", f"{name}_deviation") for name in ("book", "flow")}
# Shares of the flow over a thousand events vary little within the training data, and may be far from it on another day.
MOST_DEVIATIONS = {"flow": 4.0}
EMBEDDING_SITE = 0  # dropout site, see `layers.dropout`


def sinusoidal(positions_BT: jax.Array, width: int) -> jax.Array:
    """Return the sinusoidal encoding [B, T, width], float32, of integer positions.

    Entry 2i is sin(p / 10000^(2i / width)), entry 2i + 1 the cosine of the same angle (Vaswani et al., 2017, 3.5).
    """
    frequency = jnp.exp(jnp.arange(0, width, 2, dtype=jnp.float32) * (-math.log(WAVELENGTH) / width))
    angle = positions_BT[..., None].astype(jnp.float32) * frequency
    return jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1).reshape(*positions_BT.shape, width)


def rotate(x_BTNH: jax.Array, positions_BT: jax.Array) -> jax.Array:
    """Rotate each pair (i, i + H/2) of a head by the angle position / 10000^(2i / H), in float32 (Su et al., 2021).

    The product of a rotated query and a rotated key then depends only on the difference of their positions. Angles are
    uint32 multiples of 2^-32 turns, which wrap around as turns do, so that a position in the millions is rotated as
    exactly as position 1; float32 angles would lose their fractional digits there.
    """
    H = x_BTNH.shape[-1]
    per_position = np.exp(np.arange(0, H, 2) * (-math.log(WAVELENGTH) / H)) / (2 * math.pi)
    phase_BTK = positions_BT[..., None].astype(jnp.uint32) * np.round(per_position * 2**32).astype(np.uint32)
    return turn(x_BTNH, phase_BTK.astype(jnp.float32) * np.float32(2 * math.pi / 2**32))


def time_cycles(pairs: int) -> tuple[list[int], list[int]]:
    """Return how fast each of `pairs` pairs rotates with time: (turns per second, seconds per turn), one of which is 1.

    Rates are equally spaced in their logarithm, from FASTEST_TURNS per second to one turn in SLOWEST_TURN seconds, and
    rounded to integer turns per second or integer seconds per turn. A phase then depends only on the nanoseconds within
    a second, or the seconds within a turn, and is exact at any time of day.
    """
    rates = np.geomspace(FASTEST_TURNS, 1 / SLOWEST_TURN, pairs) if pairs > 1 else np.array([1.0])
    turns = [max(1, round(float(rate))) if rate >= 1 else 1 for rate in rates]
    seconds = [1 if rate >= 1 else max(1, round(1 / float(rate))) for rate in rates]
    return turns, seconds


def time_phase(clock_BT2: jax.Array, pairs: int) -> jax.Array:
    """Return the rotation angle of each pair at a time (seconds, nanoseconds), float32 [B, T, pairs]."""
    turns, seconds = (jnp.array(numbers, jnp.int32) for numbers in time_cycles(pairs))
    # Turns times nanoseconds would overflow int32; split into units of 10^5 ns and the rest, it does not.
    tenths_BT1, rest_BT1 = clock_BT2[..., 1:] // 100_000, clock_BT2[..., 1:] % 100_000
    within_BTK = jnp.mod(turns * tenths_BT1, 10_000) / 10_000 + (turns * rest_BT1) / 1_000_000_000
    cycles_BTK = (jnp.mod(clock_BT2[..., :1], seconds) + within_BTK) / seconds
    return 2 * math.pi * (cycles_BTK - jnp.floor(cycles_BTK))


def turn(x_BTNH: jax.Array, angle_BTK: jax.Array) -> jax.Array:
    """Rotate each pair (i, i + H/2) of a head by its angle, in float32; K = H / 2."""
    angle_BT1K = angle_BTK[:, :, None]
    sin, cos = jnp.sin(angle_BT1K), jnp.cos(angle_BT1K)
    first, second = jnp.split(x_BTNH.astype(full_precision(x_BTNH.dtype.name)), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x_BTNH.dtype)


def rotate_by_time(x_BTNH: jax.Array, positions_BT: jax.Array, clock_BT2: jax.Array) -> jax.Array:
    """Rotate the first half of each head by position, as `rotate` does, and the second by time, see `time_cycles`.

    Time alone cannot distinguish the tokens of one event, nor events within one nanosecond.
    """
    by_position, by_time = jnp.split(x_BTNH, 2, axis=-1)
    angle_BTK = time_phase(clock_BT2, by_time.shape[-1] // 2)
    return jnp.concatenate([rotate(by_position, positions_BT), turn(by_time, angle_BTK)], axis=-1)


def with_moments(params: dict, name: str, moments_2F: np.ndarray) -> dict:
    """Return the parameters of `Embeddings` with measured means and standard deviations of an input's features."""
    measured = zip(MOMENTS[name], moments_2F, strict=True)
    return {**params, **{key: jnp.asarray(of, params[key].dtype) for key, of in measured}}


class Mixture(NamedTuple):
    """Other inputs that are mixed with those of a model, see `training.step.mixup`.

    Attributes:
      tokens_BT: int token ids.
      conditioning: the other inputs at each token.
      share_B: the share of the model's own inputs; the others have the rest.
    """

    tokens_BT: jax.Array
    conditioning: Conditioning
    share_B: jax.Array

    def mixed(self, own_BTD: jax.Array, other_BTD: jax.Array) -> jax.Array:
        """Return the weighted sum of two streams, in their dtype."""
        share_B11 = self.share_B[:, None, None]
        return (share_B11 * own_BTD + (1 - share_B11) * other_BTD).astype(own_BTD.dtype)


class Table(nn.Module):
    """A learned lookup table, see `rows_of`."""

    rows: int
    width: int
    param_dtype: str
    initializer: Initializer = weight_init()

    def setup(self) -> None:
        self.table = self.param("table", self.initializer, (self.rows, self.width), self.param_dtype)

    def __call__(self, index_BT: jax.Array) -> jax.Array:
        return rows_of(self.table, index_BT)


def rows_of(table_RD: jax.Array, index_BT: ArrayLike) -> jax.Array:
    """Return rows of a table; an index out of range reads the nearest one instead of NaN."""
    return jnp.take(table_RD, index_BT, axis=0, mode="clip")


class Embeddings(nn.Module):
    """Sum the embeddings of the token and of everything else that the model reads; apply norm and dropout.

    The sum is float32, and all summands have a similar small scale at initialisation, so that none dominates the token:
    sinusoids (root mean square 1 / sqrt(2)) are scaled down to INIT_STD, and the projection of F book or flow features
    starts with an F times smaller variance. The features are standardised first. They are logarithms whose mean is
    three or four times their deviation, and AdamW moves all weights alike: within a few steps their means alone would
    be many times louder than the token, and the norm would hide it.

    With `token_parts`, the embedding of a token is the sum of a row of its own and of those of its parts, see
    `models.parts`: rare tokens learn from those that they resemble. The parts start at zero.

    A number of the queue is the embedding of the size token with its code, so that what is learned of a size as a token
    also holds for an order of that size. If the output projection is tied, an order of any size can thus be copied.
    The same holds for what last happened at a price; the latest tokens have the embeddings that they have as tokens.
    """

    config: ModelConfig

    def setup(self) -> None:
        config, full = self.config, self.config.param_dtype
        self.token = Table(config.vocab_size, config.d_model, full)
        if config.token_parts:
            self.parts = Table(PARTS, config.d_model, full, nn.initializers.zeros)
        if config.positions == "learned":
            self.position = Table(config.max_seq_length, config.d_model, full)
        if config.time_of_day:
            self.time_of_day = Table(config.time_buckets, config.d_model, full)
        if config.day_of_week:
            self.day_of_week = Table(DAYS, config.d_model, full)
        if config.book_state:
            self.book = self._projection(config.book_features)
        if config.flow_state:
            self.flow = self._projection(FLOW_FEATURES)
        if config.queue_state:
            self.queue = self._factors("queue", QUEUE_NUMBERS)
        if config.price_memory:
            self.price_memory = self._factors("price_memory", PRICE_MEMORIES)
        sizes = {"book": config.book_features, "flow": FLOW_FEATURES}
        if config.latest_tokens:
            self.latest = self._factors("latest", LATEST_TOKENS)
        self.moments = {name: self._moments(name, sizes[name]) for name in config.standardized}
        if config.regime == "added":
            self.regime = Table(config.n_regimes, config.d_model, full)
        if config.n_instruments:
            self.instrument = Table(config.n_instruments, config.d_model, full)
        self.norm = LayerNorm(config.dtype)

    def __call__(
        self,
        tokens_BT: jax.Array,
        positions_BT: jax.Array,
        conditioning: Conditioning,
        keys_B: jax.Array | None,
        added_BTD: jax.Array | None = None,
    ) -> jax.Array:
        """Return the stream x_BTD in config.dtype.

        Args:
          tokens_BT: int token ids.
          positions_BT: int positions.
          conditioning: the other inputs at each token.
          keys_B: dropout keys; None outside training.
          added_BTD: added to the tokens' embeddings, see `training.step.adversarial`; None for nothing.
        """
        config = self.config
        table_VD = self.table()
        x_BTD = rows_of(table_VD, tokens_BT)
        if added_BTD is not None:
            x_BTD += added_BTD
        if config.positions == "learned":
            x_BTD += self.position(positions_BT)
        if config.positions == "sinusoidal":
            x_BTD += INIT_STD * math.sqrt(2) * sinusoidal(positions_BT, config.d_model)
        if config.time_of_day:
            x_BTD += self.time_of_day(given(conditioning, "time_of_day"))
        if config.day_of_week:
            x_BTD += self.day_of_week(given(conditioning, "day_of_week"))
        if config.book_state:
            x_BTD += self.book(self._standard("book", given(conditioning, "book")))
        if config.flow_state:
            x_BTD += self.flow(self._standard("flow", given(conditioning, "flow")))
        if config.queue_state:
            numbers_BTQD = rows_of(table_VD, SIZE + given(conditioning, "queue").astype(jnp.int32))
            x_BTD += (numbers_BTQD * self.queue).sum(-2)
        if config.price_memory:
            numbers_BTPD = rows_of(table_VD, SIZE + given(conditioning, "price_memory").astype(jnp.int32))
            x_BTD += (numbers_BTPD * self.price_memory).sum(-2)
        if config.latest_tokens:
            latest_BTLD = rows_of(table_VD, given(conditioning, "latest").astype(jnp.int32))
            x_BTD += (latest_BTLD * self.latest).sum(-2)
        if config.regime == "added":
            x_BTD += self.regime(given(conditioning, "regime"))
        if config.n_instruments:
            x_BTD += self.instrument(given(conditioning, "instrument"))
        return dropout(self.norm(x_BTD), keys_B, site=EMBEDDING_SITE, rate=config.dropout)

    def table(self) -> jax.Array:
        """Return the embedding of every token, [V, D]: a row of its own, and the rows of its parts."""
        if not self.config.token_parts:
            return self.token.table
        return self.token.table + rows_of(self.parts.table, parts_of_tokens()).sum(1)

    def _factors(self, name: str, count: int) -> jax.Array:
        """Return the parameters that the embeddings of an input's tokens are multiplied by before they are added up.

        They start at random, so that each token is recovered from the sum by its own; together as loud as one token.
        """
        init = nn.initializers.normal(1 / math.sqrt(count))
        return self.param(name, init, (count, self.config.d_model), self.config.param_dtype)

    def _projection(self, features: int) -> nn.Dense:
        full, init = self.config.param_dtype, nn.initializers.normal(INIT_STD / math.sqrt(features))
        return nn.Dense(self.config.d_model, dtype=full, param_dtype=full, kernel_init=init)

    def _moments(self, name: str, features: int) -> tuple[jax.Array, jax.Array]:
        """Return the parameters that hold the mean and the standard deviation of each feature of an input."""
        (mean, deviation), full = MOMENTS[name], self.config.param_dtype
        zeros, ones = nn.initializers.zeros, nn.initializers.ones
        return self.param(mean, zeros, (features,), full), self.param(deviation, ones, (features,), full)

    def _standard(self, name: str, features_BTF: jax.Array) -> jax.Array:
        """Return an input's features with mean 0 and variance 1 in training, if the model asks for it."""
        if name not in self.config.standardized:
            return features_BTF
        mean_F, deviation_F = jax.lax.stop_gradient(self.moments[name])
        standard_BTF = (features_BTF - mean_F) / deviation_F
        most = MOST_DEVIATIONS.get(name)
        return standard_BTF if most is None else jnp.clip(standard_BTF, -most, most)
