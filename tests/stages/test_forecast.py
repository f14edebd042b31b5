"""The stage of forecasts: what it leaves and prints, and that a short embargo is told of before anything is read."""

import dataclasses
import json

import numpy as np
import pytest

from lob_jax.config import sections, validation
from lob_jax.configs import tiny
from lob_jax.errors import InputError
from lob_jax.forecasting.config import FORECASTERS
from lob_jax.stages.run import run
from lob_jax.training.run.weights import load_weights


def settings(model: str):
    config = tiny.get_config()
    config.data.update(synthetic_days=1, synthetic_events=6_000, record_events=512, embargo_events=70, processes=1)
    config.model.update(d_model=16, n_layers=1, n_heads=2, d_ff=16, max_seq_length=64)
    config.forecast.update(
        model=model, history=20, horizons=(5, 25), levels=4, stride=10, seeds=2, width=8, heads=2, filters=4, units=6
    )
    config.forecast.update(inception=4, batch_size=32, steps=12, validate_every=6, block_events=100)
    validation.validate(config)
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The models share one run's records."""
    return tmp_path_factory.mktemp("run")


@pytest.mark.slow
@pytest.mark.parametrize("model", FORECASTERS)
def test_a_forecaster_is_trained_and_tested_from_a_configuration(model, folder, capsys):
    config = settings(model)
    assert run("forecast", config, workdir=folder) is None
    result = json.loads((folder / "forecast.json").read_text())
    assert list(result["scores"]) == ["majority", "lean", model]
    assert result["horizons"] == [5, 25] and len(result["fits"]) == 2
    assert {fit["step"] for fit in result["fits"]} <= {6, 12}
    assert result["model"]["model"] == model and min(result["threshold_bp"]) >= 0
    one = result["scores"][model][0]["mcc"]
    assert -1 <= one["low"] <= one["mean"] <= one["high"] <= 1
    assert result["scores"]["majority"][0]["mcc"]["mean"] == 0
    assert (result["quantiles"] is not None) == (model == "tft")
    params, about = load_weights(folder / "forecast.safetensors")
    assert about["forecaster"] == result["model"] and len(about["scaling"]["threshold"]) == 2
    sizes = []

    def walk(part):
        for leaf in part.values():
            sizes.append(np.size(leaf)) if isinstance(leaf, np.ndarray) else walk(leaf)

    walk(params)
    assert sum(sizes) == result["parameters"]
    printed = capsys.readouterr().out
    assert "macro F1" in printed and "lean" in printed and "seed 1: best validation loss" in printed


def test_a_short_embargo_is_refused_before_anything_is_read(tmp_path):
    config = settings("linear")
    config.data.embargo_events = 69
    with pytest.raises(InputError, match=r"(?s)shorter than a forecasting example.*at least 70 events"):
        run("forecast", config, workdir=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_sections_of_a_configuration_become_dataclasses():
    config = settings("tft")
    shape = sections.forecast_config(config, instruments=3)
    assert (shape.model, shape.horizons, shape.instruments, shape.width) == ("tft", (5, 25), 3, 8)
    assert dataclasses.asdict(sections.fit_config(config))["steps"] == 12
    layout = sections.forecast_layout(config)
    assert (layout.history, layout.context, layout.time_buckets, layout.reach) == (20, 64, 288, 25)
    known = {*dataclasses.asdict(shape), *dataclasses.asdict(sections.fit_config(config))} - {"instruments"}
    assert set(config.forecast) == known | {"stride", "seeds", "block_events"}
