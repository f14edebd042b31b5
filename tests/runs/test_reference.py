"""The reference of a run counts its training events, and scores events of its validation split."""

import dataclasses
import types

import numpy as np
import pytest

from lob_jax.bench.sets import fitted
from lob_jax.data.records.builder import open_records
from lob_jax.data.records.records import read_record
from lob_jax.export.generate import forward_of, open_windows
from lob_jax.export.reference.features import FEATURES, columns_of
from lob_jax.export.score import score
from lob_jax.runs import reference as module
from lob_jax.runs.bundle import bundle_parts
from lob_jax.runs.reference import Part, bins_of, counts_of, parts_of, reference_of, validation_quality


@pytest.fixture(scope="module")
def contents(run):
    return bundle_parts(run).contents


@pytest.fixture(scope="module")
def forward(exported):
    return forward_of(open_windows(exported.bundle, precision="float32", threads=1))


@pytest.fixture(scope="module")
def reference(run, contents, forward):
    return reference_of(run.workdir / "records", contents, forward)


def test_it_counts_the_events_of_the_training_split_once(run, reference):
    source = open_records(run.workdir / "records", "train")
    events = sum(
        len(read_record(source[index], run.tokenizer).events) - int(source[index]["lead_events"])
        for index in range(len(source))
    )
    assert reference.features["class"].sum() == reference.features["spread"].sum() == events
    assert reference.features["size"].sum() == events
    assert 0 < events - reference.features["gap"].sum() <= len(source)
    assert 0 <= events - reference.baseline.action.sum() <= 2 * len(source)


def test_half_hours_are_those_of_the_session(reference):
    (at,) = np.nonzero(reference.features["class"].sum(1))
    assert at[0] == 19 and at[-1] <= 31  # from 09:30, before 16:00 in New York


def test_it_knows_the_market_and_its_tokens(reference, contents):
    assert (reference.time_zone, reference.tick) == ("America/New_York", contents.instrument.tick)
    assert reference.comparable and reference.baseline.digits == [contents.vocabulary.time_digits]


def test_the_leads_of_records_are_context_alone(day):
    whole, _ = counts_of([Part(day)], digits=5)
    rest, _ = counts_of([Part(day, 100)], digits=5)
    first, _ = counts_of([Part(day.part(0, 100, start=day.start))], digits=5)
    for name in FEATURES:
        np.testing.assert_array_equal(whole[name], rest[name] + first[name])


def test_spreads_are_those_of_the_replayed_book(run):
    part = next(parts_of(open_records(run.workdir / "records", "train"), run.tokenizer, symbol="SYN", most=1))
    coarse = bins_of(part.day, tick=part.day.instrument.tick * 10**6)["spread"]
    assert set(coarse.tolist()) <= {0, 1} and bins_of(part.day, tick=part.day.instrument.tick)["spread"].max() > 2


def test_quality_is_that_of_scored_validation_events(run, contents, forward, reference):
    source = open_records(run.workdir / "records", "validation")
    parts = list(parts_of(source, run.tokenizer, symbol="SYN", most=module.PARTS))
    nats, baseline, brier = [], [], []
    for day, first, _ in parts:
        short = day.part(0, first + module.PART_EVENTS, start=day.start)
        found = score(contents, short, forward, first=first)
        nats.append(found.log_likelihood)
        brier.append(found.kinds.brier)
        baseline.append(reference.baseline.log_prob(columns_of(short.events), tick=reference.tick, first=first))
    quality = reference.quality
    assert quality.events == quality.classes == sum(map(len, nats)) > 100
    assert quality.nats == pytest.approx(np.concatenate(nats).mean())
    assert quality.brier == pytest.approx(np.concatenate(brier).mean())
    gain = np.concatenate(nats) - np.concatenate(baseline)
    assert quality.gain_nats == pytest.approx(np.nanmean(gain))
    assert 0 < quality.transform_mean < 1 and 0 <= quality.removed < 1


def test_at_most_some_thousand_events_are_scored(run, contents, forward, reference, monkeypatch):
    monkeypatch.setattr(module, "PART_EVENTS", 5)
    part = next(parts_of(open_records(run.workdir / "records", "validation"), run.tokenizer, symbol="SYN", most=1))
    found = validation_quality([part, part], contents, forward, baseline=reference.baseline)
    assert found.events == 10


def test_without_a_network_or_with_hidden_tokens_there_is_no_quality(run, contents, reference, forward):
    assert reference_of(run.workdir / "records", contents, None).quality is None
    part = next(parts_of(open_records(run.workdir / "records", "validation"), run.tokenizer, symbol="SYN", most=1))
    hidden = types.SimpleNamespace(model=types.SimpleNamespace(causal=False))
    assert validation_quality([part], hidden, forward, baseline=reference.baseline) is None
    assert validation_quality([], contents, forward, baseline=reference.baseline) is None


def test_another_instrument_has_no_reference(run, contents, forward):
    other = dataclasses.replace(contents, instrument=dataclasses.replace(contents.instrument, symbol="OTHER"))
    assert reference_of(run.workdir / "records", other, forward) is None


def test_tokens_that_do_not_give_their_events_back_have_no_reference(run, contents, forward, day):
    compact = dataclasses.replace(contents, vocabulary=fitted("compact", day).vocabulary)
    assert reference_of(run.workdir / "records", compact, forward) is None


def test_the_bundle_of_an_export_has_the_reference_of_its_run(exported, reference):
    found = exported.bundle.contents.reference
    assert found.quality.events == reference.quality.events
    assert found.quality.nats == pytest.approx(reference.quality.nats)
    for name in FEATURES:
        np.testing.assert_array_equal(found.features[name], reference.features[name])
