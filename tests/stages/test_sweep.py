"""The sweep's own part, with a training that takes no time; and the whole of it from outside, killed in the middle."""

import json
import math
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time

import jax
import pytest

from lob_jax import later_keys
from lob_jax.config import sections, validation
from lob_jax.configs import tiny
from lob_jax.errors import InputError, TrainingError
from lob_jax.later_keys import LaterKey
from lob_jax.lock import locked
from lob_jax.signals import EXIT_RESUMABLE
from lob_jax.stages import sweep
from lob_jax.training.run.data import TrainingData
from lob_jax.training.run.interruption import CTRL_C, LATE, TOLD
from lob_jax.training.run.loop import TrainingSummary

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPACE = "train.learning_rate=log(1e-4,1e-1) model.n_heads=choice(2,3) train.warmup_steps=uniform(1,9)"
SETTINGS = {
    "model.d_model": 16,
    "train.steps": 12,
    "train.validate_every": 4,
    "sweep.trials": 9,
    "sweep.startup_trials": 3,
    "sweep.warmup_validations": 1,
    "sweep.space": SPACE,
}


class KilledError(BaseException):
    """What a kill is to these tests."""


def loss_of(rate, step, warmup):
    return 3.0 + abs(math.log10(rate) + 2.5) + 1 / (step + warmup)


class FakeTraining:
    """Stands in for the training loop: writes, reports and goes on as it does, and is killed where it is told to be.

    Attributes:
      killed: (folder, step, moment) of the next kill; its moments are "written", "saved" and "reported", "over" of a
        whole run, and "begun" before it.
      ran: steps taken, all trials together.
    """

    def __init__(self):
        self.killed, self.ran, self.told_at, self.signal = None, 0, None, signal.SIGTERM

    def _moment(self, *moment):
        if moment == self.killed:
            self.killed = None
            raise KilledError

    def __call__(self, model, train, data, *, seed, folder, settings, on_validation, console, start):
        self._moment(folder.name, 0, "begun")
        saved, lines, rate = folder / "saved", folder / "metrics.jsonl", train.learning_rate
        begin = int(saved.read_text()) if saved.exists() else 0
        if lines.exists():  # as the training loop does
            kept = [line for line in lines.read_text().splitlines() if json.loads(line)["step"] <= begin]
            lines.write_text("".join(f"{line}\n" for line in kept))
        if rate > 0.06:
            raise TrainingError("no finite gradient", step=10, remedy="a lower rate")
        for step in range(begin + 4, train.steps + 1, 4):
            self.ran += 4
            loss = loss_of(rate, step, train.warmup_steps)
            with lines.open("a") as file:
                file.write(json.dumps({"step": step, "loss": 1.0}) + "\n")
                file.write(json.dumps({"step": step, "validation_loss": loss}) + "\n")
            self._moment(folder.name, step, "written")
            saved.write_text(str(step))
            self._moment(folder.name, step, "saved")
            if self.told_at == (folder.name, step):
                self.told_at = None
                os.kill(os.getpid(), self.signal)
            on_validation(step, loss, None)
            self._moment(folder.name, step, "reported")
        self._moment(folder.name, train.steps, "over")
        best = loss_of(rate, train.steps, train.warmup_steps)
        return TrainingSummary(train.steps, train.steps, best, stopped_early=False)


@pytest.fixture
def training(monkeypatch):
    fake = FakeTraining()
    monkeypatch.setattr(sweep, "run_training", fake)
    monkeypatch.setattr(sweep, "prepare", lambda config, workdir: workdir.mkdir(exist_ok=True))
    data = TrainingData(batches=None, start=None, windows=100, validation=[], vocabulary_hash="abc")
    monkeypatch.setattr(sweep, "open_training_data", lambda config, workdir: data)
    return fake


def settings(**changes):
    config = tiny.get_config()
    config.update_from_flattened_dict({**SETTINGS, **{key.replace("__", "."): value for key, value in changes.items()}})
    validation.validate(config)
    return config


def contents(workdir):
    return json.loads((workdir / "sweep.json").read_text())


def states(workdir):
    return [trial["state"] for trial in contents(workdir)["trials"]]


