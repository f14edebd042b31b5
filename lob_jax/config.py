"""Check a configuration as a whole, once, before anything runs, and turn its sections into plain dataclasses."""

import json
from typing import Any

import ml_collections

from lob_jax.errors import InputError
from lob_jax.feeds.feed import ON_ERROR
from lob_jax.feeds.scale import parse_step
from lob_jax.generation.state import SamplingConfig
from lob_jax.models.config import ModelConfig
from lob_jax.training.config import TrainConfig

FEEDS = ("synthetic", "lobster", "tardis", "binance", "databento", "itch", "auto")
FORMATS = ("lobster", "hftbacktest", "parquet")
TIME_DIGITS = (None, 2, 5, 8)


def _require(holds: bool, key: str, *, expected: object, was: object, remedy: str) -> None:
    if not holds:
        raise InputError(
            "the configuration does not hold together",
            where=f"config.{key}",
            expected=expected,
            was=was,
            remedy=remedy,
        )


def _check_data(config: ml_collections.ConfigDict) -> None:
    data, context = config.data, config.model.max_seq_length
    _require(
        data.feed in FEEDS,
        "data.feed",
        expected=f"one of {FEEDS}",
        was=data.feed,
        remedy="pass --config.data.feed=",
    )
    _require(
        data.feed == "synthetic" or bool(data.path),
        "data.path",
        expected=f"a file or folder, since data.feed is {data.feed!r}",
        was="nothing",
        remedy="pass --config.data.path=",
    )
    _require(
        data.on_error in ON_ERROR,
        "data.on_error",
        expected=f"one of {ON_ERROR}",
        was=data.on_error,
        remedy="strict names the first bad row, skip counts them, quarantine keeps them in a file",
    )
    _require(
        data.processes is None or data.processes > 0,
        "data.processes",
        expected="a positive number, or None for one a core",
        was=data.processes,
        remedy="leave it out",
    )
    for key in ("tick", "lot"):
        if data[key] is not None:
            parse_step(data[key], where=f"config.data.{key}")
    for key in ("train_fraction", "validation_fraction"):
        _require(0 < data[key] < 1, f"data.{key}", expected="between 0 and 1", was=data[key], remedy="pass a fraction")
    used = data.train_fraction + data.validation_fraction
    _require(
        used < 1,
        "data.train_fraction + data.validation_fraction",
        expected="less than 1, so that a test part remains",
        was=used,
        remedy="lower one of them",
    )
    needed = context // 2 + 1
    _require(
        data.embargo_events >= needed,
        "data.embargo_events",
        expected=f"at least {needed}: a context of {context} tokens may span so many events",
        was=data.embargo_events,
        remedy=f"pass --config.data.embargo_events={needed}",
    )
    for key in ("synthetic_days", "synthetic_events", "record_events", "book_levels"):
        _require(data[key] > 0, f"data.{key}", expected="a positive number", was=data[key], remedy="raise it")


def _check_run(config: ml_collections.ConfigDict) -> None:
    digits, train = config.tokens.time_digits, config.train
    _require(
        digits in TIME_DIGITS,
        "tokens.time_digits",
        expected=f"one of {TIME_DIGITS}",
        was=digits,
        remedy="leave it out to keep every nanosecond",
    )
    _require(
        train.steps is None or train.steps > 0,
        "train.steps",
        expected="a positive number, or None to derive it from epochs",
        was=train.steps,
        remedy="pass --config.train.steps=100, say",
    )
    _require(
        train.micro_batch is None or (train.micro_batch > 0 and train.batch_size % train.micro_batch == 0),
        "train.micro_batch",
        expected=f"a divisor of batch_size {train.batch_size}, or None to fit the memory",
        was=train.micro_batch,
        remedy="pass a divisor, or leave it out",
    )
    _require(
        config.generate.temperature >= 0,
        "generate.temperature",
        expected="0 or more",
        was=config.generate.temperature,
        remedy="1 draws from the model as it is, 0 takes the most likely token",
    )
    _require(
        config.convert.format in FORMATS,
        "convert.format",
        expected=f"one of {FORMATS}",
        was=config.convert.format,
        remedy="pass --config.convert.format=",
    )
    positive = [("generate", key) for key in ("paths", "events", "prompt_events")]
    for section, key in [*positive, ("inspect", "levels"), ("convert", "levels")]:
        value = config[section][key]
        _require(value > 0, f"{section}.{key}", expected="a positive number", was=value, remedy="raise it")


def validate(config: ml_collections.ConfigDict) -> None:
    """Check every value that another one depends on.

    Raises:
      InputError: the first key at fault, what it should be and what it is.
    """
    _check_data(config)
    _check_run(config)
    model_config(config)
    train_config(config)


def model_config(config: ml_collections.ConfigDict) -> ModelConfig:
    """Return the model's section, with the number of book features that the data gives."""
    return ModelConfig(**config.model, book_features=4 * config.data.book_levels)


def train_config(config: ml_collections.ConfigDict) -> TrainConfig:
    """Return the training section."""
    return TrainConfig(**config.train)


def sampling_config(config: ml_collections.ConfigDict) -> SamplingConfig:
    """Return what the sampler needs of the generation section."""
    section = config.generate
    return SamplingConfig(
        paths=section.paths,
        events=section.events,
        temperature=float(section.temperature),
        top_k=section.top_k,
        seed=section.seed,
    )


def plain(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Return the configuration as nested plain values, fit for JSON."""
    return json.loads(config.to_json())
