"""The benchmark of forecasters: one table and one JSON object, with the same examples and draws for all models."""

import json

import pytest

from lob_jax.bench import models
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.models.config import ModelConfig
from lob_jax.writers.lobster import write_lobster


@pytest.fixture
def day(tmp_path):
    """Return a simulated day as a LOBSTER pair."""
    one = SyntheticFeed(1, 6_000, 0).read("2024-01-02")
    return write_lobster(tmp_path, one, levels=10).message


@pytest.mark.slow
def test_the_last_line_is_one_json_object(day, tmp_path, capsys):
    arguments = ["--path", str(day), "--folder", str(tmp_path / "records"), "--steps", "2", "--seeds", "2"]
    models.main([*arguments, "--models", "linear,deeplob", "--stride", "10"])
    *lines, last = capsys.readouterr().out.splitlines()
    figures = json.loads(last)
    assert list(figures["scores"]) == ["majority", "lean", "linear", "deeplob"]
    assert figures["horizons"] == [10, 20, 50, 100] and len(figures["scores"]["linear"]) == 4
    assert list(figures["mcc_above"]) == ["linear", "lean"] and list(figures["mcc_above"]["linear"]) == ["deeplob"]
    mcc = [figures["scores"][name][0]["mcc"]["mean"] for name in ("deeplob", "linear")]
    assert figures["mcc_above"]["linear"]["deeplob"][0]["mean"] == pytest.approx(mcc[0] - mcc[1])
    assert figures["training"]["linear"]["steps"] == 10 and len(figures["fits"]["deeplob"]) == 2
    assert figures["parameters"]["deeplob"] == 61_276
    assert sum(line.startswith(("majority", "lean", "linear ", "deeplob ")) for line in lines) == 4 * 4
    assert {"command", "commit", "machine", "versions", "seconds"} <= set(figures)


@pytest.mark.parametrize(
    "arguments", [["--models", "linear,lstm"], ["--block-events", "50"], ["--steps", "0"], ["--stride", "0"]]
)
def test_flags_that_make_no_sense_are_refused(arguments, tmp_path):
    with pytest.raises(SystemExit):
        models.main(["--path", str(tmp_path / "none"), *arguments])


def test_models_are_trained_alike_but_for_rate_and_length():
    configs = [vars(models.fit_config(name, 80)) for name in models.MODELS]
    differ = {key for key in configs[0] if len({one[key] for one in configs}) > 1}
    assert differ == {"learning_rate", "steps", "validate_every"}
    assert models.EMBARGO >= 300 and isinstance(models.TOKEN_MODEL, ModelConfig)
