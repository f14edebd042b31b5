import functools
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.models.inputs import fields_read
from lob_jax.models.transformer import LOBTransformer
from lob_jax.training.step.layout import make_mesh, replicated, split_over_windows
from lob_jax.training.step.optimizer import make_optimizer, make_schedule
from lob_jax.training.step.shift import join, split
from lob_jax.training.step.state import init_state
from lob_jax.training.step.step import eval_step, jit_eval_step, jit_train_step, summed_gradients, train_step

TOLERANCE = 1e-5
STEPS = 100


@functools.cache
def compile_step(model, config, devices=1):
    """Return the compiled step over the first devices, and a function that makes a fresh state for it."""
    mesh, optimizer = make_mesh(jax.devices()[:devices]), make_optimizer(config, STEPS)
    step = functools.partial(
        train_step,
        model=LOBTransformer(model),
        optimizer=optimizer,
        schedule=make_schedule(config, STEPS),
        objective=config.objective_of_loss,
        ema_decay=config.ema_decay,
    )
    fresh = functools.partial(init_state, model, optimizer, seed=0, averaged=config.ema_decay is not None)
    compiled = jit_train_step(step, jax.eval_shape(fresh), mesh=mesh)
    return compiled, jax.jit(fresh, out_shardings=replicated(mesh))


def run_steps(model, config, batches, *, micro=8, devices=1):
    """Return the parameters after one step a batch, its windows cut into micro-steps of `micro`, and the metrics."""
    step, fresh = compile_step(model, config, devices)
    sharding = split_over_windows(make_mesh(jax.devices()[:devices]), leading_axes=1)
    state, history = fresh(), []
    for batch in batches:
        state, metrics = step(state, jax.device_put(split(join([batch], fields_read(model)), micro), sharding))
        history.append({name: float(value) for name, value in metrics.items()})
    return jax.tree.map(np.asarray, state.params), history


def assert_close(one, other):
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE, err_msg=jax.tree_util.keystr(path))


@pytest.fixture(scope="module")
def whole(model_config, train_config, windows):
    """Two steps of 8 windows, in one micro-step on one device."""
    batches = [windows(8, seed) for seed in range(2)]
    return batches, *run_steps(model_config(), train_config(), batches)


@pytest.mark.parametrize(
    ("micro", "devices"),
    [(1, 1), pytest.param(2, 1, marks=pytest.mark.slow), pytest.param(8, 8, marks=pytest.mark.slow)],
)
def test_neither_micro_steps_nor_devices_change_the_numbers(model_config, train_config, whole, micro, devices):
    batches, params, history = whole
    assert model_config().dropout > 0
    assert len({batch["scored"][k].sum() for batch in batches for k in range(8)}) > 4  # of unequal weight
    other_params, other_history = run_steps(model_config(), train_config(), batches, micro=micro, devices=devices)
    assert_close(params, other_params)
    for one, other in zip(history, other_history, strict=True):
        assert one == pytest.approx(other, rel=TOLERANCE)


def test_gradients_of_unequal_micro_steps_by_hand(model_config):
    """A model of one table, logits = table[token]: its gradient is softmax minus one-hot, summed over scored tokens."""

    def apply(variables, tokens_BT, conditioning, **_):
        return variables["params"][tokens_BT]

    batch = {
        "tokens": np.array([[[0, 1, 1]], [[0, 2, 0]]], np.int32),
        "scored": np.array([[[False, True, True]], [[False, True, False]]]),
        "example": np.zeros((2, 1), np.int32),
    }
    table = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.2, 0.6, 0.2], [1.0, 1.0, 1.0]]))
    model = types.SimpleNamespace(apply=apply, config=model_config())
    gradients, nll, weight, _ = summed_gradients(table, batch, jax.random.key(0), model=model)
    assert float(weight) == 3
    assert float(nll) == pytest.approx(-np.log(0.25) - np.log(0.6) - np.log(0.25), rel=1e-6)
    # From token 0: once to 1, once to 2; from token 1: once to 1.
    np.testing.assert_allclose(gradients, [[1.0, -0.5, -0.5], [0.2, -0.4, 0.2], [0, 0, 0]], atol=1e-6)


def test_the_loss_is_a_mean_over_scored_tokens(whole):
    batches, _, history = whole
    assert [line["scored"] for line in history] == [batch["scored"][:, 1:].sum() for batch in batches]
    assert history[0]["loss"] == pytest.approx(np.log(40), rel=0.05)  # a fresh model knows nothing
    assert history[0]["perplexity"] == pytest.approx(np.exp(history[0]["loss"]), rel=1e-4)
    assert [line["learning_rate"] for line in history] == pytest.approx([5e-3, 1e-2])


