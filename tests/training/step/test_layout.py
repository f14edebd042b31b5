"""However a step is laid out over devices, its numbers are those of one device."""

import dataclasses
import functools

import jax
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from lob_jax.book.anchors import ANCHORS
from lob_jax.book.queue import QUEUE_NUMBERS
from lob_jax.errors import InputError
from lob_jax.models.attention.kind import KINDS
from lob_jax.models.axes import PARAMETER_AXES, axes_of
from lob_jax.models.embeddings import MOMENTS
from lob_jax.models.expert import OWN, own_shapes
from lob_jax.tokens.latest import LATEST_TOKENS
from lob_jax.tokens.vocabulary import VOCAB_SIZE
from lob_jax.training.run.setup import compiled, initial_state, place_step, prepare_run
from lob_jax.training.step.layout import RULES, make_mesh, split_parameter, window_groups
from lob_jax.training.step.state import abstract_params
from tests.training.conftest import MODEL

STEPS = 5
EXACTLY = {"xla_cpu_use_fusion_emitters": True}  # without them float64 is right to 1e-9 only
LAYOUTS = {
    "pmap": {"parallel": "pmap"},
    "data 8": {},
    "fsdp 8": {"fsdp": 8},
    "fsdp 4 x tensor 2": {"fsdp": 4, "tensor": 2},
    "data 2 x fsdp 2 x tensor 2": {"fsdp": 2, "tensor": 2},
}
LONG = ("data 8", "fsdp 8", "fsdp 4 x tensor 2", "data 2 x fsdp 2 x tensor 2")  # compared in the long checks only


# What widens the output projection, and is split over devices with it.
POINTS = {"vocab_size": VOCAB_SIZE, "pointer": True, "latest_tokens": True, "token_parts": True, "digits_rank": 2}
POINTS |= {"gap_components": 2}


def market(seed):
    """Return candidates for the tokens of 16 windows."""
    random, shape = np.random.default_rng(seed), (16, MODEL.max_seq_length + 1)
    return {
        "anchors": random.integers(0, 20, (*shape, ANCHORS)).astype(np.int16),
        "queue": random.integers(0, 20, (*shape, QUEUE_NUMBERS)).astype(np.int16),
        "latest": random.integers(0, VOCAB_SIZE, (*shape, LATEST_TOKENS)).astype(np.int16),
    }


@pytest.fixture(scope="module")
def prepared(model_config, train_config, windows):
    """Return a function: a run of five steps of 16 windows, in two micro-steps or more, at the full learning rate."""

    def of(layout, **model):
        devices = 1 if layout == "one device" else 8
        changes = {"batch_size": 8, "accumulation": 2, "micro_batch": None, "warmup_steps": 0}
        return prepare_run(
            model_config(**model),
            train_config(**changes, **LAYOUTS.get(layout, {})),
            total_steps=STEPS,
            validation=[windows(8) | {name: array[:8] for name, array in market(0).items()}],
            seed=0,
            devices=jax.devices()[:devices],
            before=None,
        )

    return of


@pytest.fixture(scope="module")
def numbers(prepared, windows):
    """Return a function: parameters after five steps, the first step's gradients, and every step's metrics."""

    @functools.cache
    def of(dtype, layout, points=False):
        model = {"dtype": dtype, **(POINTS if points else {})}
        with jax.enable_x64(dtype == "float64"):
            run = compiled(prepared(layout, **model), EXACTLY)
            state, history, gradients = initial_state(run), [], None
            for step in range(STEPS):
                batch = windows(16, step) | (market(step) if points else {})
                state, metrics = run.train_step(state, place_step(run, [batch]))
                history.append({name: float(value) for name, value in metrics.items()})
                if gradients is None:  # Adam's first moment is a tenth of the first gradients, behind the clip
                    gradients = jax.tree.map(np.asarray, optax.tree.get(state.opt_state, "mu"))
            return jax.tree.map(np.asarray, state.params), gradients, history

    return of


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["pmap", *LONG])
def test_parameters_in_float64_are_those_of_one_device(numbers, layout):
    (params, _, _), (expected, _, history) = numbers("float64", layout), numbers("float64", "one device")
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float64")}
    assert history[0]["learning_rate"] > 0.009
    worst = max(float(np.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (params, expected)), strict=True))
    assert worst < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "points"), [*((name, False) for name in LAYOUTS), ("pmap", True), (LONG[-1], True)])
def test_losses_and_gradients_in_float32_are_those_of_one_device(numbers, layout, points):
    _, gradients, history = numbers("float32", layout, points)
    _, expected, wanted = numbers("float32", "one device", points)
    for name in ("loss", "gradient_norm"):
        assert [line[name] for line in history] == pytest.approx([line[name] for line in wanted], rel=1e-5)
    largest = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
    for one, other in zip(*map(jax.tree.leaves, (gradients, expected)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * largest)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["pmap", "fsdp 4 x tensor 2"])
