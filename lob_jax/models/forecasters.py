"""Every forecaster by its name, the token model among them."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lob_jax.errors import InputError
from lob_jax.models.config import ModelConfig
from lob_jax.models.deeplob import DeepLOB
from lob_jax.models.embeddings import Conditioning
from lob_jax.models.forecast_config import CLASSES, Forecast, ForecastConfig
from lob_jax.models.linear import LinearForecaster
from lob_jax.models.tft import TemporalFusionTransformer
from lob_jax.models.transformer import LOBTransformer

_BY_NAME = {"tft": TemporalFusionTransformer, "deeplob": DeepLOB, "linear": LinearForecaster}


class TransformerForecaster(nn.Module):
    """LOBTransformer over the tokens in front of the anchor, and a direction head on its newest token."""

    config: ForecastConfig
    model: ModelConfig

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, deterministic: bool = True) -> Forecast:
        """Return logits [B, K, 3], and no quantiles; without `deterministic` a "dropout" key is needed."""
        tokens_BT = batch["tokens"]
        day_BT = jnp.broadcast_to(batch["day_of_week"][:, None], tokens_BT.shape)
        conditioning = Conditioning(batch["time_of_day"], day_BT, batch["token_book"])
        example_B = jnp.arange(len(tokens_BT))
        model = LOBTransformer(self.model, name="model")
        x_BTD, _ = model.features(tokens_BT, conditioning, deterministic=deterministic, example_B=example_B)
        K = len(self.config.horizons)
        logits = nn.Dense(K * CLASSES, name="direction")(x_BTD[:, -1].astype("float32"))
        return Forecast(logits.reshape(-1, K, CLASSES), None)


def make_forecaster(config: ForecastConfig, token_model: ModelConfig | None) -> nn.Module:
    """Return the forecaster that a configuration names.

    Args:
      config: of the forecaster.
      token_model: of the transformer; the others have no use for it.

    Raises:
      InputError: the transformer without its configuration.
    """
    if config.model != "transformer":
        return _BY_NAME[config.model](config)
    if token_model is None:
        raise InputError(
            "the token model has no shape",
            where="make_forecaster(token_model=...)",
            expected="a ModelConfig",
            was=None,
            remedy="pass the model section of the configuration",
        )
    return TransformerForecaster(config, token_model)