def test_a_step_without_finite_gradient_changes_nothing_and_is_counted(model_config, train_config, windows):
    step, fresh = compile_step(model_config(), train_config())
    state = fresh()
    good = split(join([windows(8)], fields_read(model_config())), 8)
    bad = {**good, "book": np.full_like(good["book"], np.nan)}
    before = jax.tree.map(np.asarray, (state.params, state.opt_state))
    seen = []
    for batch in (bad, bad, good, bad):
        state, metrics = step(state, batch)
        seen.append((int(metrics["skipped"]), int(metrics["skipped_in_row"])))
        assert (float(metrics["update_norm/blocks_0"]) > 0) == (batch is good)
        if len(seen) == 2:
            after = jax.tree.map(np.asarray, (state.params, state.opt_state))
            assert all(map(np.array_equal, jax.tree.leaves(before), jax.tree.leaves(after)))
        if len(seen) == 3:
            assert float(metrics["learning_rate"]) == pytest.approx(5e-3)  # the first update, at the third step
            assert not np.array_equal(before[0]["head"]["bias"], state.params["head"]["bias"])
    assert seen == [(1, 1), (2, 2), (2, 0), (3, 1)]
    assert int(state.step) == 4


def test_the_guard_copies_no_moments(model_config, train_config, windows):
    step, fresh = compile_step(model_config(), train_config())
    batch = split(join([windows(8)], fields_read(model_config())), 8)
    text = step.lower(jax.eval_shape(fresh), batch).compile().as_text()
    assert re.search(r"state_opt_state\w*__embeddings____token____table", text)
    copied = re.findall(r" = \w+\[([\d,]+)\]\S* copy\(%state_opt_state\w+", text)
    assert not copied


def test_a_step_with_nothing_scored_is_finite(model_config, train_config, windows):
    step, fresh = compile_step(model_config(), train_config())
    batch = split(join([windows(8)], fields_read(model_config())), 8)
    _, metrics = step(fresh(), {**batch, "scored": np.zeros_like(batch["scored"])})
    assert float(metrics["loss"]) == float(metrics["gradient_norm"]) == int(metrics["skipped"]) == 0


def test_a_step_is_decided_by_state_and_batch_alone(model_config, train_config, windows):
    step, fresh = compile_step(model_config(), train_config())
    batch = split(join([windows(8)], fields_read(model_config())), 8)
    once, again = (step(fresh(), batch) for _ in range(2))
    assert all(map(np.array_equal, jax.tree.leaves(once), jax.tree.leaves(again)))
    # Dropout is drawn by the step's number and by the number of the window in it.
    state = fresh()
    later = step(state.replace(step=jax.device_put(np.int32(7), state.step.sharding)), batch)
    renumbered = step(fresh(), {**batch, "example": batch["example"] + 8})
    assert len({float(metrics["loss"]) for _, metrics in (once, later, renumbered)}) == 3


def test_the_state_is_given_up(model_config, train_config, windows):
    step, fresh = compile_step(model_config(), train_config())
    state = fresh()
    step(state, split(join([windows(8)], fields_read(model_config())), 8))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))


def test_evaluation_has_no_dropout_and_keeps_the_parameters(model_config, train_config, windows):
    model = model_config()
    state = compile_step(model, train_config())[1]()
    step = functools.partial(eval_step, model=LOBTransformer(model))
    evaluate = jit_eval_step(step, state.params, mesh=make_mesh(jax.devices()[:1]))
    batch = join([windows(8)], fields_read(model))
    sums = [evaluate(state.params, {**batch, "example": batch["example"] + shift}) for shift in (0, 5)]
    assert float(sums[0][0]) == float(sums[1][0])
    assert float(sums[0][1]) == batch["scored"][:, 1:].sum()
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))


def test_weights_scale_a_window_in_evaluation(model_config, train_config, windows):
    model = model_config()
    params = compile_step(model, train_config())[1]().params
    batch = join([windows(8)], fields_read(model))
    evaluate = jax.jit(functools.partial(eval_step, model=LOBTransformer(model)))

    def nll(weight_of_window_3, weight_of_others):
        weights = np.where(np.arange(8) == 3, weight_of_window_3, weight_of_others)[:, None].astype(np.float32)
        return float(evaluate(params, {**batch, "scored": batch["scored"] * weights})[0])

    assert nll(2.0, 1.0) == pytest.approx(nll(1.0, 1.0) + nll(1.0, 0.0), rel=TOLERANCE)