@pytest.mark.slow
def test_a_sweep_finds_the_better_settings_and_keeps_every_trial(training, tmp_path, capsys):
    workdir = tmp_path / "sweep"
    assert sweep.sweep(settings(), workdir) is None
    found = contents(workdir)
    assert {"complete", "pruned", "failed"} == set(states(workdir)) and len(states(workdir)) == 9
    complete = [trial for trial in found["trials"] if trial["state"] == "complete"]
    best = min(complete, key=lambda trial: trial["loss"])
    assert found["best"] == best["number"] and best["step"] == 12
    rate, warmup = best["parameters"]["train.learning_rate"], best["parameters"]["train.warmup_steps"]
    assert best["loss"] == loss_of(rate, 12, warmup)
    for trial in found["trials"]:
        reached = {"complete": 12, "pruned": trial["step"], "failed": 0}[trial["state"]]
        lines = workdir / trial["folder"] / "metrics.jsonl"
        assert (json.loads(lines.read_text().splitlines()[-1])["step"] if reached else 0) == reached
        if trial["state"] == "pruned":
            assert trial["step"] in (8, 12)  # not at the first validation
        if trial["state"] == "failed":
            assert trial["loss"] is None
            told = "n_heads" if trial["parameters"]["model.n_heads"] == 3 else "no finite gradient, step 10"
            assert told in trial["reason"]
        else:
            assert trial["parameters"]["model.n_heads"] == 2 and trial["reason"] is None
            assert (workdir / trial["folder"] / "records").readlink() == pathlib.Path("../../records")
    shown = capsys.readouterr().out
    assert f"trials/{best['number']}" in shown and f"--config.train.learning_rate={rate}" in shown
    # The same command again has nothing left to do.
    ran = training.ran
    assert sweep.sweep(settings(), workdir) is None
    assert training.ran == ran and contents(workdir) == found


MOMENTS = [
    (0, "begun"),
    (4, "written"),
    (4, "saved"),
    (4, "reported"),
    (8, "written"),
    (8, "saved"),
    (8, "reported"),
    (12, "over"),
]


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_killed_at_any_moment_it_goes_on_as_if_nothing_had_been(training, tmp_path, pruner):
    config = settings(sweep__pruner=pruner, sweep__space="train.learning_rate=log(1e-4,5e-2)", sweep__trials=8)
    assert sweep.sweep(config, tmp_path / "undisturbed") is None
    undisturbed = contents(tmp_path / "undisturbed")
    assert "pruned" in states(tmp_path / "undisturbed")
    reached = {str(trial["number"]): trial["step"] for trial in undisturbed["trials"]}
    numbers = (0, 3, 4, 5, 6, 7, 2, 1)
    kills = sorted((str(number), *moment) for number, moment in zip(numbers, MOMENTS, strict=True))
    workdir, happened = tmp_path / "killed", 0
    for kill in [kill for kill in kills if kill[1] <= reached[kill[0]]]:
        training.killed = kill
        with pytest.raises(KilledError):
            sweep.sweep(config, workdir)
        assert states(workdir)[: int(kill[0])] == states(tmp_path / "undisturbed")[: int(kill[0])]
        happened += 1
    assert sweep.sweep(config, workdir) is None
    assert happened >= 5
    assert contents(workdir) == undisturbed


@pytest.mark.slow
def test_a_pruned_trial_killed_before_that_was_stored_is_pruned_then(training, tmp_path):
    config = settings(sweep__space="train.learning_rate=log(1e-4,5e-2)", sweep__trials=4)
    assert sweep.sweep(config, tmp_path / "undisturbed") is None
    pruned = next(trial for trial in contents(tmp_path / "undisturbed")["trials"] if trial["state"] == "pruned")
    workdir = tmp_path / "killed"
    training.killed = (str(pruned["number"]), pruned["step"], "saved")
    with pytest.raises(KilledError):
        sweep.sweep(config, workdir)
    assert len(states(workdir)) == pruned["number"]
    assert sweep.sweep(config, workdir) is None
    assert contents(workdir) == contents(tmp_path / "undisturbed")


@pytest.mark.slow
def test_a_trial_drawn_but_not_begun_is_the_next_one(training, tmp_path):
    config = settings(sweep__trials=2, sweep__space="train.learning_rate=log(1e-4,5e-2)")
    assert sweep.sweep(config, tmp_path / "undisturbed") is None
    (tmp_path / "killed").mkdir()
    study = sweep.open_study(config, tmp_path / "killed")
    study.enqueue_trial(sweep._draw(study, sections.search_space(config), seed=config.seed))
    (waiting,) = sweep.records_of(study)
    assert waiting.state == "running" and waiting.loss is None
    assert waiting.parameters == contents(tmp_path / "undisturbed")["trials"][0]["parameters"]
    assert sweep.sweep(config, tmp_path / "killed") is None
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


