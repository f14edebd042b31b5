"""Runs that are interrupted and resumed end with the same results as undisturbed runs."""

import json
import multiprocessing
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.lock import locked
from lob_jax.signals import EXIT_RESUMABLE, listening
from lob_jax.training.run import loop
from lob_jax.training.run.checkpoint import restore_best, steps_in
from lob_jax.training.run.digests import damage
from lob_jax.training.run.interruption import Interruption, saved_line, status_of
from lob_jax.training.run.loop import LOCK, train
from lob_jax.training.run.setup import StepClock

KILLS = int(os.environ.get("LOB_JAX_KILLS", "4"))
CONFTEST = pathlib.Path(__file__).parents[1] / "conftest.py"
PREPARE = """
from lob_jax.signals import listen
listen()
import dataclasses, json, pathlib, runpy, sys
conftest, folder, cache, steps = sys.argv[1:]
shared = runpy.run_path(conftest)
shared["use_compilation_cache"](cache)
import jax
from lob_jax.training.run.loop import train
folder, config = pathlib.Path(folder), dataclasses.replace(
    shared["TRAIN"], validate_every=2, patience=10**6, steps=int(steps)
)
where = {"folder": folder, "devices": jax.devices()[:1], "seed": 0, "settings": {}}
"""
KILLED = (
    PREPARE
    + """
from lob_jax.signals import EndsInOrder
from lob_jax.training.run.interruption import status_of
with EndsInOrder():
    interrupted = train(shared["MODEL"], config, shared["make_data"](pause_s=0.002), **where).interrupted
sys.exit(0 if interrupted is None else status_of(interrupted))
"""
)
# Between PREPARE and the rest: from some step or validation on, the devices hang; the grace period is short.
STUCK = """
import time
from lob_jax.training.run import interruption
from lob_jax.training.run import loop
interruption.GRACE_S, loop.SLOW = 0.5, 0.0
def wait(value):
    print("stuck", flush=True)
    time.sleep(1000)
    return value
@jax.jit
def stuck(value):
    return jax.pure_callback(wait, jax.ShapeDtypeStruct((), value.dtype), value)
"""
STUCK_STEP = """
compiled, taken = loop.compiled, []
def compiled_and_stuck(run):
    run = compiled(run)
    def step(state, batch):
        state, metrics = run.train_step(state, batch)
        taken.append(None)
        return state, {{**metrics, "loss": stuck(metrics["loss"])}} if len(taken) == {step} else metrics
    return dataclasses.replace(run, train_step=step)
loop.compiled = compiled_and_stuck
"""
STUCK_VALIDATION = """
loop.validate = lambda run, params: float(stuck(jax.numpy.float32(0)))
"""
FULL = (
    PREPARE
    + """
from lob_jax.errors import TrainingError
from lob_jax.errors import InputError
from lob_jax.training.run.checkpoint import steps_in
from lob_jax.training.run.digests import damage
def fill(step, loss, params):
    if step == 6:  # its save is on its way: wait for it, then leave no room
        while 6 not in steps_in(folder / "checkpoints"): pass
        with (folder / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(bytes(1024)): pass
            except OSError: pass
try:
    train(shared["MODEL"], config, shared["make_data"](), on_validation=fill, **where)
except TrainingError as error:
    told = str(error)
(folder / "filler").unlink()
left = {step: damage(folder / "checkpoints" / str(step)) for step in steps_in(folder / "checkpoints")}
summary = train(shared["MODEL"], config, shared["make_data"](), **where)
print(json.dumps({"told": told, "left": left, "steps": summary.steps}))
"""
)


def lines(folder):
    """Return the lines of metrics.jsonl, without the figures that depend on the machine's speed."""
    parsed = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "speed"} for line in parsed]


def equal(one, other):
    return all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(other)))


