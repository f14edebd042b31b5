"""The Temporal Fusion Transformer (Lim, Arik, Loeff and Pfister, 2021): quantiles of the mid's move, and its direction.

Inputs are of the paper's three kinds: static (instrument, day of the week), observed in the past (levels of the book,
flow) and known in advance (the clock). The decoder's steps are the K horizons. Equations are those of section 4 of the
paper, with two changes: a book level, four numbers, is one variable; and direction logits are predicted from the same
layer as the quantiles, so that the model can be compared with the others on their task.
"""

import functools
import math
from typing import NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from lob_jax.forecasting.config import CLASSES, KINDS, Forecast, ForecastConfig
from lob_jax.models import named

NORM_EPSILON = 1e-5
DAYS = 7
LEVEL_NUMBERS = 4  # ask price, ask size, bid price, bid size
OF_DAY = 2  # leading columns of the clock, which encode the time of day


class Weights(NamedTuple):
    """Attention and variable-selection weights; all sum to one over the last axis.

    Attributes:
      attention_BKS: from each horizon to the H past steps and the horizons up to itself, averaged over heads.
      static_BV: of the static variables: instrument, then day of the week if the model sees the clock.
      past_BHV: of the observed variables (levels, best first; each column of the flow; kind), then the clock's columns.
      future_BKV: of the clock's columns at the horizons.
    """

    attention_BKS: jax.Array
    static_BV: jax.Array
    past_BHV: jax.Array
    future_BKV: jax.Array


class GatedLinear(nn.Module):
    """Apply dropout, then a gated linear unit: sigmoid(W4 x + b4) * (W5 x + b5), equation 5."""

    width: int
    dropout: float

    @nn.compact
    def __call__(self, x: jax.Array, *, deterministic: bool) -> jax.Array:
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        return nn.sigmoid(nn.Dense(self.width, name="gate")(x)) * nn.Dense(self.width, name="value")(x)


class GatedSkip(nn.Module):
    """Add a gated branch to its skip connection, and normalise: equation 2 for an arbitrary branch."""

    width: int
    dropout: float

    @nn.compact
    def __call__(self, skipped: jax.Array, branch: jax.Array, *, deterministic: bool) -> jax.Array:
        gated = GatedLinear(self.width, self.dropout, name="gate")(branch, deterministic=deterministic)
        return nn.LayerNorm(epsilon=NORM_EPSILON, name="norm")(skipped + gated)


class GatedResidual(nn.Module):
    """The gated residual network, equations 2 to 4: norm(a + gate(W1 elu(W2 a + W3 c))).

    If the widths of input and output differ, the skip connection is a linear map of the input.
    """

    hidden: int
    width: int
    dropout: float

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array | None, *, deterministic: bool) -> jax.Array:
        inner = nn.Dense(self.hidden, name="input")(x)
        if context is not None:
            inner += nn.Dense(self.hidden, use_bias=False, name="context")(context)
        inner = nn.Dense(self.hidden, name="hidden")(nn.elu(inner))
        skipped = x if x.shape[-1] == self.width else nn.Dense(self.width, name="skip")(x)
        return GatedSkip(self.width, self.dropout, name="out")(skipped, inner, deterministic=deterministic)


class VariableSelection(nn.Module):
    """Select among the variables of a step, equations 6 to 8: a separate network for each, then a weighted sum."""

    width: int
    dropout: float

    @nn.compact
    def __call__(
        self, x_VD: jax.Array, context: jax.Array | None, *, deterministic: bool
    ) -> tuple[jax.Array, jax.Array]:
        """Return (weighted sum [..., D], weights [..., V]) of variables [..., V, D]."""
        V = x_VD.shape[-2]
        flat = x_VD.reshape(*x_VD.shape[:-2], -1)
        chooser = GatedResidual(self.width, V, self.dropout, name="weights")
        weights_V = named.softmax(chooser(flat, context, deterministic=deterministic))
        # variable_axes and split_rngs give each variable separate parameters and dropout.
        each = nn.vmap(
            functools.partial(_residual, deterministic=deterministic),
            in_axes=-2,
            out_axes=-2,
            axis_size=V,
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
        )
        x_VD = each(GatedResidual(self.width, self.width, self.dropout, name="variables"), x_VD)
        return jnp.einsum("...V,...VD->...D", weights_V, x_VD), weights_V


def _residual(module: GatedResidual, x: jax.Array, *, deterministic: bool) -> jax.Array:
    return module(x, None, deterministic=deterministic)


