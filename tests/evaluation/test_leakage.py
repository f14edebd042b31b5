"""Every leak is planted, and must be found; where none is, nothing may be."""

import dataclasses
import types

import numpy as np
import pytest

from lob_jax.data.labels.moves import fit_outlooks
from lob_jax.data.labels.regimes import fit_regimes
from lob_jax.data.records import shards
from lob_jax.data.records.builder import open_records, prepare_records
from lob_jax.data.records.records import RecordPlan
from lob_jax.data.records.split import Part
from lob_jax.data.windows.known import Beside
from lob_jax.evaluation.baseline import Fitting, fit_baselines
from lob_jax.evaluation.direction.moves import record_moves
from lob_jax.evaluation.direction.state_table import fit_state_table
from lob_jax.evaluation.leakage import (
    Finding,
    Span,
    check_content,
    check_fitted,
    check_splits,
    check_thresholds,
    digest,
    digest_of_baseline,
    digest_of_table,
    read_spans,
    told,
)
from lob_jax.feeds.feed import DaySource
from lob_jax.tokens.exact import ExactTokenizer

PLAN = RecordPlan(
    record_events=100, context=32, book_levels=2, train_fraction=0.6, validation_fraction=0.15, embargo_events=20
)
SHARED, ORDER, APART, LONG = "two splits", "comes before", "an embargo apart", "as long as a context"


def leaks(findings):
    return [finding.check for finding in findings if finding.leak is not None]


def assert_found(findings, *parts):
    found = leaks(findings)
    assert len(found) == len(parts) and all(part in check for part, check in zip(parts, found, strict=True))


def test_prepared_records_are_clean(folder):
    for every in (False, True):
        findings = check_splits(read_spans(folder, every=every), embargo=20, context=32)
        assert len(findings) == 4 and not leaks(findings)
    assert len(read_spans(folder)) < len(read_spans(folder, every=True))
    assert not leaks(check_content(folder))


@pytest.fixture
def planted(day, tmp_path, monkeypatch):
    """A function that prepares the day in other parts than the plan's; they are only consecutive if they say so."""

    def prepare(*parts):
        monkeypatch.setattr(shards, "day_parts", lambda *_, **__: [Part(*part) for part in parts])
        feed = types.SimpleNamespace(read=lambda source, reading: day)
        source = DaySource(None, day.instrument.symbol, day.instrument.trading_day)
        how = {"tokenizer": ExactTokenizer(), "plan": PLAN, "inputs": {"feed": "test"}, "processes": 1}
        prepare_records(feed, [source], folder=tmp_path / "records", **how)
        return tmp_path / "records"

    return prepare


def test_a_test_split_that_begins_in_training_is_found(planted):
    folder = planted(("train", 0, 360, 0), ("test", 300, 420, 0), ("validation", 440, 600, 20))
    for every in (False, True):
        findings = check_splits(read_spans(folder, every=every), embargo=20, context=32)
        assert_found(findings, SHARED, ORDER, APART)
        assert findings[0].leak == "train events 0..359 of TEST 2012-06-21; test events 300..419 of TEST 2012-06-21"


def test_a_lead_that_reaches_into_training_is_found(planted):
    folder = planted(("train", 0, 375, 0), ("validation", 380, 450, 20), ("test", 470, 600, 20))
    assert_found(check_splits(read_spans(folder), embargo=20, context=32), SHARED, APART)


def test_a_training_part_that_is_tested_again_is_found(planted):
    folder = planted(("train", 0, 100, 0), ("test", 0, 100, 0), ("validation", 380, 450, 20))
    assert_found(check_content(folder), SHARED)


def test_counts_of_tokens_of_all_splits_are_found(folder, tmp_path, monkeypatch):
    from lob_jax.evaluation import leakage

    manifest = leakage.load_manifest(folder)
    counts = np.sum([manifest["token_counts"][split] for split in ("train", "test")], axis=0)
    planted = {**manifest, "token_counts": {**manifest["token_counts"], "train": counts.tolist()}}
    monkeypatch.setattr(leakage, "load_manifest", lambda _: planted)
    assert_found(check_content(folder), "counts of training tokens")


DAYS = [Span("train", "A", "2024-01-02", 0, 0, 50), Span("train", "A", "2024-01-03", 0, 0, 50)]