def test_a_model_that_cannot_fit_is_refused_before_any_trial(training, tmp_path):
    with pytest.raises(InputError, match="does not fit in memory"):
        sweep.sweep(settings(model__d_model=2**17, sweep__space="train.learning_rate=log(1e-4,5e-2)"), tmp_path / "s")
    assert not (tmp_path / "s").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, EXIT_RESUMABLE), (signal.SIGINT, 130)])
def test_a_signal_ends_it_so_that_it_can_go_on(training, tmp_path, capsys, number, status):
    config = settings(sweep__trials=3, sweep__space="train.learning_rate=log(1e-4,5e-2)")
    before = signal.getsignal(number)
    training.told_at, training.signal = ("1", 8), number
    assert sweep.sweep(config, tmp_path / "sweep") == status
    assert signal.getsignal(number) == before
    assert states(tmp_path / "sweep") == ["complete", "running"]
    assert "resumes the trial that was running" in capsys.readouterr().out
    assert sweep.sweep(config, tmp_path / "sweep") is None
    assert states(tmp_path / "sweep") == ["complete"] * 3
    assert training.ran == 36  # no step twice


@pytest.mark.slow
def test_a_training_that_a_signal_ended_is_no_finished_trial(training, tmp_path, monkeypatch):
    config = settings(sweep__trials=1, sweep__space="train.learning_rate=log(1e-4,5e-2)")
    for reason, status in ((CTRL_C, 130), (TOLD, EXIT_RESUMABLE), (LATE, EXIT_RESUMABLE)):
        summary = TrainingSummary(4, 4, 1.0, False, interrupted=reason)
        monkeypatch.setattr(sweep, "run_training", lambda *_, summary=summary, **__: summary)
        assert sweep.sweep(config, tmp_path / "sweep") == status
    assert states(tmp_path / "sweep") == ["running"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"train__weight_decay": 0.5}, "train.weight_decay"),
        ({"sweep__space": "train.learning_rate=log(1e-4,1e-2)"}, "sweep.space"),
        ({"sweep__pruner": "none"}, "sweep.pruner = 'median'"),
        ({"seed": 7}, "seed = 0"),
    ],
)
def test_a_sweep_goes_on_under_its_own_terms_only(training, tmp_path, change, told):
    sweep.sweep(settings(sweep__trials=1), tmp_path / "sweep")
    with pytest.raises(InputError, match="other settings") as caught:
        sweep.sweep(settings(sweep__trials=2, **change), tmp_path / "sweep")
    assert told in str(caught.value)
    assert sweep.sweep(settings(sweep__trials=2, train__log_every=1), tmp_path / "sweep") in (None, 1)
    assert len(states(tmp_path / "sweep")) == 2


def test_a_sweep_from_before_a_key_goes_on_where_the_key_has_its_neutral_value(tmp_path, monkeypatch):
    folder = tmp_path / "sweep"
    folder.mkdir()
    study = sweep.open_study(settings(), folder)
    assert study.user_attrs["version"] == later_keys.version()
    clip = study.user_attrs["terms"]["train.clip"]
    terms = {key: value for key, value in study.user_attrs["terms"].items() if key != "train.clip"}
    study.set_user_attr("terms", terms)  # as if the key had come later
    with pytest.raises(InputError, match="train.clip: absent"):
        sweep.open_study(settings(), folder)
    monkeypatch.setattr(later_keys, "LATER", (LaterKey("train.clip", clip, "0.2.0"),))
    sweep.open_study(settings(), folder)
    with pytest.raises(InputError, match=f"train.clip = {clip}"):
        sweep.open_study(settings(train__clip=clip + 1), folder)
    study.set_user_attr("terms", {**terms, "train.newer": 1})
    with pytest.raises(InputError, match="other settings"):
        sweep.open_study(settings(), folder)
    study.set_user_attr("version", "9.1")
    with pytest.raises(InputError, match="newer version of lob_jax, 9.1"):
        sweep.open_study(settings(), folder)


