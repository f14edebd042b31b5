"""A bundle continues a day without JAX: the same events as the run that it was exported from."""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import lob_jax
from lob_jax.errors import InputError
from lob_jax.export.generate import open_decoder, recommended
from lob_jax.generation.settings import SamplingConfig, Truncation
from lob_jax.runs.exported import continue_day, prompt_for, sampling_of
from lob_jax.runs.generation import check_day, configured_sampling, generate
from lob_jax.runs.load import open_run
from tests.runs.conftest import SMALL

ROOT = pathlib.Path(__file__).resolve().parents[2]
WITHOUT_JAX = """
import importlib.abc, json, sys

class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jax", "jaxlib", "flax", "optax", "tensorflow", "torch"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Block())
from lob_jax.export.bundle import open_bundle
from lob_jax.export.generate import open_decoder
from lob_jax.feeds.load import load_incremental_data
from lob_jax.runs.exported import continue_day

bundle = open_bundle(sys.argv[1])
day = load_incremental_data(events=400, seed=5)
paths = continue_day(bundle, day, decoder=open_decoder(bundle, precision="float32"))
print(json.dumps([path.events.price.tolist() for path in paths]))
"""


@pytest.fixture(scope="module")
def bundle(exported):
    return exported.bundle


@pytest.fixture(scope="module")
def by_jax(run, day):
    return generate(run, day)


def equal(one, other):
    return all(
        np.array_equal(getattr(one.events, field.name), getattr(other.events, field.name))
        for field in dataclasses.fields(one.events)
    )


def test_a_bundle_gives_the_events_of_its_run(run, bundle, day, by_jax):
    assert sampling_of(bundle) == configured_sampling(run.config, day.instrument)
    paths = continue_day(bundle, day, decoder=open_decoder(bundle, precision="float32"))
    assert len(paths) == len(by_jax) == SMALL["generate.paths"]
    assert all(equal(one, other) for one, other in zip(paths, by_jax, strict=True))


def test_a_process_without_jax_gives_the_same(bundle, by_jax):
    done = subprocess.run([sys.executable, "-c", WITHOUT_JAX, bundle.folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [path.events.price.tolist() for path in by_jax]


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_every_event_of_a_bundle_is_valid(bundle, day, precision):
    sampling = SamplingConfig(paths=4, events=60, seed=3, temperature=1.3, truncation=Truncation(top_k=500))
    prompt = prompt_for(bundle, day, events=30)
    paths = continue_day(
        bundle, day, prompt_events=30, sampling=sampling, decoder=open_decoder(bundle, precision=precision)
    )
    assert [len(path.events) for path in paths] == [60] * 4
    assert not any(check_day(path, closed=prompt.closed).faults for path in paths)


def test_the_onnx_backend_of_a_run_gives_the_events_of_jax(run, trained, day, by_jax):
    config = run.config.copy_and_resolve_references()
    with config.unlocked():
        config.generate.backend = "onnx"
    by_onnx = generate(open_run(config, trained.workdir), day)
    assert all(equal(one, other) for one, other in zip(by_onnx, by_jax, strict=True))


@pytest.mark.slow
def test_integer_weights_are_drawn_from_in_onnx_runtime(run, trained, day):
    config = run.config.copy_and_resolve_references()
    with config.unlocked():
        config.generate.precision, config.generate.events = "int8", 60
    paths = generate(open_run(config, trained.workdir), day)
    assert not any(check_day(path, closed=paths.prompt.closed).faults for path in paths)
    with config.unlocked():
        config.generate.precision = "float32"
    plain = generate(open_run(config, trained.workdir), day)
    assert not all(equal(one, other) for one, other in zip(paths, plain, strict=True))


def test_a_precision_that_a_bundle_lacks_is_refused(bundle):
    with pytest.raises(InputError, match="no such graph") as refused:
        open_decoder(bundle, precision="int8_blocks")
    assert "step_int8" in refused.value.expected
    assert recommended({}) == "float32" and recommended(bundle.card) in ("float32", "int8", "int4")


def test_a_day_of_another_instrument_is_refused(bundle, day):
    other = dataclasses.replace(day, instrument=dataclasses.replace(day.instrument, symbol="OTHER"))
    with pytest.raises(InputError, match="another instrument"):
        prompt_for(bundle, other)


def test_the_code_of_the_documentation_runs(bundle, capsys):
    page = (ROOT / "docs" / "export.md").read_text().partition("## In a browser")[0]
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    code = "\n".join(blocks).replace("runs/tiny/bundle", str(bundle.folder))
    exec(compile(code, "docs/export.md", "exec"), {})
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(bundle.fingerprint) and told[1] == str([SMALL["generate.events"]] * 3)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"generate.backend": "torch"}, "config.generate.backend"),
        ({"generate.precision": "int2"}, "config.generate.precision"),
        ({"generate.backend": "jax", "generate.precision": "int8"}, "config.generate.precision"),
    ],
)
def test_backends_that_do_not_exist_are_refused(changes, where):
    with pytest.raises(InputError) as refused:
        lob_jax.get_config("tiny", changes)
    assert refused.value.where == where
