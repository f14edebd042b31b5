"""DeepLOB (Zhang, Zohren and Roberts, 2019): convolutions over levels and time, an inception module, an LSTM.

As in the paper but for one thing: it is trained for all horizons at once, with a softmax for each, where the paper
trains a network a horizon. With 16 filters, 32 in each inception branch, 64 units and 10 levels it has the paper's
60,691 parameters at one horizon.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lob_jax.forecasting.config import CLASSES, Forecast, ForecastConfig

SLOPE = 0.01  # of leaky ReLU below 0
TIME_TAPS = 4  # states that a convolution over time reads


def _conv(x_BHWC: jax.Array, filters: int, kernel: tuple[int, int], name: str, *, stride: int = 1) -> jax.Array:
    """Convolve over (time, level) and bend; time is padded to stay as long, levels are not padded."""
    before = (kernel[0] - 1) // 2
    padding = ((before, kernel[0] - 1 - before), (0, 0))
    init = nn.initializers.he_normal()  # eleven layers deep, others halve the signal's variance at each
    conv = nn.Conv(filters, kernel, strides=(1, stride), padding=padding, kernel_init=init, name=name)
    return nn.leaky_relu(conv(x_BHWC), SLOPE)


class DeepLOB(nn.Module):
    """Book states in, logits of every horizon out; flow, clock and instrument are not looked at."""

    config: ForecastConfig

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, deterministic: bool = True) -> Forecast:
        """Return logits [B, K, 3], and no quantiles; without `deterministic` a "dropout" key is needed."""
        config = self.config
        x_BHWC = self._levels(batch["book"][..., None])
        x_BHC = self._inception(x_BHWC)[:, :, 0]
        x_BHC = nn.Dropout(config.dropout, deterministic=deterministic)(x_BHC)
        outputs_BHU = nn.RNN(nn.OptimizedLSTMCell(config.units), name="lstm")(x_BHC)
        K = len(config.horizons)
        logits = nn.Dense(K * CLASSES, name="softmax")(outputs_BHU[:, -1])
        return Forecast(logits.reshape(-1, K, CLASSES), None)

    def _levels(self, x_BHWC: jax.Array) -> jax.Array:
        """Fold price with size, then ask with bid, then all levels, each behind by two convolutions over time."""
        config = self.config
        for block, (taps, stride) in enumerate([(2, 2), (2, 2), (config.levels, 1)]):
            x_BHWC = _conv(x_BHWC, config.filters, (1, taps), f"fold_{block}", stride=stride)
            for layer in range(2):
                x_BHWC = _conv(x_BHWC, config.filters, (TIME_TAPS, 1), f"time_{block}_{layer}")
        return x_BHWC

    def _inception(self, x_BHWC: jax.Array) -> jax.Array:
        """Look at spans of 3 and 5 states and at the greatest of 3, side by side."""
        filters = self.config.inception
        branches = [
            _conv(_conv(x_BHWC, filters, (1, 1), f"inception_{span}_in"), filters, (span, 1), f"inception_{span}")
            for span in (3, 5)
        ]
        greatest = nn.max_pool(x_BHWC, (3, 1), strides=(1, 1), padding="SAME")
        return jnp.concatenate([*branches, _conv(greatest, filters, (1, 1), "inception_pool")], axis=-1)
