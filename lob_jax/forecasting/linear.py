"""Multinomial logistic regression, the minimal trained baseline for a forecaster."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lob_jax.forecasting.config import CLASSES, KINDS, Forecast, ForecastConfig


class LinearForecaster(nn.Module):
    """One affine map from all states and flow of the history to the logits of every horizon, initialised to zero.

    It starts from equal probabilities. The loss is convex, so the result depends on the seed only through the order of
    the batches and the step at which training stops.
    """

    config: ForecastConfig

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, deterministic: bool = True) -> Forecast:
        """Return logits [B, K, 3] and no quantiles; there is no dropout."""
        kind_BHE = jax.nn.one_hot(batch["kind"], KINDS)
        x_BHF = jnp.concatenate([batch["book"], batch["flow"], kind_BHE], axis=-1)
        K = len(self.config.horizons)
        logits = nn.Dense(K * CLASSES, kernel_init=nn.initializers.zeros, name="map")(x_BHF.reshape(x_BHF.shape[0], -1))
        return Forecast(logits.reshape(-1, K, CLASSES), None)
