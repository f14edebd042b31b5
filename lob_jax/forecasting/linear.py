"""Multinomial logistic regression: the least that a forecaster has to beat."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lob_jax.forecasting.config import CLASSES, KINDS, Forecast, ForecastConfig


class LinearForecaster(nn.Module):
    """One affine map from all states and flow of the history to the logits of every horizon, zero at first.

    It starts at equal probabilities; the loss is convex, so what it finds depends on the seed only through the order of
    the batches and the step at which it was stopped.
    """

    config: ForecastConfig

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, deterministic: bool = True) -> Forecast:
        """Return logits [B, K, 3], and no quantiles; nothing drops out."""
        kind_BHE = jax.nn.one_hot(batch["kind"], KINDS)
        x_BHF = jnp.concatenate([batch["book"], batch["flow"], kind_BHE], axis=-1)
        K = len(self.config.horizons)
        logits = nn.Dense(K * CLASSES, kernel_init=nn.initializers.zeros, name="map")(x_BHF.reshape(len(x_BHF), -1))
        return Forecast(logits.reshape(-1, K, CLASSES), None)
