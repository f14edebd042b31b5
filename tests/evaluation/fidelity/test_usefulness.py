"""Predictors trained on generated flow: inputs by hand, fits at their minimum, scores by definition."""

import io
import json

import numpy as np
import pytest
import scipy.special
from rich.console import Console

from lob_jax.evaluation.direction.scores import decision_scores
from lob_jax.evaluation.fidelity import usefulness
from lob_jax.evaluation.fidelity.usefulness import Examples, examples_of, fit, measure_usefulness, usefulness_table
from lob_jax.statistics.flow_series import mid_ticks
from tests.made_flow import made_flow, random_flow


def drawn(seed, *, signal=1.0, sequences=10, length=80):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(sequences * length, 4)) * [1, 10, 1, 0] + [0, 5, 0, 2]
    move = np.round(signal * (inputs[:, 0] + 0.1 * (inputs[:, 1] - 5)) + rng.normal(size=len(inputs)))
    return Examples(inputs, move, np.repeat(np.arange(sequences), length))


def test_examples_look_back_and_ahead_within_a_sequence():
    flow = random_flow(0, sequences=3, length=60)
    examples, mid = examples_of(flow, horizon=5), mid_ticks(flow)
    past = usefulness.PAST[-1]
    rows = np.concatenate([np.arange(a + past, b - 5) for a, b in zip(flow.edges[:-1], flow.edges[1:], strict=True)])
    np.testing.assert_array_equal(examples.move, mid[rows + 5] - mid[rows])
    np.testing.assert_array_equal(examples.sequence, flow.sequence()[rows])
    best = flow.book_size[rows, :, 0]
    np.testing.assert_allclose(examples.inputs[:, 0], (best[:, 0] - best[:, 1]) / best.sum(axis=1))
    move = mid[rows] - mid[rows - 2]
    np.testing.assert_allclose(examples.inputs[:, 8], np.sign(move) * np.log1p(np.abs(move)))


def test_pressure_counts_the_last_messages():
    messages = [(0, 1, 1 if i % 3 else -1, 99, 1, 1) for i in range(40)]
    examples = examples_of(made_flow(messages), horizon=1)
    at = 3 + 5 * usefulness.PAST.index(5) + 2  # adds of the last five messages
    expected = [sum(1 if j % 3 else -1 for j in range(i - 4, i + 1)) for i in range(20, 39)]
    assert examples.inputs[:, at].tolist() == expected


def test_no_input_reads_what_comes_later():
    flow = random_flow(1, sequences=1, length=80)
    later = random_flow(1, sequences=1, length=80)
    later.book_price[40:] += 7
    later.kind[40:] = 1
    one, other = examples_of(flow, horizon=1), examples_of(later, horizon=1)
    np.testing.assert_array_equal(one.inputs[:20], other.inputs[:20])  # messages 20 to 39
    assert (one.inputs[20:] != other.inputs[20:]).any()


def test_fits_are_at_their_minimum():
    examples = drawn(0)
    predictor = fit(examples)
    inputs = usefulness._standardised(examples.inputs, predictor.centre, predictor.scale)
    label = usefulness.direction(examples.move)
    weight = (1 / np.bincount(label) / 3)[label]
    error = (scipy.special.softmax(inputs @ predictor.direction, axis=1) - np.eye(3)[label]) * weight[:, None]
    np.testing.assert_allclose(inputs.T @ error + usefulness.PENALTY * predictor.direction, 0, atol=1e-3)
    residual = np.clip(inputs @ predictor.move - examples.move, -1, 1)
    np.testing.assert_allclose(inputs.T @ residual / len(residual) + usefulness.PENALTY * predictor.move, 0, atol=1e-3)


def test_a_signal_is_learnt_and_its_absence_is_not():
    for signal, low, high in ((1.0, 0.55, 0.8), (0.0, 0.2, 0.42)):
        total = usefulness.tested(fit(drawn(0, signal=signal)), drawn(1, signal=signal), 10).sum(axis=0)
        assert low < usefulness.scores(total[None])["macro_f1"][0] < high


