"""The looks before a long run, on a day of the simulator."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from lob_jax.config import validation
from lob_jax.configs import tiny
from lob_jax.stages import probe

ROOT = pathlib.Path(__file__).resolve().parents[2]

SMALL = {
    "data.synthetic_days": 1,
    "data.synthetic_events": 5000,
    "data.record_events": 256,
    "data.embargo_events": 40,
    "data.book_levels": 3,
    "data.processes": 1,
    "model.d_model": 16,
    "model.n_layers": 1,
    "model.n_heads": 2,
    "model.d_ff": 32,
    "model.max_seq_length": 64,
    "train.batch_size": 8,
    "train.micro_batch": 1,
    "train.learning_rate": 0.03,
    "train.validation_windows": 16,
}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


def settings(**changes):
    config = tiny.get_config()
    config.update_from_flattened_dict({**SMALL, **{key.replace("__", "."): value for key, value in changes.items()}})
    validation.validate(config)
    return config


def told(capsys):
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_a_learning_rate_is_suggested(workdir, capsys):
    config = settings(find_lr__steps=60, find_lr__lowest=1e-4, find_lr__highest=3.0, train__accumulation=2)
    assert probe.find_lr(config, workdir) is None
    shown, found = told(capsys), json.loads((workdir / "find_lr.json").read_text())
    rates = found["rates_found"]
    assert f"--config.train.learning_rate={rates['suggested']:.2g}" in shown
    assert "16 windows per step" in shown
    assert 1e-4 < rates["suggested"] < rates["lowest"] <= 3.0
    assert len(found["rates"]) == len(found["losses"]) == len(found["smoothed"]) <= 60
    assert (workdir / "figures" / "find_lr.png").read_bytes().startswith(b"\x89PNG")
    assert not (workdir / "checkpoints").exists() and not (workdir / "metrics.jsonl").exists()


@pytest.mark.slow
def test_no_rate_is_suggested_where_the_loss_never_falls(workdir, capsys):
    config = settings(find_lr__steps=10, find_lr__lowest=1e-9, find_lr__highest=1e-8)
    assert probe.find_lr(config, workdir) == 1
    assert "the loss never fell" in told(capsys)
    assert json.loads((workdir / "find_lr.json").read_text())["rates_found"] is None


@pytest.mark.slow
def test_a_batch_is_learned_or_not(workdir, capsys):
    assert probe.overfit(settings(overfit__steps=60, overfit__target=4.0), workdir) is None
    shown, found = told(capsys), json.loads((workdir / "overfit.json").read_text())
    assert f"PASSED: below 4 nats per token after {found['steps_to_target']} updates" in shown
    assert found["losses"][-1] < 4.0 <= min(found["losses"][:-1]) and found["dropout"] == 0.0
    assert probe.overfit(settings(overfit__steps=5, overfit__target=0.1, train__accumulation=2), workdir) == 1
    shown, found = told(capsys), json.loads((workdir / "overfit.json").read_text())
    assert "TOO FEW STEPS" in shown and "--config.overfit.steps=200," in shown and "8 windows per step" in shown
    assert not found["passed"] and found["steps_to_target"] is None and len(found["losses"]) == 5
    assert found["outcome"] == "too few steps" and not found["causes_to_look_at"]
    slow = settings(overfit__steps=25, overfit__target=0.1, train__learning_rate=1e-9)
    assert probe.overfit(slow, workdir) == 1
    shown, found = told(capsys), json.loads((workdir / "overfit.json").read_text())
    assert "NOT PASSED" in shown and "check:" in shown
    assert found["outcome"] == "not learned" and "never fell" in found["causes_to_look_at"][0]


@pytest.mark.slow
def test_the_command_ends_with_status_1_if_the_batch_is_not_learned(workdir):
    settings = {**SMALL, "overfit.steps": 2, "overfit.target": 0.01}
    flags = [f"--config.{key}={value}" for key, value in settings.items()]
    command = [sys.executable, "-m", "lob_jax.main", "--config=configs/tiny.py", "--mode=overfit", *flags]
    environment = {**os.environ, "XLA_FLAGS": ""}
    done = subprocess.run(
        [*command, f"--workdir={workdir}"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1, done.stderr
    assert "TOO FEW STEPS" in done.stdout and "Traceback" not in done.stderr