def start(folder, cache, steps, code=KILLED):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    arguments = [sys.executable, "-c", code, str(CONFTEST), str(folder), str(cache), str(steps)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(arguments, env=environment, **pipes)


@pytest.fixture(scope="module")
def run_in(model_config, train_config, training_data):
    """Return a function that trains in a folder and returns the summary, the folder and the last parameters seen."""

    def go(folder, on_validation=None, devices=1, **changes):
        seen = {}

        def note(step, loss, params):
            seen["params"] = jax.tree.map(np.array, params)
            if on_validation is not None:
                on_validation(step)

        where = {"folder": folder, "devices": jax.devices()[:devices], "seed": 0, "settings": {}}
        summary = train(model_config(), train_config(**changes), training_data(), on_validation=note, **where)
        return summary, folder, seen.get("params")

    return go


@pytest.fixture
def run(run_in, tmp_path):
    """Return the same function for the folders of this test, by name."""

    def go(folder, *arguments, **changes):
        return run_in(tmp_path / folder, *arguments, **changes)

    go.folder = tmp_path.joinpath
    return go


@pytest.fixture(scope="module")
def undisturbed(run_in, tmp_path_factory):
    """Return the summary, the folder and the last parameters of an uninterrupted run."""
    return run_in(tmp_path_factory.mktemp("undisturbed") / "run")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "reason", "status"),
    [
        (signal.SIGINT, "it received Ctrl-C", 130),
        pytest.param(signal.SIGTERM, "it received SIGTERM", 75, marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_between_two_steps_and_the_same_call_goes_on(run, undisturbed, capfd, number, reason, status):
    def tell(step):
        if step == 4:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    summary, folder, _ = run("told", tell)
    assert (summary.interrupted, status_of(reason)) == (reason, status)
    assert "saving within 30 s, then exiting; repeat it to exit at once\n" in capfd.readouterr().err
    assert summary.steps == 5 and steps_in(folder / "checkpoints")[-1] == 5
    assert signal.getsignal(number) is before
    assert json.loads((folder / "heartbeat.json").read_text())["doing"] == "interrupted"
    again, _, params = run("told")
    assert (again.interrupted, again.steps) == (None, 12)
    assert lines(folder) == lines(undisturbed[1])
    assert equal(params, undisturbed[2])


@pytest.mark.slow
def test_a_run_of_eight_devices_goes_on_on_four_in_another_layout(run, undisturbed):
    def terminate(step):
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    assert run("moved", terminate, devices=8, fsdp=8, micro_batch=1)[0].steps == 5
    summary, folder, _ = run("moved", devices=4, fsdp=2, tensor=2, micro_batch=2)
    assert summary.steps == 12
    for name in ("loss", "validation_loss"):
        one, other = ([line[name] for line in lines(run) if name in line] for run in (folder, undisturbed[1]))
        assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.slow
def test_a_run_ends_with_its_time_and_goes_on(run, model_config):
    summary, folder, _ = run("late", max_hours=1e-9)
    assert summary.interrupted == "its time limit was reached (config.train.max_hours)"
    assert summary.steps == 1
    with pytest.raises(InputError, match="finite validation loss"):  # no validation has been done yet
        restore_best(folder / "checkpoints", model=model_config(), vocabulary_hash="abc")
    assert run("late")[0].steps == 12


class KilledError(BaseException):
    """Simulates a kill."""


@pytest.fixture
def kept(monkeypatch):
    """Return the state that the run keeps, to be saved if its devices are busy for too long."""
    seen, keep = [], Interruption.keep

    def note(self, kept):
        seen.append(kept)
        keep(self, kept)

    monkeypatch.setattr(Interruption, "keep", note)
    return seen


@pytest.mark.slow
def test_a_save_need_not_wait_for_a_step(run, undisturbed, kept, monkeypatch):
    """The state before a slow step is kept and can be resumed bit for bit, although the step has donated it."""
    with monkeypatch.context() as patched:
        patched.setattr(loop, "SLOW", 0.0)
        patched.setattr(StepClock, "count", count_and_save(kept, StepClock.count, step=6))
        with pytest.raises(KilledError):
            run("busy")
    assert kept[-1].step == 5
    goes_on_as(undisturbed, run, "busy", step=5)


def goes_on_as(undisturbed, run, name, *, step):
    """Resume a run saved at a step, and compare it with an uninterrupted run."""
    summary, whole, expected = undisturbed
    assert steps_in(run.folder(name) / "checkpoints")[-1] == step
    again, folder, params = run(name)
    assert again == summary and equal(params, expected)
    assert lines(folder) == lines(whole)
    assert steps_in(folder / "checkpoints") == steps_in(whole / "checkpoints")


def count_and_save(kept, count, *, step):
    """Return a replacement of `count` that saves the kept state in step number `step`, and then is killed."""
    counted = []

    def note(clock):
        counted.append(count(clock))
        if len(counted) == step:
            kept[-1].save()
            raise KilledError

    return note


@pytest.mark.slow
@pytest.mark.parametrize("at", [pytest.param(4, id="in the middle"), pytest.param(12, id="the last")])
def test_a_save_need_not_wait_for_a_validation_which_comes_first_then(run, undisturbed, kept, monkeypatch, at):
    validations = iter(range(4, 13, 4))

    def interrupted(run, params):
        if next(validations) == at:
            kept[-1].save()
            raise KilledError
        return validate(run, params)

    validate = loop.validate
    with monkeypatch.context() as patched:
        patched.setattr(loop, "validate", interrupted)
        with pytest.raises(KilledError):
            run("busy")
    assert kept[-1].step == at
    goes_on_as(undisturbed, run, "busy", step=at)


@pytest.mark.slow
def test_a_signal_during_the_last_step_ends_the_call_which_is_over_then(run):
    def tell(step):
        if step == 12:
            os.kill(os.getpid(), signal.SIGTERM)

    summary, _, _ = run("told", tell)
    assert (summary.steps, summary.interrupted) == (12, "it received SIGTERM")
    assert run("told")[0].interrupted is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stuck", "saved"),
    [(STUCK_STEP.format(step=6), 5), (STUCK_STEP.format(step=7), 6), (STUCK_VALIDATION, 2)],
    ids=["in a step", "in the step after a checkpoint", "in a validation"],
)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_devices_that_do_not_answer_hold_no_save_up(tmp_path, compiled_folder, stuck, saved, number, status):
    busy, undisturbed = tmp_path / "busy", tmp_path / "undisturbed"
    with start(undisturbed, compiled_folder, 10) as whole:
        whole.communicate()
    with start(busy, compiled_folder, 10, KILLED.replace(PREPARE, PREPARE + STUCK + stuck)) as process:
        while process.stdout.readline() not in ("stuck\n", ""):
            pass
        process.send_signal(number)
        _, said = process.communicate(timeout=120)
    assert process.returncode == status, said
    acknowledged, ended = said.splitlines()
    assert "repeat it to exit at once" in acknowledged
    assert ended.startswith(saved_line(saved, "it received")[: len("saved at step 5")])
    assert "the same command resumes from there: " in ended
    assert steps_in(busy / "checkpoints")[-1] == saved and damage(busy / "checkpoints" / str(saved)) is None
    with start(busy, compiled_folder, 10) as process:
        process.communicate()
    assert process.returncode == 0
    assert lines(busy) == lines(undisturbed)
    assert steps_in(busy / "checkpoints") == steps_in(undisturbed / "checkpoints")


def hold(path, held, end):
    with locked(path, doing="training"):
        held.set()
        end.wait()


@pytest.mark.slow
def test_a_second_run_in_the_folder_is_refused_and_a_killed_one_is_not_in_the_way(run, tmp_path):
    context = multiprocessing.get_context("spawn")
    held, end = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(tmp_path / "run" / LOCK, held, end))
    holder.start()
    held.wait()
    with pytest.raises(InputError) as refused:
        run("run")
    assert refused.value.what == "another process is at work in this folder"
    assert f"process {holder.pid} on " in refused.value.was and ", training since 20" in refused.value.was
    assert f"kill -TERM {holder.pid}" in refused.value.remedy
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]
    holder.kill()
    holder.join()
    assert run("run")[0].steps == 12
    assert not (tmp_path / "run" / LOCK).exists()


