"""The predictive score: windows by hand, what trains and what tests, and a signal that is learnt."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from lob_jax.evaluation.fidelity.networks import predictor
from lob_jax.evaluation.fidelity.networks.predictor import (
    PredictorConfig,
    Windows,
    predictive_score,
    predictor_table,
    windows_of,
)
from tests.made_flow import made_flow, random_flow

SMALL = PredictorConfig(units=(8, 8), horizons=(1,), learning_rate=3e-2, batch_size=4, epochs=25)


def test_windows_by_hand():
    books = [([(99, 5)], [(101, 15)]), ([(100, 5)], [(102, 5)]), ([], [(102, 5)]), ([(103, 5)], [(105, 5)])]
    flow = made_flow([(0, 1, 1, 98, 5, 1)] * 4, [(0, 1, 1, 98, 5, 1)], books=[*books, books[0]])
    windows = windows_of(flow, horizons=(1, 3), steps=5)
    assert windows.inputs.shape == (2, 5, 5) and not windows.inputs[1, 1:].any()
    np.testing.assert_allclose(windows.inputs[0, 0, 3:], [-0.5, np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(windows.inputs[0, 2, 3:], [-1, 0])  # no bid: the spread is not known
    nan = np.nan
    np.testing.assert_array_equal(windows.move[0, :, 0], [1, nan, nan, nan, nan])
    np.testing.assert_array_equal(windows.move[0, :, 1], [4, nan, nan, nan, nan])
    assert np.isnan(windows.move[1]).all()
    assert windows_of(flow, horizons=(1, 3), steps=2).move.shape == (2, 2, 2)


def test_errors_are_those_of_known_moves(monkeypatch):
    monkeypatch.setattr(predictor, "_moves", lambda config, params, inputs: np.full((*inputs.shape[:2], 2), 0.5))
    move = np.array([[[1.0, np.nan], [-0.5, 0.5]], [[np.nan, 2.5], [np.nan, np.nan]]], np.float32)
    fitted = predictor.Fitted(None, np.zeros(5, np.float32), np.ones(5, np.float32))
    found = predictor.tested(fitted, Windows(np.zeros((2, 2, 5), np.float32), move), PredictorConfig())
    assert found.tolist() == [[1.5, 0, 2, 1], [0, 2, 0, 1]]
    errors = predictor._errors(found.sum(axis=0, keepdims=True), horizons=(1, 10))
    assert {name: value.tolist() for name, value in errors.items()} == {"1": [0.75], "10": [1.0]}


def test_no_network_is_tested_on_what_trained_it(monkeypatch):
    """Windows are known by their first input, the number of their sequence."""
    fitted, tested = [], []
    numbered = Windows(np.arange(14.0)[:, None, None] * np.ones((1, 2, 5)), np.ones((14, 2, 1)))
    monkeypatch.setattr(predictor, "windows_of", lambda flow, **_: numbered)
    monkeypatch.setattr(predictor, "fit", lambda windows, *_, **__: fitted.append({*windows.inputs[:, 0, 0]}))
    monkeypatch.setattr(
        predictor,
        "tested",
        lambda _, windows, __: tested.append({*windows.inputs[:, 0, 0]}) or np.ones((len(windows.inputs), 2)),
    )
    flows = random_flow(8, sequences=14), {"paired": random_flow(9, sequences=14)}
    result = predictive_score(*flows, config=SMALL, draws=2)
    assert len(fitted) == len(tested) == 4
    for one, other in zip(fitted, tested, strict=True):
        assert len(one) == len(other) == 7 and not one & other
    assert result["flows"]["paired"]["1"]["value"] == 1 and result["flows"]["paired"]["1"]["difference"] == 0


def test_too_few_sequences_or_none_have_no_score():
    for real, other in ((random_flow(0, sequences=2, length=20), random_flow(1)), (made_flow(), made_flow([]))):
        result = predictive_score(real, {"g": other}, config=SMALL, steps=20, draws=2)
        json.dumps(result, allow_nan=False)
        assert {row["1"]["value"] for row in result["flows"].values()} == {None}


def telling(seed, sign=1):
    """Return flow whose larger side at the best foretells the next move of the mid."""
    flow = random_flow(seed, sequences=16, length=40, calm=0.3)
    step = np.append(np.diff(flow.book_price[:, 0, 0]), 0)
    flow.book_price[:, 1] = flow.book_price[:, 0] + 2  # the mid moves with the bid
    flow.book_size[:, 0, 0] = np.where(sign * step > 0, 400, 100)
    flow.book_size[:, 1, 0] = np.where(sign * step < 0, 400, 100)
    return flow


@pytest.mark.slow
def test_a_signal_is_learnt_and_its_reverse_is_no_use():
    real, flows = telling(0), {"alike": telling(1), "reversed": telling(2, -1)}
    result = predictive_score(real, flows, config=SMALL, steps=40, draws=100)
    found = {name: flow["1"] for name, flow in result["flows"].items()}
    assert found["real"]["value"] < 0.6 * result["unchanged"][0] and found["real"]["low"] < found["real"]["value"]
    assert abs(found["alike"]["difference"]) < 0.3 * result["unchanged"][0]
    assert found["reversed"]["difference_low"] > 0
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(predictor_table(result))
    assert "reversed" in (text := console.export_text()) and "…" not in text
    again = predictive_score(real, {"alike": flows["alike"]}, config=SMALL, steps=40, draws=100)
    assert again["flows"]["alike"] == result["flows"]["alike"]
