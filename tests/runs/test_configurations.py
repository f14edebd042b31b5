"""Every configuration trains, is loaded from its folder, and is resumed."""

import pathlib

import pytest

import lob_jax
from tests.runs.conftest import SMALL

OTHERS = {"deeplob", "linear", "tft", "sized", "lobster_day", "own_flow"}  # forecasters, no model, a file, a run
FILES = {path.stem for path in pathlib.Path(__file__).resolve().parents[2].glob("configs/*.py")}
FAST = {"regimes", "compact"}  # which ask more of a checkpoint than its model; the rest take minutes


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in sorted(FILES - OTHERS)]
)
def test_it_is_trained_and_loaded_and_resumed(name, tmp_path):
    small = {**SMALL, "data.embargo_events": 65, "train.steps": 2, "train.validate_every": 1}
    if name == "multi_scale":
        small["model.n_heads"] = 4  # as many as horizons
    config = lob_jax.get_config(name, small)
    summary = lob_jax.train(config, tmp_path)
    run = lob_jax.load_run(tmp_path)
    assert (run.step, run.validation_loss) == (summary.best_step, summary.best_validation_loss)
    config = lob_jax.get_config(name, {**small, "train.steps": 3})
    assert lob_jax.train(config, tmp_path).steps == 3
    assert lob_jax.load_run(tmp_path).step in (1, 2, 3)