def test_scores_of_a_confusion_matrix():
    rng = np.random.default_rng(0)
    label, said = rng.integers(0, 3, 200), rng.integers(0, 3, 200)
    confusion = np.zeros((3, 3))
    np.add.at(confusion, (label, said), 1)
    found = usefulness.scores(np.concatenate([confusion.ravel(), [50.0, 200.0]])[None])
    assert found["macro_f1"][0] == pytest.approx(decision_scores(said, label)["macro_f1"])
    true, guess = (np.eye(3)[classes] - np.eye(3)[classes].mean(axis=0) for classes in (label, said))
    expected = (true * guess).sum() / np.sqrt((true**2).sum() * (guess**2).sum())  # Gorodkin, 2004
    assert found["mcc"][0] == pytest.approx(expected)
    assert found["mae"][0] == 0.25
    perfect = usefulness.scores(np.array([[3.0, 0, 0, 0, 5, 0, 0, 0, 2, 0, 10]]))
    assert perfect["macro_f1"][0] == perfect["mcc"][0] == 1


@pytest.fixture(scope="module")
def measured():
    """Real flow whose larger side at the best foretells the mid, and flows without that."""

    def telling(seed, sign):
        flow = random_flow(seed, sequences=12, calm=0.3)
        step = np.append(np.diff(flow.book_price[:, 0, 0]), 0)
        flow.book_size[:, 0, 0] = np.where(sign * step > 0, 400, 100)
        flow.book_size[:, 1, 0] = np.where(sign * step < 0, 400, 100)
        return flow

    real = telling(0, 1)
    flows = {"same": real, "alike": telling(1, 1), "reversed": telling(2, -1), "few": telling(3, 1).select([0, 1])}
    return measure_usefulness(real, flows, horizon=1, draws=100)


def test_the_same_flow_is_as_useful(measured):
    same, real = measured["flows"]["same"], measured["flows"]["real"]
    assert all(same[score]["difference"] == 0 and same[score]["value"] == real[score]["value"] for score in real)


def test_wrong_flow_is_less_useful(measured):
    flows = measured["flows"]
    assert flows["real"]["macro_f1"]["value"] > 0.6
    assert abs(flows["alike"]["macro_f1"]["difference"]) < 0.1
    assert flows["reversed"]["macro_f1"]["difference_high"] < -0.2 and flows["reversed"]["mcc"]["value"] < 0
    assert flows["reversed"]["mae"]["difference_low"] > 0
    assert flows["few"]["macro_f1"]["value"] is None


FLOWS = {"no messages": made_flow([]), "no sequence": made_flow(), "short": random_flow(0, length=10)}


@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_has_scores_or_none(name):
    for real, other in ((random_flow(5), FLOWS[name]), (FLOWS[name], random_flow(5))):
        result = measure_usefulness(real, {"g": other}, draws=5)
        json.dumps(result, allow_nan=False)
        console = Console(width=100, record=True, file=io.StringIO())
        console.print(usefulness_table(result))
        assert "n/a" in console.export_text()


def test_no_predictor_is_tested_on_what_it_was_fitted_on(monkeypatch):
    fitted, tested = [], []
    monkeypatch.setattr(usefulness, "fit", lambda examples: fitted.append(set(examples.sequence.tolist())))
    monkeypatch.setattr(
        usefulness,
        "tested",
        lambda _, examples, sequences: tested.append(set(examples.sequence.tolist())) or np.zeros((sequences, 11)),
    )
    measure_usefulness(random_flow(8, sequences=14), {"paired": random_flow(9, sequences=14)}, draws=2)
    assert len(fitted) == len(tested) == 4
    for one, other in zip(fitted, tested, strict=True):
        assert len(one) == len(other) == 7 and not one & other


def test_the_seed_decides():
    flows = random_flow(6), random_flow(7, sequences=15)
    results = [measure_usefulness(flows[0], {"g": flows[1]}, draws=5, seed=seed) for seed in (0, 0, 1)]
    assert results[0] == results[1] != results[2]
