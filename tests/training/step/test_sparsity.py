"""Pruning while training: the cubic schedule, which weights become zero, and that they stay so."""

import functools

import jax
import numpy as np
import pytest

from lob_jax.models.transformer import LOBTransformer
from lob_jax.training.run.checkpoint import read_metas
from lob_jax.training.run.loop import train
from lob_jax.training.step.optimizer import make_optimizer, make_schedule
from lob_jax.training.step.shift import join, split
from lob_jax.training.step.sparsity import (
    Sparsity,
    is_pruned,
    make_sparsity,
    measured_with,
    where_nonzero,
    zero_share,
    zeros_of,
)
from lob_jax.training.step.state import abstract_params, init_state
from lob_jax.training.step.step import train_step

CUBIC = Sparsity(share=0.8, first=2, last=10, every=4)
PRUNING = {"sparsity": 0.5, "sparsity_start": 0.25, "sparsity_end": 0.5, "sparsity_every": 2}  # from step 3 to 6 of 12


prune = jax.jit(lambda params, count: CUBIC.pruned(params, count))


def start(model, seed=0):
    """Return parameters of a model, drawn without compiling anything."""
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: random.normal(size=leaf.shape).astype(leaf.dtype), abstract_params(model))


def zero(params):
    """Return where the weights of matrices are zero, and nothing of other parameters."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path): np.asarray(leaf) == 0 for path, leaf in leaves if is_pruned(path)}


def test_the_share_of_zeros_grows_by_the_cubic_schedule():
    assert [round(float(CUBIC.share_after(t)), 6) for t in (0, 2, 4, 6, 10, 99)] == [0, 0, 0.4625, 0.7, 0.8, 0.8]
    assert [t for t in range(15) if CUBIC.is_due(t)] == [2, 6, 10]
    assert [t for t in range(15) if Sparsity(0.8, 2, 9, 4).is_due(t)] == [2, 6, 9]


def test_a_run_has_the_schedule_of_its_steps(train_config):
    assert make_sparsity(train_config(), 100) is None
    assert make_sparsity(train_config(**PRUNING), 12) == Sparsity(share=0.5, first=3, last=6, every=2)


def test_the_smallest_weights_of_each_matrix_become_zero(model_config):
    model = model_config(tie_embeddings=False, n_layers=2)
    params = start(model)
    pruned = prune(params, 6)
    before, after = (dict(jax.tree_util.tree_leaves_with_path(tree)) for tree in (params, pruned))
    names = set()
    for path, leaf in after.items():
        if not is_pruned(path):
            np.testing.assert_array_equal(leaf, before[path])
            continue
        names.add("/".join(entry.key for entry in path[-2:]))
        gone = np.asarray(leaf) == 0
        assert gone.sum() == int(np.float32(0.7) * leaf.size)
        assert np.abs(before[path])[gone].max() < np.abs(before[path])[~gone].min()
        np.testing.assert_array_equal(np.asarray(leaf)[~gone], np.asarray(before[path])[~gone])
    assert names == {"qkv/kernel", "output/kernel", "widen/kernel", "narrow/kernel", "head/output"}
    for count in (5, 11):
        assert jax.tree.all(jax.tree.map(np.array_equal, prune(params, count), params))
    assert zeros_of(params).zeros == 0


def test_each_matrix_of_stacked_layers_is_pruned_by_itself(model_config):
    params = start(model_config(n_layers=2))
    params["blocks_1"] = jax.tree.map(lambda leaf: 10 * leaf, params["blocks_1"])
    layers = [params["blocks_0"], params["blocks_1"]]
    stacked = prune({"blocks": jax.tree.map(lambda *leaves: np.stack(leaves), *layers)}, 6)["blocks"]
    for layer in range(2):
        alone = prune({f"blocks_{layer}": layers[layer]}, 6)[f"blocks_{layer}"]
        assert jax.tree.all(jax.tree.map(lambda leaf, one, at=layer: np.array_equal(leaf[at], one), stacked, alone))


def test_zeros_are_counted(model_config):
    params = start(model_config())
    matrices = 16 * 48 + 16 * 16 + 2 * 16 * 32
    found = zeros_of(jax.jit(Sparsity(0.25, 0, 1, 1).pruned)(params, 1))
    assert (found.zeros, found.weights, found.share) == (matrices // 4, matrices, 0.25)
    assert found.compressed_bytes == 4 * (found.parameters - matrices // 4) + matrices // 8
    assert found.told().startswith("25.0% of the 2,048 weights of matrices are zero")


def test_losses_at_other_shares_of_zeros_are_not_compared():
    assert measured_with("abc", None, 8) == measured_with("abc", CUBIC, None) == measured_with("abc", CUBIC, 2) == "abc"
    at = [measured_with("abc", CUBIC, step) for step in (4, 6, 10, 12)]
    assert len(set(at)) == 3 and at[2] == at[3] == "abc, 0.8000 zeros"


@pytest.fixture(scope="module")
def steps(model_config, train_config, windows):
    """Twelve steps with an average: the parameters, averages and metrics after each."""
    model, config = model_config(), train_config(**PRUNING, ema_decay=0.9)
    optimizer = make_optimizer(config, 12)
    step = jax.jit(
        functools.partial(
            train_step,
            model=LOBTransformer(model),
            optimizer=optimizer,
            schedule=make_schedule(config, 12),
            ema_decay=0.9,
            sparsity=make_sparsity(config, 12),
        )
    )
    state, after = jax.jit(functools.partial(init_state, model, optimizer, seed=0, averaged=True))(), []
    for seed in range(12):
        state, metrics = step(state, split(join([windows(8, seed)], tuple(windows(1))), 8))
        after.append((state.params, state.average, metrics))
    return after


def test_zeros_stay_zero_while_the_rest_is_trained(steps):
    shares = [float(metrics["zeros"]) for _, _, metrics in steps]
    assert shares[:4] == [0] * 4 and shares[4:] == sorted(shares[4:]) and shares[5:] == [0.5] * 7
    for (one, _, _), (next_one, average, _) in zip(steps, steps[1:], strict=False):
        for name, gone in zero(one).items():
            assert zero(next_one)[name][gone].all()
        assert all(map(np.array_equal, zero(next_one).values(), zero(average).values()))
    trained = [np.asarray(params["blocks_0"]["ffn"]["widen"]["kernel"]) for params, _, _ in steps[-2:]]
    assert (trained[0] != trained[1])[trained[0] != 0].mean() > 0.9


def test_a_zero_weight_has_no_gradient(model_config):
    params = start(model_config())
    ones = jax.tree.map(np.ones_like, params)
    found = where_nonzero(ones, prune(params, 10))
    assert float(zero_share(found)) == pytest.approx(0.8, abs=0.002)
    np.testing.assert_array_equal(found["embeddings"]["token"]["table"], 1)
    np.testing.assert_array_equal(found["blocks_0"]["ffn"]["widen"]["bias"], 1)


@pytest.mark.slow
def test_a_resumed_run_has_the_same_zeros(model_config, train_config, training_data, tmp_path):
    """The best checkpoint is among those with all zeros, even if one with fewer had a lower loss."""

    def run(folder):
        seen = {}
        train(
            model_config(),
            train_config(**PRUNING),
            training_data(),
            seed=0,
            folder=folder,
            settings={},
            devices=jax.devices()[:1],
            on_validation=lambda step, loss, params: seen.update({step: (loss, jax.tree.map(np.array, params))}),
        )
        return seen

    whole = run(tmp_path / "run")
    metas = read_metas(tmp_path / "run" / "checkpoints")
    assert [round(zeros_of(whole[step][1]).share, 3) for step in (4, 8, 12)] == [0.0, 0.5, 0.5]
    assert metas[12].early_stopping["best_step"] in (8, 12)
    (tmp_path / "run" / "checkpoints" / "12").rename(tmp_path / "12")
    again = run(tmp_path / "run")
    assert list(again) == [12] and again[12][0] == whole[12][0]
    assert jax.tree.all(jax.tree.map(np.array_equal, again[12][1], whole[12][1]))
    assert read_metas(tmp_path / "run" / "checkpoints")[12].early_stopping == metas[12].early_stopping