def test_a_rule_is_learnt(model_config, train_config, windows):
    _, history = run_steps(model_config(), train_config(), [windows(8, seed) for seed in range(STEPS)])
    assert history[0]["loss"] > 3.5
    assert history[-1]["loss"] < 2.5


@pytest.mark.slow
def test_bfloat16_computes_with_float32_parameters(model_config, train_config, windows):
    params, history = run_steps(model_config(dtype="bfloat16"), train_config(), [windows(8)])
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    assert history[0]["loss"] == pytest.approx(np.log(40), rel=0.05)


def test_the_schedule_and_the_optimiser_agree(model_config, train_config, whole):
    """The learning rate in the metrics is the one that was applied: the first update of Adam is as long as it."""
    batches, _, _ = whole
    step, fresh = compile_step(model_config(), train_config())
    before = np.asarray(fresh().params["head"]["bias"])
    state, metrics = step(fresh(), split(join([batches[0]], fields_read(model_config())), 8))
    change = np.abs(np.asarray(state.params["head"]["bias"]) - before)
    assert change.max() == pytest.approx(float(metrics["learning_rate"]), rel=1e-3)


@pytest.mark.slow
def test_logits_in_blocks_change_no_numbers(model_config, train_config, whole):
    batches, params, history = whole
    other_params, other_history = run_steps(model_config(), train_config(loss_block=5), batches)
    assert_close(params, other_params)
    assert [line["loss"] for line in other_history] == pytest.approx([line["loss"] for line in history], rel=TOLERANCE)


@pytest.mark.slow
def test_float16_learns_behind_its_scale(model_config, train_config, windows):
    batches = [windows(8, seed) for seed in range(40)]
    params, history = run_steps(model_config(dtype="float16"), train_config(), batches)
    _, expected = run_steps(model_config(), train_config(), batches)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    assert history[0]["loss_scale"] == 2.0**15
    assert history[0]["skipped"] == 0
    assert history[0]["loss"] == pytest.approx(expected[0]["loss"], rel=1e-3)
    assert history[0]["gradient_norm"] == pytest.approx(expected[0]["gradient_norm"], rel=1e-2)  # scaled back
    assert history[-1]["loss"] == pytest.approx(expected[-1]["loss"], rel=0.03)
    assert history[-1]["skipped"] <= 2


@pytest.mark.slow
def test_a_float16_step_without_finite_gradient_halves_the_scale(model_config, train_config, windows):
    model = model_config(dtype="float16")
    step, fresh = compile_step(model, train_config())
    good = split(join([windows(8)], fields_read(model)), 8)
    state, metrics = step(fresh(), {**good, "book": np.full_like(good["book"], np.inf)})
    assert (int(metrics["skipped"]), float(state.loss_scale.scale)) == (1, 2.0**14)


@pytest.mark.slow
def test_the_average_follows_the_parameters(model_config, train_config, windows):
    """By hand: after update u (from 0) the average keeps min(decay, (1 + u) / (10 + u)) of itself."""
    step, fresh = compile_step(model_config(), train_config(ema_decay=0.15))
    state = fresh()
    average, batch = np.asarray(state.params["head"]["bias"]), split(join([windows(8)], fields_read(model_config())), 8)
    for kept in (0.1, 0.15, 0.15):
        state, _ = step(state, batch)
        average = kept * average + (1 - kept) * np.asarray(state.params["head"]["bias"])
        np.testing.assert_allclose(state.average["head"]["bias"], average, rtol=1e-5, atol=1e-7)
    assert state.judged is state.average
    assert fresh().replace(average=None).judged is not None


def test_norms_by_group_add_up(model_config, train_config, whole):
    _, params, history = whole
    groups = [history[-1][f"parameter_norm/{group}"] for group in ("embeddings", "blocks_0", "norm", "head")]
    squares = sum(float(np.square(leaf.astype(np.float64)).sum()) for leaf in jax.tree.leaves(params))
    assert np.square(groups).sum() == pytest.approx(squares, rel=1e-5)
    assert 0 < history[-1]["update_norm/blocks_0"] < history[-1]["parameter_norm/blocks_0"]


@pytest.mark.slow
def test_muon_learns_the_rule(model_config, train_config, windows):
    _, history = run_steps(model_config(), train_config(optimizer="muon"), [windows(8, seed) for seed in range(STEPS)])
    assert history[0]["loss"] > 3.5
    assert history[-1]["loss"] < 2.5
