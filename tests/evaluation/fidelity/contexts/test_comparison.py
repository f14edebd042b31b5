"""Scores inside contexts against slow lists, by hand, and on flows that differ only inside a regime."""

import dataclasses
import functools
import io
import json
import math

import numpy as np
import pytest
import scipy.stats
from rich.console import Console

from lob_jax.evaluation.fidelity.contexts import context
from lob_jax.evaluation.fidelity.contexts.comparison import compare_contexts, seen_by
from lob_jax.evaluation.fidelity.contexts.context import CONTEXTS, fit
from lob_jax.evaluation.fidelity.contexts.table import context_table, groups_in_words, rows_of
from lob_jax.evaluation.fidelity.distances.draws import halves
from lob_jax.evaluation.fidelity.distances.parts import cropped
from lob_jax.evaluation.fidelity.samples import Sample
from lob_jax.evaluation.fidelity.score import all_scores
from lob_jax.statistics.distances import distances

SCORES = {score.name: score for score in all_scores("lob_bench")}
METRICS = ("l1", "w1", "ks")
HOUR = 3600 * 10**9
SPLITS, SEED = 2, 1


@pytest.fixture(scope="module")
def pair(flow):
    """Two flows of four sequences each, of which two are an hour later."""
    late = np.isin(flow.sequence(), (2, 3, 6, 7))
    flow = dataclasses.replace(flow, time_ns=flow.time_ns + np.where(late, HOUR, 0))
    return flow.select(range(4)), flow.select(range(4, 8))


@pytest.fixture(scope="module")
def result(pair):
    real, other = pair
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(context, "LEAST_SEQUENCES", 2)
        flows = {"other": other, "copy": real}
        yield compare_contexts(real, flows, splits=SPLITS, resamples=4, seed=SEED), *pair


@functools.cache
def states(flow):
    """Return time of day, volatility and spread before each message, None where one is not known, as lists."""
    found = []
    for first, last in zip(flow.edges[:-1], flow.edges[1:], strict=True):
        known = [(flow.book_size[i, :, 0] > 0).all() for i in range(first, last)]
        mids = [sum(flow.book_price[i, :, 0].tolist()) / 2 / flow.instrument.tick for i in range(first, last)]
        spread = None
        for i in range(last - first):
            if i == 0:
                found.append((None, None, None))
                continue
            if known[i - 1]:
                bid, ask = flow.book_price[first + i - 1, :, 0].tolist()
                spread = (ask - bid) / flow.instrument.tick
            moves = [(mids[j] - mids[j - 1]) * (known[j] and known[j - 1]) for j in range(max(1, i - 50), i)]
            rough = math.sqrt(sum(move**2 for move in moves) / len(moves)) if i > 10 else None
            found.append((int(flow.time_ns[first + i - 1]), rough, spread))
    return found


def slow(score, series, edges, real, first, second):
    """Return the distances of two flows inside the groups that real flow gives, from lists."""

    def values(flow):
        found, before = {}, states(flow)
        made = score.values(flow)
        for value, row in zip(made.value.tolist(), made.row.tolist(), strict=True):
            chosen = [before[row][("time", "volatility", "spread").index(name)] for name in series]
            if None not in chosen:
                group = tuple(sum(x >= e for e in at) for x, at in zip(chosen, edges, strict=True))
                found.setdefault(group, []).append(value)
        return found

    whole, one, two = values(real), values(first), values(second)
    count = sum(map(len, whole.values()))
    unit = np.std([x for group in whole.values() for x in group], ddof=1)
    total = np.zeros(3)
    for group, mine in whole.items():
        a, b = one.get(group, []), two.get(group, [])
        share = len(mine) / count
        if not a or not b:
            total += share * np.array([1, 0, 1]) * bool(a or b)
            continue
        bounds = sorted({*a, *b}) if score.discrete else np.histogram_bin_edges(mine, "fd")
        bins = [np.bincount(np.searchsorted(bounds, x, "right"), minlength=len(bounds) + 1) / len(x) for x in (a, b)]
        w1 = scipy.stats.wasserstein_distance(a, b) / unit if unit > 0 else 0
        at_or_below = [np.searchsorted(np.sort(x), [*a, *b], "right") / len(x) for x in (a, b)]
        ks = np.abs(at_or_below[0] - at_or_below[1]).max()
        total += share * np.array([np.abs(bins[0] - bins[1]).sum() / 2, w1, ks])
    return total


