"""Two processes on one machine train the same model as a single process."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

CONFTEST = pathlib.Path(__file__).parents[1] / "conftest.py"
SCRIPT = """
import dataclasses, json, pathlib, runpy, sys
conftest, folder, cache, layout, steps, port, processes, process = sys.argv[1:]
shared = runpy.run_path(conftest)
shared["use_compilation_cache"](cache)
import jax
if int(processes) > 1:
    jax.distributed.initialize(f"localhost:{port}", int(processes), int(process))
from lob_jax.training.run.loop import train
assert len(jax.devices()) == 4
source = shared["SlowSource"](shared["make_windows"](40), 0.0)
config, read = dataclasses.replace(shared["TRAIN"], micro_batch=None, **json.loads(layout)), []
for end in json.loads(steps):
    data = shared["make_data"](source=source, processes=int(processes), process=int(process))
    until = dataclasses.replace(config, steps=end)
    summary = train(shared["MODEL"], until, data, seed=0, settings={}, folder=pathlib.Path(folder))
    read.append(source.read[:])
print(json.dumps({"read": read, "steps": summary.steps, "loss": summary.best_validation_loss}))
"""


def train_in(processes, folder, cache, layout, steps=(5, 12)):
    """Train in some processes with 4 devices in total, up to each number of steps; return the last output of each."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    devices = f"--xla_force_host_platform_device_count={4 // processes} --xla_backend_optimization_level=0"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "XLA_FLAGS": devices}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(CONFTEST), str(folder), str(cache), json.dumps(layout)]
            + [json.dumps(steps), str(port), str(processes), str(process)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(processes)
    ]
    results = []
    for process in started:
        printed, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        results.append(json.loads(printed.splitlines()[-1]))
    return results


def losses(folder):
    parsed = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line.get("loss", line.get("validation_loss")) for line in parsed]


@pytest.mark.slow
@pytest.mark.parametrize("layout", [{}, {"fsdp": 4}], ids=["data", "fsdp"])
def test_two_processes_train_what_one_does(tmp_path, compiled_folder, layout):
    """A run of one epoch, then resumed: equal losses, and each window is read once, by one process."""
    (alone,) = train_in(1, tmp_path / "one", compiled_folder, layout)
    first, second = train_in(2, tmp_path / "two", compiled_folder, layout)
    assert sorted(first["read"][0] + second["read"][0]) == sorted(alone["read"][0]) == list(range(40))
    assert len(first["read"][0]) == len(second["read"][0]) == 20
    assert first["steps"] == second["steps"] == alone["steps"] == 12
    assert first["loss"] == second["loss"] == pytest.approx(alone["loss"], rel=1e-5)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert losses(tmp_path / "two" / "processes" / "1") == losses(tmp_path / "two")
    assert np.isfinite(alone["loss"]) and jax.process_count() == 1


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_another_number_of_processes_goes_on_with_the_very_next_windows(tmp_path, compiled_folder, before, after):
    """Resumed within an epoch: after three of five steps."""
    (alone,) = train_in(1, tmp_path / "one", compiled_folder, {}, [3, 12])
    train_in(before, tmp_path / "other", compiled_folder, {}, [3])
    rest = train_in(after, tmp_path / "other", compiled_folder, {}, [12])
    assert sorted(sum((process["read"][0] for process in rest), [])) == sorted(alone["read"][1][24:])
    assert rest[0]["loss"] == pytest.approx(alone["loss"], rel=1e-5)
    assert losses(tmp_path / "other") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
