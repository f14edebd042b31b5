import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lob_jax.models.transformer import LOBTransformer
from lob_jax.training.optimizer import make_optimizer, make_schedule
from lob_jax.training.shift import fields_read, join, split
from lob_jax.training.state import init_state
from lob_jax.training.step import (
    eval_step,
    jit_train_step,
    make_mesh,
    replicated,
    split_over_data,
    summed_gradients,
    train_step,
)

TOLERANCE = 1e-5


def fresh_state(model, optimizer):
    return jax.jit(lambda: init_state(model, optimizer, seed=0))()


def compile_step(model, config, *, devices=1):
    """Return a fresh state and the compiled step over the first devices."""
    mesh = make_mesh(jax.devices()[:devices])
    optimizer, schedule = make_optimizer(config, 12), make_schedule(config, 12)
    state = jax.device_put(fresh_state(model, optimizer), replicated(mesh))
    return state, jit_train_step(LOBTransformer(model), optimizer, schedule, mesh=mesh)


def run_steps(model, config, batches, *, micro, devices=1):
    """Return parameters and metrics after one step a batch, the windows cut into micro-steps of `micro`."""
    state, step = compile_step(model, config, devices=devices)
    sharding = split_over_data(make_mesh(jax.devices()[:devices]), leading_axes=1)
    history = []
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
    return batches, *run_steps(model_config(), train_config(), batches, micro=8)


@pytest.mark.parametrize(("micro", "devices"), [(1, 1), (2, 1), (8, 8)])
def test_neither_micro_steps_nor_devices_change_the_numbers(model_config, train_config, whole, micro, devices):
    batches, params, history = whole
    assert model_config().dropout > 0
    assert len({tuple(row) for row in np.concatenate([batch["scored"] for batch in batches])}) > 4
    other_params, other_history = run_steps(model_config(), train_config(), batches, micro=micro, devices=devices)
    assert_close(params, other_params)
    for one, other in zip(history, other_history, strict=True):
        assert one == pytest.approx(other, rel=TOLERANCE)


def test_gradients_are_those_of_the_sums_by_token(model_config, windows):
    """The gradients of a scan over micro-steps are the sum of each window's own."""
    config = model_config(dropout=0.0)
    model, params = LOBTransformer(config), fresh_state(config, optax.identity()).params
    batch = join([windows(4)], fields_read(config))
    gradients, nll, weight = jax.jit(functools.partial(summed_gradients, model=model))(
        params, split(batch, 2), jax.random.key(0)
    )
    one_by_one = jax.jit(jax.value_and_grad(functools.partial(eval_step, model=model), has_aux=True))
    parts = [one_by_one(params, {name: leaf[k : k + 1] for name, leaf in batch.items()}) for k in range(4)]
    assert float(weight) == batch["scored"][:, 1:].sum()
    assert float(nll) == pytest.approx(sum(float(part[0][0]) for part in parts), rel=TOLERANCE)
    assert_close(gradients, jax.tree.map(lambda *leaves: sum(leaves), *(part[1] for part in parts)))


def test_the_loss_is_a_mean_over_scored_tokens(whole):
    batches, _, history = whole
    assert [line["scored"] for line in history] == [batch["scored"][:, 1:].sum() for batch in batches]
    assert history[0]["loss"] == pytest.approx(np.log(40), rel=0.05)  # a fresh model knows nothing
    assert history[0]["perplexity"] == pytest.approx(np.exp(history[0]["loss"]), rel=1e-4)
    assert [line["learning_rate"] for line in history] == pytest.approx([5e-3, 1e-2])


def test_a_step_without_finite_gradient_changes_nothing_and_is_counted(model_config, train_config, windows):
    model = model_config()
    state, step = compile_step(model, train_config())
    good = split(join([windows(8)], fields_read(model)), 8)
    bad = {**good, "book": np.full_like(good["book"], np.nan)}
    before = jax.tree.map(np.asarray, (state.params, state.opt_state))
    seen = []
    for batch in (bad, bad, good, bad):
        state, metrics = step(state, batch)
        seen.append((int(metrics["skipped"]), int(metrics["skipped_in_row"])))
        if len(seen) == 2:
            after = jax.tree.map(np.asarray, (state.params, state.opt_state))
            assert all(map(np.array_equal, jax.tree.leaves(before), jax.tree.leaves(after)))
        if len(seen) == 3:
            assert float(metrics["learning_rate"]) == pytest.approx(5e-3)  # the first update, at the third step
            assert not np.array_equal(before[0]["head"]["bias"], state.params["head"]["bias"])
    assert seen == [(1, 1), (2, 2), (2, 0), (3, 1)]
    assert int(state.step) == 4


def test_a_step_with_nothing_scored_is_finite(model_config, train_config, windows):
    model = model_config()
    state, step = compile_step(model, train_config())
    batch = split(join([windows(8)], fields_read(model)), 8)
    state, metrics = step(state, {**batch, "scored": np.zeros_like(batch["scored"])})
    assert float(metrics["loss"]) == float(metrics["gradient_norm"]) == int(metrics["skipped"]) == 0


def test_dropout_differs_from_step_to_step_and_is_off_in_evaluation(model_config, train_config, windows):
    model = model_config()
    batch = join([windows(8)], fields_read(model))
    config = train_config(learning_rate=1e-30)  # the parameters stand still
    state, step = compile_step(model, config)
    params = jax.tree.map(np.asarray, state.params)
    losses = []
    for _ in range(2):
        state, metrics = step(state, split(batch, 8))
        losses.append(float(metrics["loss"]))
    assert losses[0] != losses[1]
    evaluate = jax.jit(functools.partial(eval_step, model=LOBTransformer(model)))
    renumbered = {**batch, "example": batch["example"] + 5}
    assert float(evaluate(params, batch)[0]) == float(evaluate(params, renumbered)[0])


def test_the_step_is_pure(model_config, train_config, windows):
    model, config = model_config(), train_config()
    optimizer = make_optimizer(config, 12)
    step = functools.partial(
        train_step, model=LOBTransformer(model), optimizer=optimizer, schedule=make_schedule(config, 12)
    )
    state, batch = fresh_state(model, optimizer), split(join([windows(8)], fields_read(model)), 4)
    jaxpr = str(jax.make_jaxpr(step)(state, batch))
    assert "callback" not in jaxpr
    compiled = jax.jit(step)  # nothing is donated here, so that the same state can be used twice
    once, again = compiled(state, batch), compiled(state, batch)
    assert all(map(np.array_equal, jax.tree.leaves(once), jax.tree.leaves(again)))


def test_a_rule_is_learnt(model_config, train_config, windows):
    config = train_config(learning_rate=2e-2)
    model = model_config(dropout=0.0)
    _, history = run_steps(model, config, [windows(32, seed) for seed in range(12)] * 4, micro=32)
    assert history[0]["loss"] > 3.5
    assert history[-1]["loss"] < 1.5


def test_bfloat16_computes_with_float32_parameters(model_config, train_config, windows):
    model = model_config(dtype="bfloat16")
    params, history = run_steps(model, train_config(), [windows(8)], micro=8)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    assert history[0]["loss"] == pytest.approx(np.log(40), rel=0.05)
