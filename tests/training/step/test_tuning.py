"""What is trained moves, and nothing else; a model with additions is the sum of its parts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lob_jax.errors import InputError
from lob_jax.models.transformer import LOBTransformer
from lob_jax.training.run.setup import compiled, place_step, prepare_run, state_with
from lob_jax.training.step.lora import A, B
from lob_jax.training.step.optimizer import make_optimizer, make_schedule, rate_factor
from lob_jax.training.step.paths import by_path, matching
from lob_jax.training.step.sparsity import make_sparsity
from lob_jax.training.step.state import abstract_params, init_state
from lob_jax.training.step.step import summed_gradients, train_step
from lob_jax.training.step.tuning import EVERYTHING, Tuning, make_tuning, trained_count

INIT = {"init": "run", "lora_rank": 2, "lora_alpha": 8.0, "lora_targets": ("*/qkv/*", "*/widen/*")}
FROZEN = ("embeddings/*", "*/attention/*")


@pytest.fixture
def trained(model_config, train_config, windows):
    """Return a function: the states of a run before and after a few steps, its tuning and its metrics."""

    def of(steps=2, model=None, **changes):
        changes = {"warmup_steps": 0, "weight_decay": 0.1, "learning_rate": 0.01, **changes}
        model, config = model or model_config(), train_config(**changes)
        optimizer = make_optimizer(config, 10, layers=model.n_layers)
        tuning = make_tuning(config, abstract_params(model))
        step = jax.jit(
            functools.partial(
                train_step,
                model=LOBTransformer(model),
                optimizer=optimizer,
                schedule=make_schedule(config, 10),
                ema_decay=config.ema_decay,
                sparsity=make_sparsity(config, 10),
                tuning=tuning,
            )
        )
        averaged = config.ema_decay is not None
        state = first = jax.jit(lambda: init_state(model, optimizer, seed=0, averaged=averaged, tuning=tuning))()
        metrics = {}
        for number in range(steps):
            batch = {name: leaf[None] for name, leaf in windows(4, number).items()}
            batch["example"] = np.arange(4, dtype=np.int32)[None]
            state, metrics = step(state, batch)
        return first, state, tuning, metrics

    return of


def moved(before, after):
    """Return the paths of the parameters that are not equal bit for bit."""
    one, other = by_path(before), by_path(after)
    return {name for name in one if not np.array_equal(one[name], other[name])}


@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("muon", marks=pytest.mark.slow)])
def test_frozen_parameters_stay_equal_bit_for_bit(trained, optimizer):
    first, state, _, metrics = trained(frozen=FROZEN, ema_decay=0.9, optimizer=optimizer)
    names = set(by_path(first.params))
    frozen = matching(FROZEN, names)
    assert moved(first.params, state.params) == moved(first.average, state.average) == names - frozen
    held = {leaf.shape for leaf in jax.tree.leaves(state.opt_state)}
    assert first.params["embeddings"]["token"]["table"].shape not in held  # no moments of what does not move
    assert float(metrics["update_norm/embeddings"]) == 0 < float(metrics["update_norm/blocks_0"])


def test_zeros_of_frozen_matrices_are_not_made(trained):
    sparse = {"sparsity": 0.5, "sparsity_start": 0.0, "sparsity_end": 0.1, "sparsity_every": 1}
    first, state, _, _ = trained(frozen=("*/attention/*",), **sparse)
    block, before = state.params["blocks_0"], first.params["blocks_0"]
    assert np.array_equal(block["attention"]["qkv"]["kernel"], before["attention"]["qkv"]["kernel"])
    assert np.mean(np.asarray(block["ffn"]["widen"]["kernel"]) == 0) == 0.5


def test_additions_are_the_only_change_of_their_matrices(trained):
    first, state, tuning, _ = trained(lora_also=("head/bias", "*norm*"), ema_decay=0.9, **INIT)
    names = set(by_path(first.params))
    assert tuning.targets == {"blocks_0/attention/qkv/kernel", "blocks_0/ffn/widen/kernel"}
    also = matching(("head/bias", "*norm*"), names)
    assert moved(first.params, state.params) == moved(first.average, state.average) == tuning.targets | also
    assert tuning.fixed == names - tuning.targets - also
    base, adapters = by_path(state.opt_state.base), by_path(state.opt_state.adapters)
    for name in tuning.targets:
        assert np.array_equal(base[name], by_path(first.params)[name])
    a, b = (np.asarray(adapters[f"blocks_0/ffn/widen/kernel/{part}"]) for part in (A, B))
    expected = np.asarray(first.params["blocks_0"]["ffn"]["widen"]["kernel"]) + 4 * a @ b  # alpha / rank
    np.testing.assert_allclose(state.params["blocks_0"]["ffn"]["widen"]["kernel"], expected, rtol=1e-5, atol=1e-7)
    assert np.any(b != 0)


def test_the_first_model_with_additions_is_the_model_without(trained):
    plain, adapted = trained(steps=0)[0], trained(steps=0, **INIT)[0]
    assert moved(plain.params, adapted.params) == set()
    tuning = trained(steps=0, **INIT)[2]
    merged = tuning.whole(tuning.trained(adapted.params, adapted.opt_state), adapted.params, adapted.opt_state)
    assert moved(plain.params, merged) == set()


@pytest.mark.slow
def test_gradients_of_adapters_are_those_of_their_products(trained, model_config, windows):
    """dL/dA = scale dL/dW B^T, and dL/dB = scale A^T dL/dW."""
    model = LOBTransformer(model_config())
    _, state, tuning, _ = trained(**INIT)
    batch = {name: leaf[None] for name, leaf in windows(4).items()}
    batch["example"] = np.arange(4, dtype=np.int32)[None]

    @jax.jit
    def both(state):
        whole = functools.partial(tuning.whole, params=state.params, opt_state=state.opt_state)
        ours = tuning.trained(state.params, state.opt_state)
        key = jax.random.key(1)
        of_parts = summed_gradients(ours, batch, key, model=model, whole=whole)[0]
        return of_parts, summed_gradients(state.params, batch, key, model=model)[0], state.opt_state.adapters

    parts, whole, adapters = (by_path(jax.device_get(tree)) for tree in both(state))
    name = "blocks_0/ffn/widen/kernel"
    a, b, gradient = adapters[f"{name}/{A}"], adapters[f"{name}/{B}"], whole[name]
    np.testing.assert_allclose(parts[f"{name}/{A}"], 4 * gradient @ b.T, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(parts[f"{name}/{B}"], 4 * a.T @ gradient, rtol=1e-3, atol=1e-5)


def test_a_state_has_moments_of_what_is_trained_alone(trained, model_config):
    first, _, tuning, _ = trained(steps=0, lora_also=("head/bias",), **INIT)
    moments = sum(leaf.size for leaf in jax.tree.leaves(optax.tree.get(first.opt_state.rule, "mu")))
    assert moments == trained_count(tuning, first.params) == 3 * 2 * (16 + 16) + 2 * (16 + 32) + 40
    assert trained_count(EVERYTHING, first.params) == sum(leaf.size for leaf in jax.tree.leaves(first.params))


@pytest.mark.slow
def test_stacked_layers_move_as_those_of_a_loop_may(trained, model_config):
    first, state, tuning, _ = trained(model=model_config(n_layers=2, scan_layers=True), layer_decay=0.5, **INIT)
    assert (
        tuning.targets
        == {"blocks/attention/qkv/kernel", "blocks/ffn/widen/kernel"}
        == moved(first.params, state.params)
    )
    assert state.opt_state.adapters["blocks"]["ffn"]["widen"]["kernel"][A].shape == (2, 16, 2)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"frozen": ("blocks_7/*",)}, "a pattern matches no parameter"),
        ({"frozen": ("*",)}, "every parameter is frozen"),
        ({**INIT, "lora_targets": ("*/bias",)}, "a pattern matches no parameter"),
        ({**INIT, "lora_also": ("nothing",)}, "a pattern matches no parameter"),
        ({**INIT, "lora_rank": 17}, "the rank of the additions is above that of a matrix"),
    ],
)
def test_what_makes_no_sense_is_refused(model_config, train_config, changes, what):
    with pytest.raises(InputError, match=what):
        make_tuning(train_config(**changes), abstract_params(model_config()))


@pytest.mark.slow
@pytest.mark.parametrize("layout", [{"fsdp": 4, "tensor": 2}, {"parallel": "pmap"}, {"fsdp": 2}])
def test_additions_are_the_same_on_eight_devices(model_config, train_config, windows, layout):
    def after(devices, **changes):
        config = train_config(batch_size=8, micro_batch=1, warmup_steps=0, ema_decay=0.9, **INIT, **changes)
        given = {"total_steps": 3, "validation": [windows(8)], "seed": 0, "before": None}
        run = compiled(prepare_run(model_config(dtype="float64"), config, devices=jax.devices()[:devices], **given))
        state = state_with(run, {"head/bias": np.arange(40.0)})
        for step in range(3):
            batch = windows(8, step) | {"example": np.arange(8, dtype=np.int32)}
            state, _ = run.train_step(state, place_step(run, [batch]))
        return jax.device_get((state.params, state.average, state.opt_state))

    with jax.enable_x64(True):
        one, eight = after(1), after(8, **layout)
    assert len(jax.tree.leaves(one)) > 40
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(eight), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)


def test_without_patterns_everything_is_trained(model_config, train_config):
    assert make_tuning(train_config(), abstract_params(model_config())) is EVERYTHING
    assert Tuning(frozenset()) == EVERYTHING


def test_rates_fall_from_layer_to_layer():
    factors = {
        "embeddings/token/table": [0.125],
        "blocks_0/ffn/widen/kernel": [0.25],
        "blocks_1/norm1/scale": [0.5],
        "norm/scale": [1.0],
        "head/bias": [1.0],
        "blocks/ffn/widen/kernel": [0.25, 0.5],
    }
    for name, factor in factors.items():
        assert rate_factor(name.split("/"), decay=0.5, layers=2).tolist() == factor


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_an_update_is_scaled_with_its_weight_decay(train_config, optimizer):
    """Also that of each stacked layer by itself; moments are those without rates by layer."""
    shapes = {"blocks": {"ffn": {"widen": {"kernel": (2, 4, 6)}}}, "embeddings": {"token": {"table": (3, 4)}}}
    random = np.random.default_rng(0)
    params, gradients = (
        jax.tree.map(lambda shape: jnp.asarray(random.normal(size=shape), jnp.float32), shapes, is_leaf=_is_shape)
        for _ in range(2)
    )
    given = {"optimizer": optimizer, "weight_decay": 0.5, "warmup_steps": 0, "learning_rate": 0.1}
    plain = make_optimizer(train_config(**given), 10)
    layered = make_optimizer(train_config(**given, layer_decay=0.5), 10, layers=2)
    expected, state = plain.update(gradients, plain.init(params), params)
    found, same = layered.update(gradients, layered.init(params), params)
    assert jax.tree.all(jax.tree.map(np.array_equal, state, same))
    np.testing.assert_array_equal(found["embeddings"]["token"]["table"], expected["embeddings"]["token"]["table"] / 8)
    kernel, wanted = (tree["blocks"]["ffn"]["widen"]["kernel"] for tree in (found, expected))
    np.testing.assert_array_equal(kernel, wanted * np.array([0.25, 0.5])[:, None, None])


def _is_shape(node):
    return isinstance(node, tuple)
