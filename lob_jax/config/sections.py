"""Convert the sections of a configuration to the dataclasses that the rest of lob_jax takes."""

import dataclasses
import json
from typing import Any

import ml_collections

from lob_jax.config.search_space import Space, parse_space
from lob_jax.data.windows.augment.settings import AugmentConfig
from lob_jax.errors import InputError
from lob_jax.export.config import PLAIN, PRECISIONS, ExportConfig
from lob_jax.forecasting.config import ForecastConfig
from lob_jax.forecasting.examples import ForecastLayout
from lob_jax.forecasting.fit import FitConfig
from lob_jax.generation.settings import SamplingConfig, Truncation
from lob_jax.models.config import AttentionConfig, HeadsConfig, ModelConfig
from lob_jax.settings import key_types
from lob_jax.training.config import TrainConfig
from lob_jax.training.pruning import PruneConfig

BACKENDS = ("auto", "jax", "onnx")  # of generation


def model_config(config: ml_collections.ConfigDict) -> ModelConfig:
    """Return the model section, with the numbers of book features and regimes that follow from the data section."""
    values: dict[str, Any] = {
        **config.model,
        "attention": AttentionConfig(**config.model.attention),
        "heads": HeadsConfig(**config.model.heads),
        "book_features": 4 * config.data.book_levels,
        "n_regimes": config.data.volatility_regimes * config.data.spread_regimes,
    }
    return ModelConfig(**values)


def augment_config(config: ml_collections.ConfigDict) -> AugmentConfig:
    """Return the settings of the augmentations."""
    return AugmentConfig(**config.data.augment)


def train_config(config: ml_collections.ConfigDict) -> TrainConfig:
    """Return the training section."""
    return TrainConfig(**config.train)


def export_config(config: ml_collections.ConfigDict) -> ExportConfig:
    """Return the section of the export."""
    return ExportConfig(**config.export)


def prune_config(config: ml_collections.ConfigDict) -> PruneConfig:
    """Return the pruning section."""
    return PruneConfig(**config.prune)


def forecast_config(config: ml_collections.ConfigDict, *, instruments: int) -> ForecastConfig:
    """Return the shape of the forecaster for data of so many instruments."""
    return ForecastConfig(**_fields(config.forecast, ForecastConfig), instruments=instruments)


def fit_config(config: ml_collections.ConfigDict) -> FitConfig:
    """Return the settings with which a forecaster is trained."""
    return FitConfig(**_fields(config.forecast, FitConfig))


def forecast_layout(config: ml_collections.ConfigDict) -> ForecastLayout:
    """Return the layout of a forecaster's examples; their context length is that of the token model."""
    forecast, model = config.forecast, config.model
    return ForecastLayout(
        history=forecast.history,
        horizons=tuple(forecast.horizons),
        levels=forecast.levels,
        context=model.max_seq_length,
        time_buckets=model.time_buckets,
        smoothing=forecast.smoothing,
        threshold=forecast.threshold,
    )


def _fields(section: ml_collections.ConfigDict, of: type[ForecastConfig | FitConfig]) -> dict[str, Any]:
    """Return the values of a section for which a dataclass has fields."""
    return {field.name: section[field.name] for field in dataclasses.fields(of) if field.name in section}


def search_space(config: ml_collections.ConfigDict) -> Space:
    """Return the search space of a sweep."""
    return parse_space(config.sweep.space, types=key_types(config))


def sampling_config(config: ml_collections.ConfigDict) -> SamplingConfig:
    """Return the sampler's settings from the generation section.

    Raises:
      InputError: a value is out of range; the error names its key.
    """
    section, named = config.generate, "config.generate."
    return SamplingConfig(
        paths=section.paths,
        events=section.events,
        temperature=float(section.temperature),
        truncation=Truncation(section.top_k, float(section.top_p), float(section.min_p), named=named),
        seed=section.seed,
        limit_sizes=section.limit_sizes,
        named=named,
    )


def plain(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Return the configuration as nested plain values, as in JSON."""
    return json.loads(config.to_json())


def generation_backend(config: ml_collections.ConfigDict) -> str:
    """Return where a configuration generates: "jax" or "onnx".

    For float32, JAX's loop is the faster one on CPUs, and the only one on accelerators; it has no integer weights.

    Raises:
      InputError: there is no such backend or precision, or they do not go together.
    """
    section = config.generate
    for key, choices in (("backend", BACKENDS), ("precision", PRECISIONS)):
        if section[key] not in choices:
            raise _refused(f"generate.{key}", " | ".join(choices), section[key], "choose one of these")
    if section.backend == "jax" and section.precision != PLAIN:
        remedy = "leave out one of the two: integer weights are those of an exported graph"
        raise _refused("generate.precision", f"{PLAIN}, since generate.backend is jax", section.precision, remedy)
    return ("jax" if section.precision == PLAIN else "onnx") if section.backend == "auto" else section.backend


def _refused(key: str, expected: str, was: object, remedy: str) -> InputError:
    where = f"config.{key}"
    return InputError("the configuration is invalid", where=where, expected=expected, was=was, remedy=remedy)
