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
from lob_jax.events.schema import Kind
from lob_jax.export.generate import open_decoder, open_forward, recommended
from lob_jax.export.score import score
from lob_jax.generation.settings import SamplingConfig, Truncation
from lob_jax.runs.exported import continue_day, prompt_for, sampling_of
from lob_jax.runs.generation import check_day, configured_sampling, generate
from lob_jax.runs.load import open_run
from lob_jax.serving.predict.scored import scored
from lob_jax.tokens.sets.escape import Escape
from tests.runs.conftest import SMALL

ROOT = pathlib.Path(__file__).resolve().parents[2]
NATS = 1e-4  # of an event's log-likelihood, between float32 in ONNX Runtime and in JAX
WITHOUT_JAX = """
import importlib.abc, json, sys

class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jax", "jaxlib", "flax", "optax", "tensorflow", "torch"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Block())
from lob_jax.export.bundle import open_bundle
from lob_jax.export.generate import open_decoder, open_forward
from lob_jax.export.score import score
from lob_jax.feeds.load import load_incremental_data
from lob_jax.runs.exported import continue_day

bundle = open_bundle(sys.argv[1])
day = load_incremental_data(events=400, seed=5)
paths = continue_day(bundle, day, decoder=open_decoder(bundle, precision="float32"))
scores = score(bundle.contents, day, open_forward(bundle, precision="float32"))
print(json.dumps([[path.events.price.tolist() for path in paths], scores.log_likelihood.tolist()]))
"""


@pytest.fixture(scope="module")
def bundle(exported):
    return exported.bundle


@pytest.fixture(scope="module")
def scored_by_jax(run, day):
    return lob_jax.score(run, day)


@pytest.fixture(scope="module")
def by_jax(run, day):
    return generate(run, day)


def equal(one, other):
    return all(
        np.array_equal(getattr(one.events, field.name), getattr(other.events, field.name))
        for field in dataclasses.fields(one.events)
    )


@pytest.mark.slow
def test_a_bundle_gives_the_events_of_its_run(run, bundle, day, by_jax):
    assert sampling_of(bundle) == configured_sampling(run.config, day.instrument)
    paths = continue_day(bundle, day, decoder=open_decoder(bundle, precision="float32"))
    assert len(paths) == len(by_jax) == SMALL["generate.paths"]
    assert all(equal(one, other) for one, other in zip(paths, by_jax, strict=True))


@pytest.mark.slow
def test_a_process_without_jax_gives_the_same(bundle, by_jax, scored_by_jax):
    done = subprocess.run([sys.executable, "-c", WITHOUT_JAX, bundle.folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    prices, log_likelihood = json.loads(done.stdout)
    assert prices == [path.events.price.tolist() for path in by_jax]
    np.testing.assert_allclose(log_likelihood, scored_by_jax.log_likelihood, atol=NATS, rtol=0)


@pytest.mark.slow
def test_a_bundle_gives_the_scores_of_its_run(bundle, day, scored_by_jax):
    scores = score(bundle.contents, day, open_forward(bundle, precision="float32"))
    for name in ("tokens", "token_event", "outside"):
        np.testing.assert_array_equal(getattr(scores, name), getattr(scored_by_jax, name), strict=True)
    for name in ("log_likelihood", "token_log_likelihood"):
        np.testing.assert_allclose(getattr(scores, name), getattr(scored_by_jax, name), atol=NATS, rtol=0)
    assert bundle.model.mask == "book" and not scores.outside.any()


@pytest.mark.parametrize("mask", ["book", "grammar", "none"])
def test_events_that_the_book_does_not_allow_are_scored_alike(run, bundle, day, mask):
    size = day.events.size.copy()
    removals = np.flatnonzero(day.events.kind[:80] == Kind.DELETE)[:5]
    size[removals] += 10_000
    wrong = dataclasses.replace(day, events=dataclasses.replace(day.events, size=size)).part(0, 80, start=day.start)
    run = dataclasses.replace(run, model=dataclasses.replace(run.model, mask=mask))
    contents = dataclasses.replace(bundle.contents, model=run.model)
    scores, expected = score(contents, wrong, open_forward(bundle, precision="float32")), lob_jax.score(run, wrong)
    np.testing.assert_allclose(scores.log_likelihood, expected.log_likelihood, atol=NATS, rtol=0)
    np.testing.assert_array_equal(scores.outside, expected.outside, strict=True)
    names = np.array(scored(scores).outside)
    assert np.flatnonzero(names).tolist() == removals.tolist() and set(names[removals]) == {Escape.NO_SUCH_ORDER.name}
    assert scored(scores).nats == tuple(scores.log_likelihood)


def test_a_model_that_also_learned_labels_is_given_none(bundle, day):
    model = dataclasses.replace(bundle.model, heads=dataclasses.replace(bundle.model.heads, outlook_events=(5,)))
    learned = dataclasses.replace(bundle, contents=dataclasses.replace(bundle.contents, model=model))
    assert set(prompt_for(learned, day, events=10).known_T) == set(prompt_for(bundle, day, events=10).known_T)


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
    assert len(blocks) == 4
    code = "\n".join(blocks).replace("runs/tiny/bundle", str(bundle.folder))
    exec(compile(code, "docs/export.md", "exec"), {})
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(bundle.fingerprint) and told[1] == str([SMALL["generate.events"]] * 3)
    assert float(told[2].removesuffix(" nats per event")) > 0


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