def test_the_time_of_a_run_is_that_of_its_command():
    with listening() as listener:
        listener.started -= 3600
        with Interruption(listener, max_hours=1.5) as interruption:
            assert interruption.reason(may_ask_others=True) is None
        with Interruption(listener, max_hours=0.9) as interruption:
            assert "max_hours" in interruption.reason(may_ask_others=True)


def test_the_clock_and_the_signal_are_told_apart():
    with listening() as listener, Interruption(listener, max_hours=None) as interruption:
        assert interruption.reason(may_ask_others=True) is None
        signal.raise_signal(signal.SIGTERM)
        assert "SIGTERM" in interruption.reason(may_ask_others=True)
    with listening() as listener, Interruption(listener, max_hours=1e-12) as interruption:
        assert "max_hours" in interruption.reason(may_ask_others=True)


ENDS = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: EXIT_RESUMABLE, signal.SIGINT: 130}


def kill_somewhere(process, folder, moments):
    """Kill or signal a process at a random time in one of its first new steps; return its first output."""
    metrics = folder / "metrics.jsonl"
    said = process.stdout.readline()
    found = len(lines(folder)) if metrics.exists() else 0
    target = found + moments.randint(0, 12)
    while process.poll() is None and (not metrics.exists() or metrics.read_bytes().count(b"\n") < target):
        time.sleep(0.002)
    time.sleep(moments.uniform(0, 0.15))
    number = moments.choice(list(ENDS))
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode in (ENDS[number], 0), errors  # it may have ended before that
    assert "Traceback" not in errors
    return said


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_as_if_nothing_had_been(tmp_path, compiled_folder, model_config):
    """LOB_JAX_KILLS times SIGKILL, SIGTERM or SIGINT, at random times, including during saves."""
    undisturbed, folder, moments = tmp_path / "undisturbed", tmp_path / "killed", random.Random(0)
    steps, newest, resumed_from = 20 + 10 * KILLS, 0, []  # more than this number of kills can consume
    with start(undisturbed, compiled_folder, steps) as whole:
        whole.communicate()
    for _ in range(KILLS):
        with start(folder, compiled_folder, steps) as process:
            said = kill_somewhere(process, folder, moments)
        if newest:
            assert f"resuming from step {newest}" in said
            resumed_from.append(newest)
        found = {step: damage(folder / "checkpoints" / str(step)) for step in steps_in(folder / "checkpoints")}
        assert set(found.values()) <= {None}
        newest = max(found, default=0)
    with start(folder, compiled_folder, steps) as last:
        last.communicate()
    assert last.returncode == 0
    print(f"{KILLS} kills; resumed from steps {resumed_from} of {steps}")
    assert len(set(resumed_from)) > KILLS // 4  # they were distributed over the run
    assert lines(folder) == lines(undisturbed)
    best = [
        restore_best(run / "checkpoints", model=model_config(), vocabulary_hash="abc") for run in (folder, undisturbed)
    ]
    assert equal(best[0][0], best[1][0]) and best[0][1].step == best[1][1].step
    assert steps_in(folder / "checkpoints") == steps_in(undisturbed / "checkpoints")


@pytest.mark.slow
def test_a_full_disk_is_told_and_leaves_earlier_checkpoints(tmp_path, compiled_folder):
    """On a file system of 4 MB that is mounted for this test only."""
    own = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*own, "true"], capture_output=True).returncode:
        pytest.skip("needs unshare, to mount a small file system")
    mount = f'mount -t tmpfs -o size=4m tmpfs {tmp_path} && exec "$@"'
    command = [*own, "bash", "-c", mount, "bash", sys.executable, "-c", FULL, str(CONFTEST), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([*command, str(compiled_folder), "40"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert "No space left on device" in result["told"]
    assert "the same command again" in result["told"]
    assert result["left"] == {"2": None, "4": None, "6": None}
    assert result["steps"] == 40
