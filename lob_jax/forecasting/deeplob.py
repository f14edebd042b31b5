"""DeepLOB (Zhang, Zohren and Roberts, 2019): convolutions over levels and time, an inception module, an LSTM.

It differs from the paper in one respect: one network is trained for all horizons, with a softmax for each, where the
paper trains one network per horizon. With 16 filters, 32 per inception branch, 64 units, 10 levels and one horizon it
has the paper's 60,691 parameters.
"""

from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from lob_jax.forecasting.config import CLASSES, Forecast, ForecastConfig

SLOPE = 0.01  # negative slope of the leaky ReLU
TIME_TAPS = 4  # kernel size of a convolution over time, in states


def _conv(x_BHWC: jax.Array, filters: int, kernel: tuple[int, int], name: str, *, stride: int = 1) -> jax.Array:
    """Convolve over (time, level) and apply a leaky ReLU; time is padded to keep its length, levels are not padded."""
    before = (kernel[0] - 1) // 2
    padding = ((before, kernel[0] - 1 - before), (0, 0))
    # Flax's default (LeCun) initialiser would halve the variance at each of eleven leaky ReLU layers.
    init = nn.initializers.he_normal()
    conv = nn.Conv(filters, kernel, strides=(1, stride), padding=padding, kernel_init=init, name=name)
    return nn.leaky_relu(conv(x_BHWC), SLOPE)


class DeepLOB(nn.Module):
    """Map book states to the logits of every horizon; flow, clock and instrument are ignored."""

    config: ForecastConfig

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, deterministic: bool = True) -> Forecast:
        """Return logits [B, K, 3] and no quantiles; `deterministic=False` requires a "dropout" key."""
        config = self.config
        x_BHWC = self._levels(batch["book"][..., None])
        x_BHC = self._inception(x_BHWC)[:, :, 0]
        x_BHC = nn.Dropout(config.dropout, deterministic=deterministic)(x_BHC)
        # Flax declares the pair with the carry too, which only return_carry=True gives.
        outputs_BHU = cast(jax.Array, nn.RNN(nn.OptimizedLSTMCell(config.units), name="lstm")(x_BHC))
        K = len(config.horizons)
        logits = nn.Dense(K * CLASSES, name="softmax")(outputs_BHU[:, -1])
        return Forecast(logits.reshape(-1, K, CLASSES), None)

    def _levels(self, x_BHWC: jax.Array) -> jax.Array:
        """Merge price with size, then ask with bid, then all levels; two convolutions over time follow each merge."""
        config = self.config
        for block, (taps, stride) in enumerate([(2, 2), (2, 2), (config.levels, 1)]):
            x_BHWC = _conv(x_BHWC, config.filters, (1, taps), f"fold_{block}", stride=stride)
            for layer in range(2):
                x_BHWC = _conv(x_BHWC, config.filters, (TIME_TAPS, 1), f"time_{block}_{layer}")
        return x_BHWC

    def _inception(self, x_BHWC: jax.Array) -> jax.Array:
        """Concatenate convolutions over 3 and 5 states and a max-pooling branch over 3."""
        filters = self.config.inception
        branches = [
            _conv(_conv(x_BHWC, filters, (1, 1), f"inception_{span}_in"), filters, (span, 1), f"inception_{span}")
            for span in (3, 5)
        ]
        greatest = nn.max_pool(x_BHWC, (3, 1), strides=(1, 1), padding="SAME")
        return jnp.concatenate([*branches, _conv(greatest, filters, (1, 1), "inception_pool")], axis=-1)
