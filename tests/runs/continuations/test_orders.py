"""Resting orders of a run's prompts: their real fate by id, frequencies of training alone, and how both are written."""

import dataclasses
import json

import numpy as np
import pytest

import lob_jax
from lob_jax.book.replay import snapshots_at
from lob_jax.data.records.builder import open_records
from lob_jax.errors import InputError
from lob_jax.evaluation.leakage import Finding
from lob_jax.evaluation.paths.resting.outcomes import known_orders, watched_orders
from lob_jax.events.schema import Kind
from lob_jax.runs.continuations import orders
from lob_jax.runs.continuations.generate import generate_many
from lob_jax.runs.continuations.orders import digest_of_history, feed_day, forecast_orders, training_orders
from lob_jax.runs.leakage import _check_fills
from lob_jax.stages.continuations import _scored_orders

pytestmark = pytest.mark.slow

PROMPTS, PATHS, EVENTS, BEFORE = 5, 2, 12, 20


@pytest.fixture(scope="module")
def paths(run):
    sampling = lob_jax.SamplingConfig(paths=PATHS, events=EVENTS, seed=3)
    return generate_many(run, prompts=PROMPTS, prompt_events=BEFORE, sampling=sampling)


@pytest.fixture(scope="module")
def real(run, paths, tmp_path_factory):
    return feed_day(run, paths.instrument, tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def found(run, paths):
    return forecast_orders(run, paths)


def test_the_real_fate_is_that_of_the_ids_in_the_feed(run, paths, real, found):
    at, filled, cancelled, orders_in_all = [], 0, 0, 0
    for one in paths.real:
        end = one.first_event + BEFORE
        at.append(end)
        (book,) = snapshots_at(real, np.array([end]))
        after = real.events[end : end + EVENTS]
        for side in (1, -1):
            prices = np.unique(side * book.price[book.side == side])[::-1][: run.config.data.book_levels]
            ids = book.order_id[(book.side == side) & np.isin(side * book.price, prices)]
            ids = ids[ids > 0]
            orders_in_all += len(ids)
            filled += np.isin(ids, after.order_id[:10][after.kind[:10] == Kind.EXECUTE]).sum()
            cancelled += np.isin(ids, after.order_id[:10][after.kind[:10] == Kind.DELETE]).sum()
    scored = found["events"]["buckets"]["all"]
    assert found["orders"] == orders_in_all > 20 and found["events"]["horizons"] == [10] and found["paths"] == PATHS
    assert scored["first fill"]["happened"][0] * orders_in_all == pytest.approx(filled)
    assert scored["cancel"]["happened"][0] * orders_in_all == pytest.approx(cancelled) and cancelled > 0


def test_real_continuations_as_paths_have_their_own_fates(run, paths, real):
    """Without ids the rule decides, so that most, not all, orders meet the same fate."""
    at = [one.first_event + BEFORE for one in paths.real]
    known = known_orders(real, at, following=EVENTS, levels=run.config.data.book_levels)
    starts = [days[0].start for days in paths.days]
    continued = zip(paths.real, starts, strict=True)
    days = [(one.day.part(BEFORE, BEFORE + EVENTS, start=start),) for one, start in continued]
    watched = watched_orders(known, days)
    same = (watched.paths["events"][:, 0] == known.truth["events"]).all(1)
    assert same.mean() > 0.9 and np.isfinite(watched.paths["events"]).any()
    np.testing.assert_array_equal(watched.reach["events"], EVENTS)
    other = dataclasses.replace(days[0][0], start=starts[1])
    with pytest.raises(InputError, match="does not begin with the real book"):
        watched_orders(known, [(other,), *days[1:]])


def test_frequencies_are_of_training_alone(run, paths, real, found, monkeypatch):
    train = open_records(run.workdir / "records", "train")
    history = training_orders(run, train, paths.instrument, following=EVENTS)
    assert digest_of_history(history) == found["training"]["digest"]
    assert found["training"]["orders"] == len(history.orders) > 500
    last = max(int(train[k]["first_event"]) + len(train[k]["clock_ns"]) - 1 for k in range(len(train)))

    def changed_from(event):
        ids = real.events.order_id.copy()
        ids[event:] = 0
        kind = np.where(np.arange(len(ids)) < event, real.events.kind, Kind.ADD).astype(np.uint8)
        return real.with_events(real.events.replace(order_id=ids, kind=kind))

    digests = []
    for event in (last, last - 200):
        other = changed_from(event)
        monkeypatch.setattr(orders, "feed_day", lambda *_, day=other: day)
        digests.append(digest_of_history(training_orders(run, train, paths.instrument, following=EVENTS)))
    assert digests[0] == found["training"]["digest"] != digests[1]
    with pytest.raises(InputError, match="training is too short"):
        training_orders(run, train, paths.instrument, following=last + 1)


def test_an_audit_counts_the_fills_of_training_again(run, found, tmp_path):
    assert _check_fills(dataclasses.replace(run, workdir=run.workdir)) == []
    (tmp_path / "records").symlink_to(run.workdir / "records")
    result = tmp_path / "generated" / "many"
    result.mkdir(parents=True)
    (result / "settings.json").write_text(json.dumps({"events": EVENTS}))
    planted = {**found, "training": {**found["training"], "digest": "another"}}
    check = "the frequencies of fills are those of training"
    for content, leak in ((found, None), (planted, "they are those of other orders")):
        (result / "orders.json").write_text(json.dumps(content))
        assert _check_fills(dataclasses.replace(run, workdir=tmp_path)) == [Finding(check, leak)]


def test_other_files_than_those_of_the_records_are_refused(run, paths, real, monkeypatch):
    size = real.events.size.copy()
    size[paths.real[2].first_event + BEFORE] += 1
    monkeypatch.setattr(orders, "feed_day", lambda *_: real.with_events(real.events.replace(size=size)))
    with pytest.raises(InputError, match="other events than the records"):
        forecast_orders(run, paths)


def test_a_feed_without_order_ids_has_no_fates_and_says_so(run, paths, real, monkeypatch, capsys):
    nameless = real.events.replace(order_id=np.zeros(len(real.events), np.uint64))
    monkeypatch.setattr(orders, "feed_day", lambda *_: real.with_events(nameless))
    written = _scored_orders(run, paths, seed=0)
    assert written["unavailable"].startswith("the feed has no order ids")
    assert "the fate of resting orders is not scored: the feed has no order ids" in capsys.readouterr().out
