import dataclasses
import io
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import rich.console

from lob_jax.errors import InputError, TrainingError
from lob_jax.training.run import loop
from lob_jax.training.run.checkpoint import read_metas, restore_best, steps_in
from lob_jax.training.run.data import read_step
from lob_jax.training.run.loop import TrainingSummary, train

# The run that is killed: the same as in the test, from the same conftest.py, with windows that are slow to read.
SCRIPT = """
import pathlib, runpy, sys
conftest, folder, cache = sys.argv[1:]
shared = runpy.run_path(conftest)
shared["use_compilation_cache"](cache)
import jax
from lob_jax.training.run.loop import train
where = {"folder": pathlib.Path(folder), "devices": jax.devices()[:1]}
train(shared["MODEL"], shared["TRAIN"], shared["make_data"](pause_s=0.03), seed=0, settings={}, **where)
"""


NORMS = ("parameter_norm", "update_norm")


def lines(folder):
    """Return the lines of metrics.jsonl, without the figures that depend on the machine's speed."""
    parsed = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "speed"} for line in parsed]


@pytest.fixture
def run(model_config, train_config, training_data, tmp_path):
    """Return a function that trains and returns the summary, the folder, the console output and the params seen."""

    def start(folder="run", data=None, seed=0, model=None, devices=1, **changes):
        shown, seen = io.StringIO(), {}
        summary = train(
            model or model_config(),
            train_config(**changes),
            data or training_data(),
            seed=seed,
            folder=tmp_path / folder,
            settings={"seed": seed},
            devices=jax.devices()[:devices],
            on_validation=lambda step, loss, params: seen.update({step: (loss, jax.tree.map(np.array, params))}),
            console=rich.console.Console(file=shown, width=200),
        )
        return summary, tmp_path / folder, shown.getvalue(), seen

    return start


def equal(one, other):
    return all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(other)))


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_been(run, tmp_path, compiled_folder):
    summary, undisturbed, shown, seen = run("undisturbed")
    folder = tmp_path / "killed"
    conftest = pathlib.Path(__file__).parents[1] / "conftest.py"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SCRIPT, str(conftest), str(folder), str(compiled_folder)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    metrics = folder / "metrics.jsonl"
    while not metrics.exists() or '"step": 6,' not in metrics.read_text():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert lines(folder)[-1]["step"] < 12  # killed midway, after the checkpoint of step 4

    resumed, _, shown_then, seen_then = run("killed")
    assert "resuming from step 4\n" in shown_then
    assert "resuming" not in shown
    assert (undisturbed / "metrics.jsonl").stat().st_size > 0
    assert lines(folder) == lines(undisturbed)
    assert resumed == summary
    assert list(seen_then) == [8, 12]
    assert equal(seen[12], seen_then[12])


@pytest.mark.slow
def test_a_run_says_what_it_will_need_and_writes_what_it_did(run, model_config):
    summary, folder, shown, seen = run(log_every=3)
    compiling, first = shown.splitlines()[:2]
    assert compiling.startswith("compiling the training step")
    assert first.startswith("12 steps of 1 micro-steps x 8 windows on 1 device(s)")
    assert "expected time" in first
    written = lines(folder)
    assert [line["step"] for line in written] == [3, 4, 6, 8, 9, 12, 12]
    training = [line for line in written if "loss" in line]
    assert set(training[0]) == {
        "step",
        "loss",
        "perplexity",
        "learning_rate",
        "gradient_norm",
        "scored",
        "skipped",
        "skipped_in_row",
        *(f"{norm}/{group}" for norm in NORMS for group in ("embeddings", "blocks_0", "norm", "head")),
    }
    assert all(training[0][f"{norm}/head"] > 0 for norm in NORMS)
    beat = json.loads((folder / "heartbeat.json").read_text())
    assert (beat["step"], beat["of"], beat["doing"], beat["pid"]) == (12, 12, "ended", os.getpid())
    speed = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])["speed"]
    assert set(speed) == {"step_s", "tokens_per_s", "mfu"}
    assert speed["tokens_per_s"] == pytest.approx(8 * 12 / speed["step_s"])
    losses = {line["step"]: line["validation_loss"] for line in written if "validation_loss" in line}
    assert losses[12] < losses[4] < np.log(40)
    best = min(losses, key=losses.get)
    assert summary == TrainingSummary(12, best, losses[best], stopped_early=False)
    params, about = restore_best(folder / "checkpoints", model=model_config(), vocabulary_hash="abc")
    assert {step: loss for step, (loss, _) in seen.items()} == losses
    assert equal(params, seen[best][1])
    assert about.settings == {"seed": 0}
    # The same command again has nothing left to do, writes nothing, and says why.
    before = (folder / "metrics.jsonl").read_bytes()
    again, _, told, _ = run(log_every=3)
    assert again == summary
    assert told == (
        "this run has already ended, at step 12: it was to take 12 steps;"
        " to train further, pass a higher --config.train.steps\n"
    )
    assert (folder / "metrics.jsonl").read_bytes() == before


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory, model_config, train_config, training_data):
    """Return the folder of a run stopped early at step 4 of 12, with checkpoints of steps 2 and 4."""
    folder, how = tmp_path_factory.mktemp("stopped"), {"seed": 0, "settings": {}, "devices": jax.devices()[:1]}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "validate", lambda run, params: 3.0)
        config = train_config(validate_every=2, patience=1)
        summary = train(model_config(), config, training_data(), folder=folder, **how)
    assert summary == TrainingSummary(4, 2, 3.0, stopped_early=True)
    return folder


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """Return a copy of that folder, as the folder of this test's run."""
    return pathlib.Path(shutil.copytree(stopped_once, tmp_path / "run"))