@pytest.mark.parametrize(
    ("later", "embargo", "expected"),
    [
        (Span("validation", "A", "2024-01-04", 0, 0, 9), 40, []),
        (Span("validation", "A", "2024-01-03", 70, 90, 99), 40, []),
        (Span("validation", "A", "2024-01-03", 70, 89, 99), 40, [APART]),
        (Span("validation", "A", "2024-01-03", 49, 90, 99), 40, [SHARED]),
        (Span("validation", "A", "2024-01-01", 0, 0, 9), 40, [ORDER]),
        (Span("validation", "B", "2024-01-02", 0, 0, 9), 40, []),  # another instrument has its own events
        (Span("test", "A", "2024-01-02", 70, 95, 99), 40, [ORDER]),  # between two days of training
        (Span("validation", "A", "2024-01-04", 0, 0, 9), 16, [LONG]),
    ],
)
def test_each_rule_of_the_splits(later, embargo, expected):
    assert_found(check_splits([*DAYS, later], embargo=embargo, context=32), *expected)


def test_thresholds_of_test_events_are_found(folder):
    train, test = (open_records(folder, split) for split in ("train", "test"))
    bins = {"volatility_bins": 2, "spread_bins": 2}
    good = Beside(regimes=fit_regimes(train, **bins), outlooks=fit_outlooks(train, (5,)))
    assert check_thresholds(good, train).leak is None
    by_regime = dataclasses.replace(good, regimes=fit_regimes(test, **bins))
    assert check_thresholds(by_regime, train).leak == "other thresholds: those of the regimes"
    by_label = dataclasses.replace(good, outlooks=fit_outlooks(test, (5,)))
    assert check_thresholds(by_label, train).leak == "other thresholds: those of the labels"
    assert check_thresholds(Beside(), train).leak is None


@pytest.fixture(scope="module")
def digests(folder):
    """A function that fits the baselines on some splits, and returns their digests."""

    def fit(train, validation):
        sources = [open_records(folder, split) for split in (train, validation)]
        given = Fitting(*sources, tokenizer=ExactTokenizer(), ngram_orders=(1, 2))
        held_out = open_records(folder, "validation")
        return {name: digest_of_baseline(one, held_out) for name, one in fit_baselines(given).items()}

    return fit


@pytest.fixture(scope="module")
def honest(digests):
    return digests("train", "validation")


@pytest.mark.slow
@pytest.mark.parametrize("splits", [("test", "validation"), ("train", "test")])
def test_baselines_fitted_or_chosen_on_the_test_are_found(digests, honest, splits):
    assert check_fitted(honest, digests("train", "validation")).leak is None
    finding = check_fitted(digests(*splits), honest)
    assert finding.leak == "another fit: zero_order, ngram, book_counts"


def test_a_state_table_of_test_events_is_found(folder):
    def table(split):
        source, tokenizer = open_records(folder, split), ExactTokenizer()
        return {"state_table": digest_of_table(fit_state_table([record_moves(source[i], tokenizer) for i in range(2)]))}

    assert check_fitted(table("train"), table("train")).leak is None
    assert check_fitted(table("test"), table("train")).leak == "another fit: state_table"


def test_a_digest_forgives_rounding_and_nothing_else():
    one = np.array([-1.5, 0.25])
    assert digest([one]) == digest([one + 1e-9]) != digest([one + 1e-4])
    assert digest([np.array([0.0])]) == digest([np.array([-1e-9])])


def test_an_evaluation_without_digests_is_unchecked_and_no_leak():
    finding = check_fitted({"ngram": "a"}, {"ngram": "a", "zero_order": "b"})
    assert finding.leak is None and "zero_order" in finding.unchecked


def test_findings_are_told_in_a_line():
    fine, leak, open_ = Finding("a is so"), Finding("b is so", leak="it is c"), Finding("d is so", unchecked="gone")
    assert told([fine, fine]) == "leakage audit: none in 2 checks"
    assert told([fine, open_]) == "leakage audit: none in 1 checks; not checked: d is so (gone)"
    assert told([fine, leak]) == "leakage audit: 1 of 2 checks; not so: b is so (it is c)"
    assert [one.verdict for one in (fine, leak, open_)] == ["holds", "leak: it is c", "not checked: gone"]
