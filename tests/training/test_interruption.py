"""Runs that are ended from outside, go on, and end as if nothing had been."""

import json
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
from lob_jax.signals import listening
from lob_jax.training.checkpoint import restore_best, steps_in
from lob_jax.training.digests import damage
from lob_jax.training.interruption import Interruption
from lob_jax.training.loop import train

KILLS = int(os.environ.get("LOB_JAX_KILLS", "4"))
CONFTEST = pathlib.Path(__file__).with_name("conftest.py")
PREPARE = """
import dataclasses, json, pathlib, runpy, sys
conftest, folder, cache, steps = sys.argv[1:]
shared = runpy.run_path(conftest)
shared["use_compilation_cache"](cache)
import jax
from lob_jax.training.loop import train
folder, config = pathlib.Path(folder), dataclasses.replace(shared["TRAIN"], validate_every=2, steps=int(steps))
where = {"folder": folder, "devices": jax.devices()[:1], "seed": 0, "settings": {}}
"""
KILLED = (
    PREPARE
    + """
train(shared["MODEL"], config, shared["make_data"](pause_s=0.002), **where)
"""
)
FULL = (
    PREPARE
    + """
from lob_jax.errors import TrainingError
from lob_jax.errors import InputError
from lob_jax.training.checkpoint import steps_in
from lob_jax.training.digests import damage
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
    """Return the lines of metrics.jsonl, without what depends on the machine's speed."""
    parsed = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "speed"} for line in parsed]


def equal(one, other):
    return all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(other)))


def start(folder, cache, steps):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    arguments = [sys.executable, "-c", KILLED, str(CONFTEST), str(folder), str(cache), str(steps)]
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def run(model_config, train_config, training_data, tmp_path):
    """Return a function that trains in a folder; it gives the summary, the folder and the last parameters seen."""

    def go(folder, on_validation=None, devices=1, **changes):
        seen = {}

        def note(step, loss, params):
            seen["params"] = jax.tree.map(np.array, params)
            if on_validation is not None:
                on_validation(step)

        where = {"folder": tmp_path / folder, "devices": jax.devices()[:devices], "seed": 0, "settings": {}}
        summary = train(model_config(), train_config(**changes), training_data(), on_validation=note, **where)
        return summary, tmp_path / folder, seen.get("params")

    return go


def test_sigterm_saves_between_two_steps_and_the_same_call_goes_on(run):
    _, undisturbed, expected = run("undisturbed")

    def terminate(step):
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    summary, folder, _ = run("told", terminate)
    assert summary.interrupted == "it was told to (SIGTERM)"
    assert summary.steps == 5 and steps_in(folder / "checkpoints")[-1] == 5
    assert signal.getsignal(signal.SIGTERM) is before
    assert json.loads((folder / "heartbeat.json").read_text())["doing"] == "interrupted"
    again, _, params = run("told")
    assert (again.interrupted, again.steps) == (None, 12)
    assert lines(folder) == lines(undisturbed)
    assert equal(params, expected)


@pytest.mark.slow
def test_a_run_of_eight_devices_goes_on_on_four_in_another_layout(run):
    _, undisturbed, _ = run("undisturbed")

    def terminate(step):
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    assert run("moved", terminate, devices=8, fsdp=8, micro_batch=1)[0].steps == 5
    summary, folder, _ = run("moved", devices=4, fsdp=2, tensor=2, micro_batch=2)
    assert summary.steps == 12
    for name in ("loss", "validation_loss"):
        one, other = ([line[name] for line in lines(run) if name in line] for run in (folder, undisturbed))
        assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.slow
def test_a_run_ends_with_its_time_and_goes_on(run, model_config):
    summary, folder, _ = run("late", max_hours=1e-9)
    assert summary.interrupted == "its time was over (config.train.max_hours)"
    assert summary.steps == 1
    with pytest.raises(InputError, match="finite validation loss"):  # nothing was validated yet
        restore_best(folder / "checkpoints", model=model_config(), vocabulary_hash="abc")
    assert run("late")[0].steps == 12


def test_the_clock_and_the_signal_are_told_apart():
    with listening() as listener, Interruption(listener, max_hours=None) as interruption:
        assert interruption.reason(may_ask_others=True) is None
        signal.raise_signal(signal.SIGTERM)
        assert "SIGTERM" in interruption.reason(may_ask_others=True)
    with listening() as listener, Interruption(listener, max_hours=1e-12) as interruption:
        assert "max_hours" in interruption.reason(may_ask_others=True)


def kill_somewhere(process, folder, moments):
    """Kill a process some steps after those that it found, at any moment of a step; return what it said first."""
    metrics = folder / "metrics.jsonl"
    said = process.stdout.readline()
    found = len(lines(folder)) if metrics.exists() else 0
    target = found + moments.randint(0, 12)
    while process.poll() is None and (not metrics.exists() or metrics.read_bytes().count(b"\n") < target):
        time.sleep(0.002)
    time.sleep(moments.uniform(0, 0.15))
    process.kill()
    return said


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_as_if_nothing_had_been(tmp_path, compiled_folder, model_config):
    """LOB_JAX_KILLS times kill -9, at moments of chance, saves included."""
    undisturbed, folder, moments = tmp_path / "undisturbed", tmp_path / "killed", random.Random(0)
    steps, newest, resumed_from = 20 + 4 * KILLS, 0, []
    with start(undisturbed, compiled_folder, steps) as whole:
        whole.communicate()
    for _ in range(KILLS):
        with start(folder, compiled_folder, steps) as process:
            said = kill_somewhere(process, folder, moments)
        if newest:
            assert f"going on from step {newest}" in said
            resumed_from.append(newest)
        found = {step: damage(folder / "checkpoints" / str(step)) for step in steps_in(folder / "checkpoints")}
        assert set(found.values()) <= {None}
        newest = max(found, default=0)
    with start(folder, compiled_folder, steps) as last:
        last.communicate()
    assert last.returncode == 0
    print(f"{KILLS} kills; gone on from steps {resumed_from} of {steps}")
    assert len(set(resumed_from)) > KILLS // 4  # they were spread over the run
    assert lines(folder) == lines(undisturbed)
    best = [
        restore_best(run / "checkpoints", model=model_config(), vocabulary_hash="abc") for run in (folder, undisturbed)
    ]
    assert equal(best[0][0], best[1][0]) and best[0][1].step == best[1][1].step
    assert steps_in(folder / "checkpoints") == steps_in(undisturbed / "checkpoints")


@pytest.mark.slow
def test_a_full_disk_is_told_and_leaves_earlier_checkpoints(tmp_path, compiled_folder):
    """On a file system of 4 MB, mounted for this test alone."""
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
    assert "start the same command again" in result["told"]
    assert result["left"] == {"2": None, "4": None, "6": None}
    assert result["steps"] == 40