@pytest.mark.parametrize("name", [one.name for one in CONTEXTS])
def test_against_lists(result, name):
    found, real, other = result
    one = next(one for one in CONTEXTS if one.name == name)
    draws = halves(4, 4, splits=SPLITS, seed=SEED)
    edges = [series["at"] for series in found["contexts"][name]["edges"].values()]
    series = [series.name for series in one.series]
    assert found["contexts"][name]["groups"] > 1
    parts = [
        [flow.select(rows) for flow, rows in zip((real, other, real), one, strict=True)]
        for one in zip(draws.first, draws.generated, draws.second, strict=True)
    ]
    for score in SCORES.values():
        entry = found["scores"][score.name]["contexts"][name]["other"]
        arguments = score, series, edges, real
        expected = {"value": slow(*arguments, real, other)}
        expected["half"] = np.mean([slow(*arguments, first, made) for first, made, _ in parts], axis=0)
        expected["floor"] = np.mean([slow(*arguments, first, second) for first, _, second in parts], axis=0)
        for key, one in expected.items():
            np.testing.assert_allclose([entry[m][key] for m in METRICS], one, atol=1e-9, err_msg=score.name)


def test_a_copy_has_distance_zero_and_ratio_one(result):
    found, *_ = result
    for score in found["scores"].values():
        for models in score["contexts"].values():
            for metric in METRICS:
                one = models["copy"][metric]
                assert one["value"] in (0, None) and one["half"] == one["floor"] and one["ratio"] in (1, None)
    for models in found["summary"].values():
        assert models["copy"]["l1"]["mean"]["value"] == 0 and models["copy"]["l1"]["ratio"] == 1
        assert models["other"]["l1"]["mean"]["low"] <= models["other"]["l1"]["mean"]["value"]


def test_distances_inside_groups_by_hand():
    """Group 0 has three of four real values; group 1 lacks the other flow, and real flow lacks group 2."""
    real = Sample(np.array([1.0, 1, 2, 5]), np.zeros(4, np.int64), np.array([0.0, 0, 0, 1]), 1)
    other = Sample(np.array([1.0, 2, 9]), np.zeros(3, np.int64), np.array([0.0, 0, 2]), 1)
    seen = seen_by(SCORES["spread"], real, other)
    found = seen.between(np.array([1, 0]), np.array([0, 1]))
    sd = np.std(real.value, ddof=1)
    np.testing.assert_allclose(found, [0.75 / 6 + 0.25, 0.75 / 6 / sd, 0.75 / 6 + 0.25])


def test_a_unit_of_all_values_tells_flows_apart_where_real_values_are_all_equal_in_a_group():
    real = Sample(np.array([1.0, 1, 3, 3]), np.zeros(4, np.int64), np.array([0.0, 0, 1, 1]), 1)
    other = Sample(np.array([1.0, 2, 3, 3]), np.zeros(4, np.int64), np.array([0.0, 0, 1, 1]), 1)
    seen = seen_by(SCORES["spread"], real, other)
    assert seen.between(np.array([1, 0]), np.array([0, 1])).w1 == pytest.approx(0.25 / np.std(real.value, ddof=1))


def regimes(tiny_flow, *, tight, wide):
    """Return a flow of eight sequences, 30 messages at a spread of 2, then 30 at 8, with these sizes at the bid."""
    rows = [
        {"time_ns": i, "book": ([(100, size)], [(100 + spread, 5)])}
        for i in range(8)
        for spread, sizes in ((2, tight), (8, wide))
        for size in sizes * 15
    ]
    return tiny_flow(rows, edges=np.arange(9) * 60)