@pytest.mark.slow
def test_a_sweep_without_a_trial_at_its_end_says_why(training, tmp_path, capsys):
    config = settings(sweep__trials=2, sweep__space="train.learning_rate=uniform(0.07,0.09)")
    assert sweep.sweep(config, tmp_path / "sweep") == 1
    assert "no trial was completed: no finite gradient" in capsys.readouterr().out


def test_a_device_out_of_memory_fails_a_trial_and_nothing_else_does():
    error = jax.errors.JaxRuntimeError
    assert sweep._reason(error("RESOURCE_EXHAUSTED: out of memory")) == "a device ran out of memory"
    with pytest.raises(error, match="INTERNAL"):
        sweep._reason(error("INTERNAL: something else"))


def test_one_process_sweeps_a_folder(training, tmp_path):
    with locked(tmp_path / "sweep.lock"), pytest.raises(InputError, match="another process is at work"):
        sweep.sweep(settings(), tmp_path)


def test_losses_that_are_not_finite_are_infinite(tmp_path):
    lines = ('{"step": 4, "loss": 1}', '{"step": 4, "validation_loss": null}', '{"step": 8, "validation_loss": 2.5}')
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 12, "val']))
    assert sweep.recorded_losses(tmp_path) == {4: math.inf, 8: 2.5}
    assert sweep.recorded_losses(tmp_path / "nowhere") == {}
    damaged = b'{"step": 4, "validation_loss": 2.0}\n{"step": \xff4}\n[4]\n{"validation_loss": 1}\n'
    (tmp_path / "metrics.jsonl").write_bytes(damaged + b'{"step": 8, "validation_loss": 1.5}\n')
    assert sweep.recorded_losses(tmp_path) == {4: 2.0, 8: 1.5}


def test_without_optuna_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"\[sweep\]"):
        sweep.sweep(settings(), tmp_path)


SMALL = (
    "data.synthetic_days=1 data.synthetic_events=5000 data.record_events=256 data.embargo_events=40 data.book_levels=3 "
    "model.d_model=16 model.n_layers=1 model.n_heads=2 model.d_ff=32 model.max_seq_length=64 train.batch_size=8 "
    "train.warmup_steps=2 train.validate_every=4 train.log_every=1 train.steps=12 train.validation_windows=16 "
    "sweep.trials=4 sweep.startup_trials=2 sweep.warmup_validations=0 "
    "sweep.space=train.learning_rate=log(1e-4,1e-1)"
).split()


def start(workdir, environment):
    flags = [f"--config.{setting}" for setting in SMALL]
    arguments = [sys.executable, "-m", "lob_jax.main", "--config=configs/tiny.py", "--mode=sweep", *flags]
    return subprocess.Popen(
        [*arguments, f"--workdir={workdir}"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_a_sweep_killed_in_the_middle_ends_with_the_same_trials(tmp_path, compiled_folder, one_device):
    """kill -9 while a trial trains; the same command goes on from that trial's checkpoint, to equal results."""
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    environment = one_device(compiled_folder)
    process = start(undisturbed, environment)
    shown = process.communicate(timeout=300)[0]
    assert process.returncode == 0, shown
    process = start(killed, environment)
    metrics, deadline = killed / "trials" / "1" / "metrics.jsonl", time.monotonic() + 240
    while not metrics.exists() or '"step": 7,' not in metrics.read_text():
        assert process.poll() is None and time.monotonic() < deadline, "the sweep ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [trial["state"] for trial in contents(killed)["trials"]] == ["complete"]
    process = start(killed, environment)
    shown = process.communicate(timeout=300)[0]
    assert process.returncode == 0, shown
    assert "resuming from step 4" in shown
    assert contents(killed) == contents(undisturbed)
    losses = {number: sweep.recorded_losses(killed / "trials" / str(number)) for number in range(4)}
    assert losses == {number: sweep.recorded_losses(undisturbed / "trials" / str(number)) for number in range(4)}
    assert list(losses[0]) == [4, 8, 12]
    # What a trial leaves is a run like any other: the command that the sweep names tests it.
    (told,) = [line.strip() for line in shown.splitlines() if "--mode=evaluate" in line]
    arguments = [sys.executable, *shlex.split(told)[1:], "--config.evaluate.direction_events=50"]
    done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (killed / "trials" / str(contents(killed)["best"]) / "evaluation.json").exists()
