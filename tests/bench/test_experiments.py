"""The benchmark of experiments: the confidence sequence keeps its level where t-tests do not, and finds differences."""

import json

import numpy as np
import pytest
from scipy.stats import binom, ttest_1samp, ttest_ind

from lob_jax.bench import experiments
from lob_jax.bench.made_scores import Made, own_noise, own_units, shared_units

MOST = int(binom.ppf(0.999, 100, 0.05))  # false alarms of 100 simulations, if alpha is .05


def cases(capsys, *arguments):
    experiments.main(arguments)
    *table, last = capsys.readouterr().out.splitlines()
    return table, json.loads(last)


@pytest.mark.parametrize(
    ("design", "arguments", "blocks"),
    [
        ("paired", ["--events", "60000"], (50, 200)),
        ("split", ["--units", "1200", "--between", "0.03"], (400, 900)),
    ],
)
def test_equal_arms_are_seldom_told_apart_and_different_ones_are(capsys, design, arguments, blocks):
    table, figures = cases(capsys, "--designs", design, "--simulations", "100", *arguments)
    case = figures["cases"][f"{design} 200/50"]
    assert 100 * case["false_alarms_sequence"]["share"] <= MOST
    assert case["false_alarms_by_events"]["share"] >= 0.9 and case["false_alarms_by_blocks"]["share"] >= 0.2
    assert case["found"] >= 0.9 and case["wrong_arm"] <= 0.05
    assert blocks[0] <= case["median_blocks"] <= blocks[1]
    assert case["median_sequence"] >= 200 * case["median_blocks"] and case["median_units"] <= case["median_blocks"]
    assert len(table) == 3 and {"command", "commit", "machine", "versions"} <= set(figures)


def test_several_settings_see_the_same_scores(capsys):
    arguments = ["--designs", "paired", "--simulations", "3", "--events", "8000"]
    _, both = cases(capsys, *arguments, "--blocks", "50/0", "100/25")
    _, one = cases(capsys, *arguments, "--blocks", "100/25")
    assert both["cases"]["paired 100/25"] == one["cases"]["paired 100/25"]
    assert both["cases"]["paired 100/25"]["median_sequence"] is None  # of 8 to 10 blocks a market nothing is found


@pytest.mark.parametrize("noise", ["heavy", "skewed"])
def test_noise_is_as_it_was_asked_for(noise):
    made = Made(phi=0.9, sd=0.2, noise=noise)
    found = own_noise(np.random.default_rng(0), made, (2_000, 400), is_challenger=True)
    assert found.mean() == pytest.approx(0, abs=0.01)
    assert found[:, 0].std() == pytest.approx(0.2, rel=0.3) and found[:, -50:].std() == pytest.approx(0.2, rel=0.1)
    correlation = np.corrcoef(found[:, 100:-1].ravel(), found[:, 101:].ravel())[0, 1]
    assert correlation == pytest.approx(0.9, abs=0.02)
    steps = found[:, 1:] - 0.9 * found[:, :-1]
    skewness = np.mean(np.clip(steps / steps.std(), -5, 5) ** 3)
    assert (skewness > 1) == (noise == "skewed")


def test_units_follow_one_another_and_share_what_they_are_like():
    made = Made(sd=1e-9, between=0.5, own=0.25)
    shared = shared_units(np.random.default_rng(0), made, markets=4, events=50_000, unit=100)
    for market in range(4):
        spans = [unit[1:] for unit in shared.units if unit[0] == market]
        assert spans[0][0] == 0 and spans[-1][1] == 50_000
        assert all(one[1] == other[0] for one, other in zip(spans[:-1], spans[1:], strict=True))
    control, challenger = np.array([shared.scores[:, market, first] for market, first, _ in shared.units]).T
    assert control.std() == pytest.approx(0.5, rel=0.1) and (challenger - control).std() == pytest.approx(0.25, rel=0.1)
    own = own_units(np.random.default_rng(0), made, units=2_000, shortest=3, longest=9)
    assert own.scores[:, 0].std() == pytest.approx((0.25 + 0.25**2 / 2) ** 0.5, rel=0.1)
    assert own.scores.std(axis=1).max() < 1e-6 and own.is_challenger.mean() == pytest.approx(0.5, abs=0.05)
    assert set(own.lengths) == set(range(3, 10))


def test_t_tests_are_those_of_scipy():
    rng = np.random.default_rng(0)
    x, is_challenger = rng.normal(0.15, 1, 1_000), rng.random(1_000) < 0.4
    place = int(experiments._t_paired(x))
    rejects = [ttest_1samp(x[:count], 0).pvalue < 0.05 for count in range(experiments.LEAST, place + 1)]
    assert rejects == [False] * (len(rejects) - 1) + [True]
    scores = x + 0.2 * is_challenger
    place = int(experiments._t_split(scores, is_challenger))

    def pvalue(count):
        mine = is_challenger[:count]
        return ttest_ind(scores[:count][mine], scores[:count][~mine], equal_var=False).pvalue

    assert pvalue(place) < 0.07  # the benchmark has the normal limit, without small samples
    assert all(pvalue(count) > 0.03 for count in range(100, place))
    assert experiments._t_paired(np.zeros(50)) == experiments.NEVER


def test_medians_count_what_is_never_found():
    def found(events, *, right=True):
        return experiments.Found(events, 1.0, 1.0, events, events, right)

    never = found(experiments.NEVER, right=False)
    figures = experiments.summary([never, found(5.0)], [found(10.0), found(30.0), never])
    assert figures["false_alarms_sequence"]["share"] == 0.5 and figures["found"] == pytest.approx(2 / 3)
    assert figures["median_sequence"] == 30.0
    assert experiments.summary([never], [found(10.0), never, never])["median_sequence"] is None
    wrong = experiments.summary([never], [found(10.0), found(1.0, right=False)])
    assert wrong["wrong_arm"] == 0.5 and wrong["found"] == 0.5
