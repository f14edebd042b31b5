"""Construct any forecaster by name, including the one based on the token model."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from lob_jax.errors import InputError
from lob_jax.forecasting.config import Forecast, ForecastConfig
from lob_jax.forecasting.deeplob import DeepLOB
from lob_jax.forecasting.linear import LinearForecaster
from lob_jax.forecasting.tft import TemporalFusionTransformer
from lob_jax.models.config import HeadsConfig, ModelConfig
from lob_jax.models.embeddings import Conditioning
from lob_jax.models.transformer import LOBTransformer

_BY_NAME = {"tft": TemporalFusionTransformer, "deeplob": DeepLOB, "linear": LinearForecaster}


class TransformerForecaster(nn.Module):
    """Run a LOBTransformer over the tokens before the anchor, and read its outlook head at the newest token.

    Attributes:
      config: the forecaster's configuration.
      model: the transformer's configuration. Its heads are replaced by an outlook head at the forecaster's horizons;
        its instrument embedding, if any, is resized to the training split's instruments plus one for all others.
    """

    config: ForecastConfig
    model: ModelConfig

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, deterministic: bool = True) -> Forecast:
        """Return logits [B, K, 3] and no quantiles; `deterministic=False` requires a "dropout" key."""
        tokens_BT = batch["tokens"]
        heads = HeadsConfig(next_tokens=1, outlook_events=self.config.horizons, contrastive_size=0)
        n_instruments = self.config.instruments + 1 if self.model.n_instruments else 0
        model = LOBTransformer(dataclasses.replace(self.model, heads=heads, n_instruments=n_instruments), name="model")
        day_BT, instrument_BT = (
            jnp.broadcast_to(batch[name][:, None], tokens_BT.shape) for name in ("day_of_week", "instrument")
        )
        conditioning = Conditioning(
            time_of_day_BT=batch["time_of_day"],
            day_of_week_BT=day_BT,
            book_BTF=batch["token_book"],
            instrument_BT=instrument_BT,
            event_BT=batch["token_event"],
            clock_BT2=batch["token_clock"],
        )
        how = {"deterministic": deterministic, "example_B": jnp.arange(len(tokens_BT))}
        return Forecast(model.outlook(tokens_BT, conditioning, **how).direction_BTK3[:, -1], None)


def make_forecaster(config: ForecastConfig, token_model: ModelConfig | None) -> nn.Module:
    """Return the forecaster that a configuration names.

    Args:
      config: the forecaster's configuration.
      token_model: the transformer's configuration; other forecasters ignore it.

    Raises:
      InputError: the transformer has no configuration, or needs inputs that forecasting examples do not hold.
    """
    if config.model != "transformer":
        return _BY_NAME[config.model](config)
    if token_model is None:
        raise InputError(
            "the token model has no configuration",
            where="make_forecaster(token_model=...)",
            expected="a ModelConfig",
            was=None,
            remedy="pass the model section of the configuration",
        )
    if token_model.regime != "none" or token_model.attention.cross_asset:
        raise InputError(
            "the token model reads inputs that forecasting examples do not hold",
            where="config.model.regime, config.model.attention.cross_asset",
            expected=("none", False),
            was=(token_model.regime, token_model.attention.cross_asset),
            remedy="switch both off for a forecaster",
        )
    return TransformerForecaster(config, token_model)
