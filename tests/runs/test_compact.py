"""A run of compact tokens with the mask of the book: trained, evaluated and continued over one set of tokens."""

import numpy as np
import pytest

import lob_jax
from lob_jax.data.records.builder import open_records
from tests.runs.conftest import SMALL

COMPACT = {"tokens.kind": "compact", "tokens.time_digits": None, "model.mask": "book", "data.embargo_events": 70}
COMPACT |= {"model.queue_state": False, "model.pointer": False}
COMPACT |= {"data.record_events": 128}  # a prompt ends where a second record begins


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("compact")
    summary = lob_jax.train(lob_jax.get_config("tiny", SMALL | COMPACT), workdir)
    assert summary.steps == 4 and np.isfinite(summary.best_validation_loss)
    return lob_jax.load_run(workdir)


@pytest.mark.slow
def test_model_and_baselines_are_compared_in_the_book(run):
    result = lob_jax.evaluate(run)
    assert [one for one in result["audit"] if one["leak"]] == []
    free, in_book = result["likelihood"], result["in_book"]
    assert list(in_book) == ["model", "zero_order", "ngram"]
    assert in_book["model"]["bits_per_event"] == pytest.approx(free["model"]["bits_per_event"], rel=1e-5)
    for name in ("zero_order", "ngram"):
        assert 0 < in_book[name]["bits_per_event"] < free[name]["bits_per_event"]
    records = open_records(run.workdir / "records", "test")
    outside = np.concatenate([record["sets_outside"][int(record["lead_events"]) :] > 0 for record in records])
    assert in_book["model"]["escapes"] == pytest.approx(outside.mean()) and outside.mean() < 0.05


@pytest.mark.slow
def test_a_day_is_scored_as_its_records_are(run):
    day = lob_jax.load_incremental_data(events=200, seed=5)
    scores = lob_jax.score(run, day)
    assert len(scores.tokens) == len(day.events) == len(scores.log_likelihood)
    assert np.isfinite(scores.log_likelihood).all()


@pytest.mark.slow
def test_every_generated_event_can_happen(run):
    paths = lob_jax.generate(run, sampling=lob_jax.SamplingConfig(paths=8, events=60, seed=1))
    found = lob_jax.check_paths(paths)
    assert sum(one.events for one in found) == 480 and all(one.faults == {} for one in found)
    assert [one.levels for one in found] == paths.drawn.levels