@pytest.mark.slow
def test_a_stopped_run_stays_stopped_until_it_is_given_more_patience(run, stopped, monkeypatch):
    summary, _, told, _ = run(validate_every=2, patience=1)
    assert summary == TrainingSummary(4, 2, 3.0, stopped_early=True)
    assert told.startswith(
        "this run has already ended, at step 4: none of the last 1 validations was better than that of step 2"
    )
    losses = iter([float("nan"), 1.0, 4.0])
    monkeypatch.setattr(loop, "validate", lambda run, params: next(losses))
    assert run(validate_every=3, patience=4)[0] == TrainingSummary(12, 9, 1.0, stopped_early=False)
    assert [line["step"] for line in lines(stopped) if "loss" in line] == list(range(1, 13))


@pytest.mark.slow
def test_a_run_goes_on_over_more_devices(run, stopped):
    summary, _, shown, _ = run(devices=2, micro_batch=4)
    changed = "devices 1 x cpu is now 2 x cpu, micro-batches of 8 windows now have 4"
    assert f"resuming from step 4; equal up to rounding only, since {changed}\n" in shown
    assert summary.steps == 12
    assert lines(stopped)[-1]["validation_loss"] < np.log(40)


@pytest.mark.slow
def test_the_checkpoints_of_another_run_are_left_alone(run, stopped, model_config, training_data):
    before = (stopped / "metrics.jsonl").read_bytes()
    with pytest.raises(InputError, match="seed = 1"):
        run(seed=1)
    with pytest.raises(InputError, match=r"model.norm = 'post'"):
        run(model=model_config(norm="post"))
    with pytest.raises(InputError, match="vocabulary_hash = 'xyz'"):
        run(data=dataclasses.replace(training_data(), vocabulary_hash="xyz"))
    with pytest.raises(InputError, match="was:      train.batch_size x train.accumulation = 16\n") as caught:
        run(accumulation=2)
    assert "--config.train.batch_size=8 --config.train.accumulation=1" in caught.value.remedy
    with pytest.raises(InputError, match="was:      an average of the parameters"):
        run(ema_decay=0.9)
    with pytest.raises(InputError, match="was:      a loss scale"):
        run(model=model_config(dtype="float16"))
    assert (stopped / "metrics.jsonl").read_bytes() == before


@pytest.mark.slow
def test_a_step_cut_otherwise_goes_on_with_the_very_next_windows(run, training_data, slow_source, windows):
    """Two batches of 8 become one of 16; an epoch of 40 windows is divisible by 8, but not by 16."""
    source, how = slow_source(windows(40), 0.0), {"steps": 4, "validate_every": 4}
    data = training_data(source=source)
    for _ in itertools.islice(data.batches(data.start), 8):
        pass
    expected, source.read = source.read, []
    run(data=data, accumulation=2, max_hours=1e-9, **how)  # the time limit ends it after one step
    summary, folder, shown, _ = run(data=training_data(source=source, batch_size=16), batch_size=16, **how)
    assert source.read == expected and len(expected) == 64
    changed = "train.batch_size 8 is now 16, train.accumulation 2 is now 1"
    assert f"resuming from step 1; equal up to rounding only, since {changed}\n" in shown
    about = read_metas(folder / "checkpoints")[4]
    assert about.position == {"windows_read": 64, "windows_a_pass": 40}
    assert about.history == [{"step": 1, "changed": {"train.batch_size": [8, 16], "train.accumulation": [2, 1]}}]
    assert summary.steps == 4


@pytest.mark.slow
def test_another_rate_is_said_and_kept_with_its_step(run, stopped):
    _, folder, shown, _ = run(learning_rate=1e-3, keep_best=1)
    changed = "train.learning_rate 0.01 -> 0.001, train.validate_every 2 -> 4, train.patience 1 -> 10"
    assert f"resuming from step 4\nfrom step 4: {changed}\n" in shown
    (entry,) = read_metas(folder / "checkpoints")[12].history
    assert entry["step"] == 4 and entry["changed"]["train.learning_rate"] == [0.01, 0.001]