class InterpretableAttention(nn.Module):
    """Multi-head attention whose heads share their values, equations 13 to 16.

    Heads differ only in their attention weights, so the mean of these weights over heads can be interpreted.
    """

    heads: int
    width: int

    @nn.compact
    def __call__(self, queries_BKD: jax.Array, keys_BSD: jax.Array, mask_KS: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return (output [B, K, D], weights [B, K, S]); mask_KS is True where a query may attend.

        Every query must be allowed at least one key: a softmax over -inf alone is NaN.
        """
        size = self.width // self.heads
        query_BKNH = nn.DenseGeneral((self.heads, size), name="query")(queries_BKD)
        key_BSNH = nn.DenseGeneral((self.heads, size), name="key")(keys_BSD)
        value_BSH = nn.Dense(size, name="value")(keys_BSD)
        score_BNKS = jnp.einsum("BKNH,BSNH->BNKS", query_BKNH, key_BSNH) / math.sqrt(size)
        weights_BNKS = named.softmax(jnp.where(mask_KS, score_BNKS, -jnp.inf))
        # The heads share their values, so averaging the weights first gives the average of the heads' outputs.
        weights_BKS = weights_BNKS.mean(1)
        read_BKH = jnp.einsum("BKS,BSH->BKH", weights_BKS, value_BSH)
        return nn.Dense(self.width, use_bias=False, name="output")(read_BKH), weights_BKS


class TemporalFusionTransformer(nn.Module):
    """Map book, flow, clock and instrument to the logits and quantiles of every horizon."""

    config: ForecastConfig

    def setup(self) -> None:
        config = self.config
        D, rate = config.width, config.dropout
        self.instrument = nn.Embed(config.instruments + 1, D)
        if config.clock:
            self.day = nn.Embed(DAYS, D)
        self.kind = nn.Embed(KINDS, D)
        self.levels = [nn.Dense(D) for _ in range(config.levels)]
        self.select_static, self.select_past, self.select_future = (VariableSelection(D, rate) for _ in range(3))
        self.contexts = [GatedResidual(D, D, rate) for _ in range(4)]
        self.encoder = nn.RNN(nn.OptimizedLSTMCell(D), return_carry=True)
        self.decoder = nn.RNN(nn.OptimizedLSTMCell(D))
        self.skip_lstm, self.skip_attention, self.skip_all = (GatedSkip(D, rate) for _ in range(3))
        self.enrich, self.feed_forward = GatedResidual(D, D, rate), GatedResidual(D, D, rate)
        self.attention = InterpretableAttention(config.heads, D)
        self.direction, self.quantiles = nn.Dense(CLASSES), nn.Dense(len(config.quantiles))
        self.numbers = _Columns(D)
        self.clock = _Columns(D)

    def __call__(self, batch: dict[str, jax.Array], *, deterministic: bool = True) -> Forecast:
        """Return logits [B, K, 3] and quantiles [B, K, Q]; `deterministic=False` requires a "dropout" key.

        As in the paper, the quantiles are not constrained and may cross.
        """
        return self.explain(batch, deterministic=deterministic)[0]

    def explain(self, batch: dict[str, jax.Array], *, deterministic: bool = True) -> tuple[Forecast, Weights]:
        """Return the forecast, and the attention and selection weights behind it."""
        how = {"deterministic": deterministic}
        static_BD, static_BV = self.select_static(self._static(batch), None, **how)
        to_select, to_hidden, to_cell, to_enrich = (context(static_BD, None, **how) for context in self.contexts)
        past_BHD, past_BHV = self.select_past(self._past(batch), to_select[:, None], **how)
        future_BKD, future_BKV = self.select_future(self._clock(batch["future_clock"]), to_select[:, None], **how)

        # Flax's LSTM carry is (cell, hidden), the reverse of PyTorch's order.
        carry, encoded_BHD = self.encoder(past_BHD, initial_carry=(to_cell, to_hidden))
        decoded_BKD = cast(jax.Array, self.decoder(future_BKD, initial_carry=carry))  # without return_carry, no pair
        selected_BSD = jnp.concatenate([past_BHD, future_BKD], axis=1)
        steps_BSD = self.skip_lstm(selected_BSD, jnp.concatenate([encoded_BHD, decoded_BKD], axis=1), **how)

        enriched_BSD = self.enrich(steps_BSD, to_enrich[:, None], **how)
        K, S = len(self.config.horizons), steps_BSD.shape[1]
        mask_KS = jnp.arange(S) <= S - K + jnp.arange(K)[:, None]
        read_BKD, attention_BKS = self.attention(enriched_BSD[:, -K:], enriched_BSD, mask_KS)
        x_BKD = self.skip_attention(enriched_BSD[:, -K:], read_BKD, **how)
        x_BKD = self.skip_all(steps_BSD[:, -K:], self.feed_forward(x_BKD, None, **how), **how)
        forecast = Forecast(self.direction(x_BKD), self.quantiles(x_BKD))
        return forecast, Weights(attention_BKS, static_BV, past_BHV, future_BKV)

    def _static(self, batch: dict[str, jax.Array]) -> jax.Array:
        known = self.config.instruments
        instrument_BD = self.instrument(jnp.clip(batch["instrument"], 0, known))
        days = [self.day(batch["day_of_week"])] if self.config.clock else []
        return jnp.stack([instrument_BD, *days], axis=-2)

    def _past(self, batch: dict[str, jax.Array]) -> jax.Array:
        parts = jnp.split(batch["book"], self.config.levels, axis=-1)
        levels = [dense(part) for dense, part in zip(self.levels, parts, strict=True)]
        kind_BH1D = self.kind(batch["kind"])[..., None, :]
        observed = [jnp.stack(levels, axis=-2), self.numbers(batch["flow"]), kind_BH1D]
        return jnp.concatenate([*observed, self._clock(batch["past_clock"])], axis=-2)

    def _clock(self, clock_BTC: jax.Array) -> jax.Array:
        return self.clock(clock_BTC if self.config.clock else clock_BTC[..., OF_DAY:])


class _Columns(nn.Module):
    """Embed each column of numbers as a variable: the number times a learned vector, plus a learned bias vector."""

    width: int

    @nn.compact
    def __call__(self, x_BTC: jax.Array) -> jax.Array:
        shape = (x_BTC.shape[-1], self.width)
        scale = self.param("scale", nn.initializers.normal(1.0), shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        return x_BTC[..., None] * scale + bias