def test_every_further_part_of_the_loss_is_that_of_one_device(model_config, train_config, windows, layout):
    """Two augmented views, PGD, and learned weights of four parts, accumulated over two micro-steps of 8 windows."""
    heads = dataclasses.replace(MODEL.heads, next_tokens=2, outlook_events=(2,), contrastive_size=4)
    settings = {"contrastive_views": "augmented", "view_mirror": True, "adversarial": "pgd", "task_weights": "learned"}
    random, shape = np.random.default_rng(0), (16, MODEL.max_seq_length + 1)
    labels = {"regime": random.integers(0, 2, shape), "direction": random.integers(0, 3, (*shape, 1))}
    labels = {name: array.astype(np.int32) for name, array in labels.items()}
    labels |= {"log_volatility": random.normal(size=(*shape, 1)).astype(np.float32)}
    labels |= {"record": np.arange(16, dtype=np.int32) // 2}
    batch = {**windows(16), **labels}

    def after(name):
        changes = {"batch_size": 8, "accumulation": 2, "micro_batch": None, "warmup_steps": 0, **settings}
        run = prepare_run(
            model_config(heads=heads, dtype="float64", remat="full"),
            train_config(**changes, **LAYOUTS.get(name, {})),
            total_steps=STEPS,
            validation=[{name: leaf[:8] for name, leaf in batch.items()}],
            seed=0,
            devices=jax.devices()[: 1 if name == "one device" else 8],
            before=None,
        )
        run = compiled(run, EXACTLY)
        state = initial_state(run)
        for _ in range(2):
            state, metrics = run.train_step(state, place_step(run, [batch]))
        return jax.tree.map(np.asarray, state.params), {name: float(value) for name, value in metrics.items()}

    with jax.enable_x64(True):
        (params, metrics), (expected, wanted) = after(layout), after("one device")
    assert {name for name in metrics if name.startswith("task_weight/")} == {f"task_weight/{n}" for n in heads.losses}
    assert metrics["loss/adversarial"] > metrics["loss/token"]
    for name in ("loss", "loss/contrastive", "loss/adversarial", "task_weight/token"):
        assert metrics[name] == pytest.approx(wanted[name], rel=1e-8)
    worst = max(float(np.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (params, expected)), strict=True))
    assert worst < 1e-8


def bytes_a_device(tree):
    return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(("fsdp", "tensor"), [(1, 1), (2, 1), (4, 1), (8, 1), (4, 2), (2, 2)])
def test_bytes_a_device_fall_as_the_groups_grow(model_config, train_config, windows, fsdp, tensor):
    run = prepare_run(
        model_config(),
        train_config(fsdp=fsdp, tensor=tensor, micro_batch=1, ema_decay=0.9),
        total_steps=STEPS,
        validation=[windows(8)],
        seed=0,
        devices=jax.devices(),
        before=None,
    )
    state = initial_state(run)
    whole = sum(leaf.nbytes for leaf in jax.tree.leaves(state.params))
    kept = sum(state.params["embeddings"][name].nbytes for name in MOMENTS["book"])  # whole on each device
    for tree in (state.params, state.average, optax.tree.get(state.opt_state, "mu")):
        if tensor == 1:
            assert bytes_a_device(tree) == (whole - kept) / fsdp + kept  # all others are split, biases and norms too
        else:  # norms, positions and the head's dense layer have no axis that tensor splits
            assert whole / (fsdp * tensor) < bytes_a_device(tree) < whole / fsdp / 1.5


def test_every_parameter_has_names_for_its_axes(model_config):
    seen = set()
    base = model_config()
    attention = dataclasses.replace(base.attention, qk_norm=True, cross_asset=True, horizons=("all",))
    heads = dataclasses.replace(base.heads, next_tokens=3, outlook_events=(5, 10), contrastive_size=8)
    options = dict.fromkeys(
        ("time_of_day", "day_of_week", "book_state", "flow_state", "queue_state", "price_memory"), True
    )
    everything = {"regime": "added", "n_instruments": 2, "activation": "swiglu", "heads": heads}
    kinds = [dataclasses.replace(attention, kind=kind) for kind in KINDS]
    shapes = [{"tie_embeddings": tied, "norm": norm} for tied in (True, False) for norm in ("pre", "post")]
    shapes.append({**POINTS, "counts": 16})
    shapes += [{**everything, "attention": attention, "scan_layers": scan} for scan in (False, True)]
    for changes in [*shapes, *({"attention": kind} for kind in kinds)]:
        config = model_config(**{**options, **changes})
        params = {**abstract_params(config), **({OWN: own_shapes(config)} if config.counts else {})}
        for path, leaf in jax.tree_util.tree_leaves_with_path(params):
            assert len(axes_of(path)) == leaf.ndim, jax.tree_util.keystr(path)
            seen.add(tuple(entry.key for entry in path[-2:]))
    assert seen == set(PARAMETER_AXES)
    named = {name for names in PARAMETER_AXES.values() for name in names if name is not None}
    assert {name for name, _ in RULES} == named


def test_rules_are_taken_in_order_where_they_divide():
    mesh = make_mesh(jax.devices(), fsdp=4, tensor=2)
    assert dict(mesh.shape) == {"data": 1, "fsdp": 4, "tensor": 2}
    assert window_groups(mesh) == 4
    both = ("tensor", "fsdp")
    for names, shape, expected in [
        (("vocab", "embed"), (40, 16), (("tensor",), ("fsdp",))),
        (("vocab",), (40,), (both,)),
        (("vocab",), (12,), (("tensor",),)),  # 12 divides by 2, not by 8
        (("vocab",), (4,), (("tensor",),)),
        (("vocab", "embed"), (41, 16), (None, ("fsdp",))),
        (("embed", None, "heads", "head"), (16, 3, 2, 8), (("fsdp",), None, ("tensor",), None)),
        ((None, "heads", "head"), (3, 2, 8), (None, ("tensor",), ("fsdp",))),
        (("embed",), (15,), (None,)),
    ]:
        assert split_parameter(names, shape, mesh) == PartitionSpec(*expected)


def test_groups_that_do_not_divide_the_devices_are_refused():
    with pytest.raises(InputError, match="divides 8 devices"):
        make_mesh(jax.devices(), fsdp=3)
