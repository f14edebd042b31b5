"""Construct any forecaster by name, including the one based on the token model."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.book.features import feature_moments
from lob_jax.errors import InputError
from lob_jax.forecasting.config import TOKEN_INPUTS, Forecast, ForecastConfig
from lob_jax.forecasting.deeplob import DeepLOB
from lob_jax.forecasting.linear import LinearForecaster
from lob_jax.forecasting.tft import TemporalFusionTransformer
from lob_jax.models.config import HeadsConfig, ModelConfig
from lob_jax.models.embeddings import MOMENTS, with_moments
from lob_jax.models.inputs import Role, fields_held, fields_read
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
        """Return logits [B, K, 3], and no quantiles; without `deterministic` a "dropout" key is needed."""
        tokens_BT, shape = batch["tokens"], _with_outlook(self.model, self.config)
        model = LOBTransformer(shape, name="model")
        conditioning = {name: _along(batch[TOKEN_INPUTS[name]], tokens_BT) for name in fields_read(shape, Role.BESIDE)}
        how = {"deterministic": deterministic, "example_B": jnp.arange(len(tokens_BT))}
        return Forecast(model.outlook(tokens_BT, conditioning, **how).direction_BTK3[:, -1], None)


def measured(params: dict, batch: dict[str, np.ndarray]) -> dict:
    """Return a forecaster's initial parameters; a transformer's book features are standardised by those of a batch."""
    embeddings = params.get("model", {}).get("embeddings", {})
    mean, _ = MOMENTS["book"]
    if mean not in embeddings:
        return params
    book_KF = batch[TOKEN_INPUTS["book"]].reshape(-1, len(embeddings[mean]))
    moments = with_moments(embeddings, "book", feature_moments(book_KF))
    return {**params, "model": {**params["model"], "embeddings": moments}}


def _with_outlook(model: ModelConfig, config: ForecastConfig) -> ModelConfig:
    """Return the transformer's shape with the heads, the inputs and the instruments of a forecaster."""
    heads = HeadsConfig(next_tokens=1, outlook_events=config.horizons, contrastive_size=0)
    left_out = dict.fromkeys(("flow_state", "queue_state", "price_memory", "latest_tokens", "pointer"), False)
    instruments = config.instruments + 1 if model.n_instruments else 0
    return dataclasses.replace(model, heads=heads, n_instruments=instruments, counts=0, **left_out)


def _along(known: jax.Array, tokens_BT: jax.Array) -> jax.Array:
    """Return what is known at each token; an example has one number of what is the same at all of them."""
    return jnp.broadcast_to(known[:, None], tokens_BT.shape) if known.ndim == 1 else known


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
    held = fields_held(_with_outlook(token_model, config), Role.BESIDE)
    lacking = [name for name in held if name not in TOKEN_INPUTS]
    if lacking:
        raise InputError(
            "the token model reads what the examples of a forecast do not hold",
            where="config.model",
            expected=f"a model that reads {', '.join(TOKEN_INPUTS)} at most",
            was=f"one that reads {', '.join(lacking)}",
            remedy="leave it out of a forecaster: config.model.regime=none",
        )
    return TransformerForecaster(config, token_model)