def test_a_difference_that_only_regimes_show(tiny_flow):
    """Sizes are 1 and 2 where the spread is tight, 8 and 9 where it is wide; in the other flow the reverse."""
    real = regimes(tiny_flow, tight=[1, 2], wide=[8, 9])
    other = regimes(tiny_flow, tight=[8, 9], wide=[1, 2])
    score = SCORES["bid_volume_touch"]
    blind = distances(score.values(real).value, score.values(other).value, discrete=score.discrete)
    found = compare_contexts(real, {"g": other}, splits=4, resamples=0)
    by_context = {name: of["g"]["l1"] for name, of in found["scores"]["bid_volume_touch"]["contexts"].items()}
    assert blind == (0, 0, 0) and by_context["spread"]["value"] > 0.9 and by_context["spread"]["half"] > 0.9
    assert by_context["time"]["value"] < 0.05  # all in one half hour
    assert by_context["regime"]["value"] > 0.9


def test_it_is_json_and_says_what_is_not_defined(pair):
    real, other = pair
    bookish = dataclasses.replace(other, kind=np.zeros_like(other.kind), time_ns=np.zeros_like(other.time_ns))
    short = other.select([])
    found = compare_contexts(real, {"bookish": bookish, "short": short}, splits=0, resamples=0)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    entry = found["scores"]["limit_ask_order_depth"]["contexts"]["spread"]["bookish"]
    assert entry["reason"] == "generated: the flow has a book, but no messages" and entry["l1"]["value"] is None
    assert found["scores"]["spread"]["contexts"]["time"]["bookish"]["reason"] == "generated: the flow has no times"
    assert found["scores"]["spread"]["contexts"]["spread"]["bookish"]["l1"]["value"] is not None
    assert found["scores"]["spread"]["contexts"]["spread"]["short"]["l1"]["ratio"] is None


def test_long_sequences_meet_at_the_common_length(pair):
    """Halves have the first messages of long sequences: there the same messages, cut, are as far as real ones."""
    real, _ = pair
    short = cropped(real, 120)
    found = compare_contexts(real, {"short": short}, splits=2, resamples=0)
    one = found["scores"]["spread"]["contexts"]["spread"]["short"]["l1"]
    assert one["half"] == one["floor"] > 0 and one["value"] > 0


def test_the_table_has_every_score_beside_its_ratio_without_context(result):
    found, *_ = result
    anywhere = {name: {"models": {"other": {"l1": {"ratio": 1.25}}}} for name in SCORES}
    whole = {"contexts": found, "scores": anywhere, "summary": {"lob_bench": {"other": {"l1": {"ratio": 1.5}}}}}
    rows = dict(rows_of(whole, "other"))
    assert list(rows) == [*(score.label for score in SCORES.values()), "mean over scores"]
    spread = found["scores"]["spread"]["contexts"]
    assert rows["spread"] == [1.25, *(spread[one.name]["other"]["l1"]["ratio"] for one in CONTEXTS)]
    assert rows["mean over scores"] == [1.5, *(of["other"]["l1"]["ratio"] for of in found["summary"].values())]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(context_table(whole, "other"))
    text = console.export_text()
    assert "…" not in text and "1.25" in text and "time of day: 2 groups, parted at " in text


def test_groups_in_words():
    rough = {"unit": "ticks per message", "at": [0.25, np.nextafter(0.25, 1)]}
    edges = {"volatility": rough, "spread": {"unit": "ticks", "at": [3.0]}}
    about = {"label": "regime", "groups": 6, "edges": edges}
    assert groups_in_words(about) == "regime: 6 groups, parted at 0.25 ticks per message and 3 ticks"
    none = {"label": "time of day", "groups": 1, "edges": {"time": {"unit": "ns", "at": []}}}
    assert groups_in_words(none) == "time of day: 1 group"


def test_edges_are_those_of_real_flow_whatever_it_meets(pair, result):
    found, real, other = result
    assert fit(CONTEXTS[1], real) != fit(CONTEXTS[1], other)
    assert found["contexts"]["volatility"]["edges"]["volatility"]["at"] == list(fit(CONTEXTS[1], real)[0])
