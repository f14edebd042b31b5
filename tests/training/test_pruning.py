"""Importance is the first-order effect of a gate on the loss, measured window by window."""

import dataclasses

import jax
import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.models.inputs import fields_read
from lob_jax.models.pruning import units_of, with_gates
from lob_jax.models.transformer import LOBTransformer
from lob_jax.training.pruning import PruneConfig, importance, kept_counts
from lob_jax.training.step.parts import summed_loss
from lob_jax.training.step.shift import join
from lob_jax.training.step.state import abstract_params

STEP = 1e-3


@pytest.fixture(scope="module")
def model(model_config):
    return model_config(n_layers=2, n_heads=4, d_ff=6)


@pytest.fixture(scope="module")
def params(model):
    """Return parameters with which every unit matters, except for one head of the last layer."""
    random, shapes = np.random.default_rng(0), abstract_params(model)
    drawn = jax.tree.map(lambda leaf: random.normal(0, 0.2, leaf.shape).astype(leaf.dtype), shapes)
    drawn["blocks_1"]["attention"]["output"]["kernel"][2] = 0
    return drawn


@pytest.fixture(scope="module")
def found(model, params, windows):
    return importance(params, [windows(3), windows(2, seed=1)], model=LOBTransformer(model))


def test_importance_is_the_slope_of_the_loss_of_each_window(found, model, params, windows):
    """Differences are those of float64: in float32, they would be rounded by as much as the smaller ones are."""
    network = LOBTransformer(dataclasses.replace(model, dtype="float64"))
    windows = join([windows(3), windows(2, seed=1)], fields_read(model))
    each = [{name: leaf[at : at + 1] for name, leaf in windows.items()} for at in range(5)]
    ones = {name: np.ones((2, units)) for name, units in units_of(model).items()}
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda leaf: leaf.astype(np.float64), params)
        loss = jax.jit(lambda gates, window: summed_loss(with_gates(exact, gates), window, None, model=network)[:2])
        scored = sum(float(loss(ones, window)[1]) for window in each)
        for name, layer, unit in [("attention", 0, 1), ("attention", 1, 3), ("ffn", 0, 5), ("ffn", 1, 0)]:
            change = np.zeros_like(ones[name])
            change[layer, unit] = STEP
            up, down = ({**ones, name: gate} for gate in (ones[name] + change, ones[name] - change))
            slopes = [float(loss(up, window)[0] - loss(down, window)[0]) / (2 * STEP) for window in each]
            assert found[name][layer, unit] == pytest.approx(np.abs(slopes).sum() / scored, rel=0.001)
    assert found["ffn"].shape == (2, 6) and (found["ffn"] > 0).all()


def test_a_unit_that_adds_nothing_has_no_importance(found):
    assert found["attention"][1, 2] == 0 and (found["attention"] > 0).sum() == 7


def test_layers_of_a_scan_have_the_same_importance(found, model, params, windows):
    stacked = {name: part for name, part in params.items() if not name.startswith("blocks")}
    stacked["blocks"] = jax.tree.map(lambda *layers: np.stack(layers), params["blocks_0"], params["blocks_1"])
    network = LOBTransformer(dataclasses.replace(model, scan_layers=True))
    again = importance(stacked, [windows(3), windows(2, seed=1)], model=network)
    for name, score in found.items():
        np.testing.assert_allclose(again[name], score, rtol=1e-4, atol=1e-7)


def settings(**changes):
    return PruneConfig(**{"into": "x", "heads": 0.25, "columns": 0.25, "windows": 2, **changes})


def test_shares_are_rounded_to_whole_units(model_config):
    counts = [kept_counts(model_config(n_heads=heads, head_size=8, d_ff=6), settings()) for heads in (2, 4, 6, 9)]
    assert counts == [(1, 4), (3, 4), (4, 4), (7, 4)]  # a half goes: of two heads one, of six two; of six columns two
    assert kept_counts(model_config(), settings(heads=0.0)) == (2, 24)
    of = dataclasses.replace(model_config().attention, kind="multi_scale", horizons=("1 event", "all"))
    assert kept_counts(model_config(n_heads=8, attention=of), settings(heads=0.3))[0] == 6


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"heads": 0.2}, "removes none of the heads.*0 or a share from 0.25 to below 0.75.*2 heads"),
        ({"heads": 0.8}, "removes all of the heads"),
        ({"columns": 0.01}, "removes none of the columns"),
        ({"heads": 0.0, "columns": 0.0}, "nothing to remove"),
    ],
)
def test_a_share_that_is_no_pruning_is_refused(changes, told, model_config):
    with pytest.raises(InputError, match=f"(?s){told}"):
        kept_counts(model_config(), settings(**changes))


def test_each_of_the_horizons_keeps_a_head(model_config):
    of = dataclasses.replace(model_config().attention, kind="multi_scale", horizons=("1 event", "all"))
    with pytest.raises(InputError, match=r"(?s)expected: 0: each block has 2 heads with 2 roles"):
        kept_counts(model_config(attention=of), settings(heads=0.5))


@pytest.mark.parametrize("changes", [{"heads": 1.0}, {"columns": -0.1}, {"windows": 0}])
def test_values_out_of_range_are_refused(changes):
    with pytest.raises(InputError, match=f"config.prune.{next(iter(changes))}"):
        settings(**changes)
