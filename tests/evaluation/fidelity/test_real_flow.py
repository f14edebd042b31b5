"""Measures, discriminator and memorisation on a real day: known figures, halves alike, planted faults found."""

import dataclasses

import numpy as np
import pytest

from lob_jax.evaluation.fidelity.discriminator import discriminate
from lob_jax.evaluation.fidelity.measure import all_measures, compare_measures
from lob_jax.evaluation.fidelity.memorisation import measure_memorisation
from lob_jax.feeds.load import load_incremental_data
from lob_jax.statistics.flow import disjoint_spans, flow_of_spans

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def day(market_data):
    market = load_incremental_data(market_data("lobster/GOOG_2012-06-21_34200000_57600000_message_10.csv.gz"))
    return flow_of_spans(market, disjoint_spans(len(market.events), length=500), levels=10)


@pytest.fixture(scope="module")
def real(day):
    return day.select(range(237, 295))


def test_known_figures(real):
    figures = {measure.name: measure.compute(real) for measure in all_measures()}
    assert figures["trade_sign_acf"]["lag 1"] == pytest.approx(0.772, abs=5e-4)
    assert figures["spread"]["mean"] == pytest.approx(22.107, abs=5e-4)
    mix = figures["kind_mix"]
    assert [round(mix[kind], 3) for kind in ("add", "delete", "execute", "execute hidden")] == [
        0.461,
        0.391,
        0.103,
        0.045,
    ]
    assert figures["book_states"] == {"crossed or locked": 0.0, "one-sided or empty": 0.0}


def test_halves_are_alike_and_a_shuffled_tape_is_not(day, real):
    order = np.random.default_rng(0).permutation(len(day))
    one, other = day.select(order[:58]), day.select(order[58:116])
    rng, edges = np.random.default_rng(1), one.edges
    rows = np.concatenate([rng.permutation(np.arange(a, b)) for a, b in zip(edges[:-1], edges[1:], strict=True)])
    columns = ("kind", "side", "price", "size", "order_id", "book_price", "book_size")
    shuffled = dataclasses.replace(one, **{name: getattr(one, name)[rows] for name in columns})
    flows = {"other": other, "shuffled": shuffled}
    result = compare_measures(one, flows)
    assert result["summary"]["other"]["apart"] <= 9 and result["summary"]["other"]["distances_outside"] == 0
    assert result["summary"]["shuffled"]["apart"] >= 25
    for step in (1, 2):
        assert result["measures"][f"transitions_{step}"]["distance"]["shuffled"]["ratio"] > 2
    models = discriminate(one, flows)["models"]
    assert models["other"]["low"] < 0.5 and models["other"]["p"] > 0.05
    assert models["shuffled"]["low"] > 0.95 and models["shuffled"]["p"] == 0.001


def test_a_copied_day_is_maximal_and_real_flow_is_not(day, real):
    training = day.select(range(230))
    result = measure_memorisation(training, real, {"copied": training.select(range(0, 230, 4))})
    assert result["flows"]["copied"]["longest"] == result["flows"]["copied"]["median"] == 500
    assert result["flows"]["real"]["longest"] < 50
