"""The stage of forecasts: what it leaves and prints, and that a short embargo is told of before anything is read."""

import dataclasses
import json

import numpy as np
import pytest

from lob_jax.config import sections, validation
from lob_jax.configs import tiny
from lob_jax.errors import InputError
from lob_jax.evaluation.direction.scores import SCORES
from lob_jax.forecasting.config import FORECASTERS
from lob_jax.stages.run import run
from lob_jax.training.run.weights import load_weights
from tests.forecasting.fi2010_files import write_set


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
    config.forecast.onnx = model != "transformer"
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
    assert set(result["scores"][model][1]) == set(SCORES)
    counts = [one["examples"] for one in result["details"][model][0]["reliability"]["up"]]
    assert sum(counts) == 2 * result["examples"]["test"]  # two seeds
    volatility = result["volatility"]["scores"]
    assert set(volatility) == {"training_mean", "last", "har"} and len(volatility["har"]) == 2
    assert volatility["last"][0]["r2_last"] == 0
    params, about = load_weights(folder / "forecast.safetensors")
    assert about["forecaster"] == result["model"] and len(about["scaling"]["threshold"]) == 2
    sizes = []

    def walk(part):
        for leaf in part.values():
            sizes.append(np.size(leaf)) if isinstance(leaf, np.ndarray) else walk(leaf)

    walk(params)
    assert sum(sizes) == result["parameters"]
    printed = capsys.readouterr().out
    assert max(len(line) for line in printed.splitlines() if "│" in line) <= 100
    assert "HAR" in printed and "Cohen's kappa" in printed and "macro F1" in printed
    assert ("forecast.onnx" in printed) == config.forecast.onnx
    assert "lean" in printed and "seed 1: best validation loss" in printed


def of_fi2010(path, **changes):
    config = settings("linear")
    config.data.path = str(path)
    config.forecast.update({"horizons": (10, 100), "history": 5, "steps": 4, "validate_every": 2, **changes})
    validation.validate(config)
    return config


def test_fi2010_is_trained_and_tested_by_its_days(tmp_path, capsys):
    write_set(tmp_path / "set", count=90)
    config = of_fi2010(tmp_path / "set", horizons=(10, 20, 30, 50, 100), onnx=True)
    run("forecast", config, workdir=tmp_path / "run")
    result = json.loads((tmp_path / "run" / "forecast.json").read_text())
    assert result["dataset"] == {"name": "FI-2010", "set": "NoAuction_ZScore", "protocol": "days"}
    assert list(result["scores"]) == ["majority", "last label", "linear"]
    assert result["folds"][0]["segments"] == {"train": 5, "test": 15}
    assert result["examples"] == {
        "train": 5 * (72 - 4 - 10),
        "validation": 5 * (18 - 4 - 10),
        "test": 15 * (90 - 4 - 10),
    }
    one = result["scores"]["linear"][4]
    assert set(one) == set(SCORES) and one["mcc"]["low"] <= one["mcc"]["mean"] <= one["mcc"]["high"]
    params, about = load_weights(tmp_path / "run" / "forecast.safetensors")
    assert len(about["scaling"]["book_mean"]) == 16
    printed = capsys.readouterr().out
    assert max(len(line) for line in printed.splitlines() if "│" in line) <= 100
    assert "last label" in printed and "weighted F1" in printed and "forecast.onnx" in printed
    assert (tmp_path / "run" / "forecast.onnx").exists()


@pytest.mark.slow
def test_fi2010_by_anchored_folds_means_over_the_folds(tmp_path):
    write_set(tmp_path / "set", count=90, train=range(1, 10), test=range(1, 10))
    config = of_fi2010(tmp_path / "set", model="deeplob", protocol="folds", seeds=1, levels=2)
    run("forecast", config, workdir=tmp_path / "run")
    result = json.loads((tmp_path / "run" / "forecast.json").read_text())
    assert len(result["folds"]) == len(result["fits"]) == 9 and result["means_over"] == "folds and seeds"
    assert [fold["training_file"][-5] for fold in result["folds"]] == list("123456789")
    each = [fold["scores"]["deeplob"][0]["accuracy"]["mean"] for fold in result["folds"]]
    one = result["scores"]["deeplob"][0]["accuracy"]
    assert one["mean"] == pytest.approx(np.mean(each)) and one["std"] == pytest.approx(np.std(each))
    assert result["blocks"] == 9 * 5 * 8 and result["examples"]["test"] == 9 * 5 * 76


def test_fi2010_is_no_data_of_a_token_model(tmp_path):
    write_set(tmp_path / "set", count=12)
    with pytest.raises(InputError, match=r"(?s)config\.forecast\.model.*transformer.*without messages"):
        run("forecast", of_fi2010(tmp_path / "set", model="transformer"), workdir=tmp_path / "run")
    with pytest.raises(InputError, match=r"(?s)nothing to tokenize.*--mode=forecast"):
        run("prepare", of_fi2010(tmp_path / "set"), workdir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("key", "value"), [("smoothing", "none"), ("protocol", "all"), ("threshold", 1.5)])
def test_a_label_or_protocol_that_is_not_there_is_refused_by_its_key(tmp_path, key, value):
    with pytest.raises(InputError, match=rf"config\.forecast\.{key}"):
        of_fi2010(tmp_path, **{key: value})


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
    others = {"stride", "seeds", "block_events", "smoothing", "threshold", "protocol", "onnx"}
    assert set(config.forecast) == known | others