@pytest.mark.slow
def test_another_validation_set_begins_the_choice_of_the_best_anew(run, stopped, training_data, windows, monkeypatch):
    """The earlier checkpoints have a loss of 3.0, and no patience is left."""
    other = dataclasses.replace(training_data(), validation=[windows(8, seed=7)])
    monkeypatch.setattr(loop, "validate", lambda run, params: 3.5)
    summary, folder, shown, _ = run(data=other, patience=1, keep_best=1)
    assert "from step 4: validation is measured on something else" in shown
    assert summary == TrainingSummary(12, 8, 3.5, stopped_early=True)
    metas = read_metas(folder / "checkpoints")
    assert {step: meta.validation_loss for step, meta in metas.items()} == {8: 3.5, 12: 3.5}


@pytest.mark.slow
def test_a_run_that_diverged_goes_on_from_before_with_a_lower_rate(run, stopped):
    """The parameters become infinite immediately, and every loss is NaN; three such checkpoints are saved."""
    with pytest.raises(TrainingError) as caught:
        run(learning_rate=1e38, validate_every=2, max_skipped=6)
    assert caught.value.step == 11 and "it resumes from step 4;" in caught.value.remedy
    assert steps_in(stopped / "diverged") == [10]  # those of steps 6 and 8 were not among the best
    summary, folder, shown, _ = run()
    assert "resuming from step 4\n" in shown
    assert summary.steps == 12 and steps_in(folder / "checkpoints")[-1] == 12
    written = lines(folder)
    assert [line["step"] for line in written if "loss" in line] == list(range(1, 13))
    assert written[-1]["validation_loss"] < np.log(40)


@pytest.mark.slow
def test_a_state_whose_validation_failed_is_passed_over(run, monkeypatch):
    losses = iter([3.0, float("nan")])
    with monkeypatch.context() as patched:
        patched.setattr(loop, "validate", lambda run, params: next(losses))
        _, _, shown, _ = run(validate_every=2, patience=1)
    assert "no run will resume from step 4, since its validation loss is nan\n" in shown
    summary, folder, shown, _ = run()
    assert "the checkpoint of step 4 is skipped, since its validation loss is nan; it was moved to" in shown
    assert "resuming from step 2\n" in shown
    assert summary.steps == 12 and steps_in(folder / "diverged") == [4]
    assert [line["step"] for line in lines(folder) if "loss" in line] == list(range(1, 13))


@pytest.mark.slow
def test_a_state_that_no_step_can_be_taken_from_is_set_aside_though_it_is_finite(run, stopped, training_data, windows):
    """It was sound when it was saved; the run that cannot continue from it reports where the next one resumes."""
    bad = windows(40)
    bad["book"][:] = np.nan
    for remedy, left in (("resumes from step 2;", [2]), ("starts from scratch;", [])):
        with pytest.raises(TrainingError, match=remedy):
            run(data=training_data(bad), max_skipped=2)
        assert steps_in(stopped / "checkpoints") == left
    assert steps_in(stopped / "diverged") == [2, 4]


@pytest.mark.slow
def test_ten_skipped_steps_in_a_row_end_the_run(run, training_data, windows):
    bad = windows(40)
    bad["book"][:] = np.nan
    with pytest.raises(TrainingError) as caught:
        run(data=training_data(bad), validate_every=12)
    assert caught.value.step == 10
    assert "config.train.learning_rate" in caught.value.remedy


@pytest.mark.slow
def test_a_skipped_step_is_shown(run, training_data, windows):
    partly_bad = windows(40)
    partly_bad["book"][:1] = np.nan
    summary, _, shown, _ = run(data=training_data(partly_bad))
    told = [line for line in shown.splitlines() if "was skipped, since its loss or gradient was not finite: 1 " in line]
    assert summary.steps == 12 and len(told) == 1
    assert "skipped 2" in shown  # once per epoch


@pytest.mark.slow
def test_data_that_ends_or_does_not_add_up_is_said_so(run, training_data):
    with pytest.raises(TrainingError, match="the training data ended") as caught:
        run(data=training_data(epochs=1))
    assert caught.value.step == 6
    data = training_data()
    with pytest.raises(TrainingError, match="do not add up to 12 windows"):
        read_step(iter(data.batches(data.start)), 12, step=1)
    read = read_step(iter(data.batches(data.start)), 16, step=1)
    assert [len(batch["tokens"]) for batch in read] == [8, 8]


def test_nothing_to_validate_on_is_refused_before_the_first_step(run, training_data, windows):
    blank = windows(8)
    blank["scored"][:] = False
    with pytest.raises(InputError, match="nothing to validate on"):
        run(data=dataclasses.replace(training_data(), validation=[blank]))


def test_a_run_that_ended_still_tells_of_a_damaged_checkpoint(run, stopped):
    (stopped / "checkpoints" / "2" / "digests.json").write_text("{}")
    told = run(validate_every=2, patience=1)[2].splitlines()
    assert "the checkpoint of step 2 is damaged" in told[0]
    assert told[1].startswith("this run has already ended, at step 4")
