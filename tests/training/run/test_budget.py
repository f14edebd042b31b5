import dataclasses
import functools

import jax
import numpy as np
import psutil
import pytest

from lob_jax.bench.compiled.described import DEVICES, compiling_for
from lob_jax.config.sections import model_config
from lob_jax.configs import base
from lob_jax.errors import InputError
from lob_jax.models.accounting import parameter_count
from lob_jax.models.transformer import LOBTransformer
from lob_jax.training.run import budget
from lob_jax.training.run.budget import (
    CPU,
    GIB,
    Target,
    available_bytes,
    describe_plan,
    plan_memory,
    readable_time,
    state_bytes,
    target_here,
    window_bytes,
)
from lob_jax.training.run.speed import blank_batch
from lob_jax.training.step.optimizer import make_optimizer, make_schedule
from lob_jax.training.step.state import init_state
from lob_jax.training.step.step import train_step


@pytest.fixture(scope="module")
def lob_base():
    return model_config(base.get_config())


XLA = Target(on_cpu=False)


def plan(model, train, **changes):
    return plan_memory(model, train, **{"devices": 1, "available": 80 * GIB, "target": XLA} | changes)


AS_A_USER_DOES = {"xla_backend_optimization_level": 3, "xla_cpu_use_fusion_emitters": True}  # see tests/conftest.py
WITHIN = 1.15


def step_to_compile(model, train, *, windows, place):
    """Return a step of two micro-steps with the given windows each, and the shapes of its arguments on `place`."""
    optimizer = make_optimizer(train, 12)
    whole = {"model": LOBTransformer(model), "optimizer": optimizer, "schedule": make_schedule(train, 12)}
    batch = {name: np.repeat(leaf, 2, axis=0) for name, leaf in blank_batch(model, windows).items()}
    shapes = jax.eval_shape(lambda: init_state(model, optimizer, seed=0)), batch
    at = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), shapes)
    step = functools.partial(train_step, objective=train.objective_of_loss, **whole)
    return jax.jit(step, donate_argnums=0, out_shardings=place), at


def needed_bytes(compiled):
    memory = compiled.memory_analysis()
    return memory.argument_size_in_bytes + memory.temp_size_in_bytes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "loss_block"),
    [
        ({"dtype": "float32", "vocab_size": 2000}, None),
        ({"d_model": 256, "d_ff": 1024, "max_seq_length": 128}, None),
        ({"d_model": 256, "d_ff": 1024, "max_seq_length": 512, "vocab_size": 10_000}, 64),
        ({"activation": "swiglu", "n_layers": 3}, None),
    ],
)
def test_on_a_cpu_the_estimate_is_what_xla_allots(model_config, train_config, changes, loss_block):
    fields = {"d_model": 128, "n_layers": 2, "d_ff": 512, "max_seq_length": 256, "vocab_size": 500, "dtype": "bfloat16"}
    model, config = model_config(**{**fields, **changes}), train_config(loss_block=loss_block)
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    step, at = step_to_compile(model, config, windows=6, place=place)
    needed = needed_bytes(step.lower(*at).compile(AS_A_USER_DOES))
    estimate = state_bytes(model, config) + 6 * window_bytes(model, loss_block)
    assert 1 / WITHIN < estimate / needed < WITHIN


@pytest.fixture
def h200():
    """Return a sharding on an H200 that is only described."""
    pytest.importorskip("jax_plugins.xla_cuda12", reason="needs jax-cuda12-plugin, which compiles for a described GPU")
    described = DEVICES["h200"]
    with compiling_for(described):
        yield jax.sharding.SingleDeviceSharding(*described.devices())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "changes"),
    [("auto", {}), ("xla", {}), ("auto", {"d_ff": 1536, "dropout": 0.1}), ("auto", {"remat": "full", "n_layers": 4})],
)
def test_for_an_h200_the_estimate_is_what_xla_allots(lob_base, train_config, h200, backend, changes):
    attention = dataclasses.replace(lob_base.attention, backend=backend)
    model = dataclasses.replace(lob_base, **{"n_layers": 2, **changes}, attention=attention)
    target, config = target_here(model), train_config(clip=1.0)
    assert target == Target(False, "cudnn" if backend == "auto" else "xla")
    step, at = step_to_compile(model, config, windows=4, place=h200)
    options = {"xla_gpu_autotune_level": 0, "xla_backend_optimization_level": 3}
    needed = needed_bytes(step.lower(*at).compile(options))
    estimate = state_bytes(model, config, target) + 4 * window_bytes(model, None, target)
    assert 1 / WITHIN < estimate / needed < WITHIN


def test_an_attention_kernel_holds_no_scores(lob_base):
    """LOB-Base at 1,024 tokens needs .41 GB per window; XLA's scores would more than double that."""
    by_kernel, by_xla = (window_bytes(lob_base, target=Target(False, name)) for name in ("cudnn", "xla"))
    assert by_xla - by_kernel == 12 * 6 * 12 * 1024**2  # layers x bytes per score x heads x pairs of tokens
    assert by_kernel == pytest.approx(0.41e9, rel=0.05)
    longer = dataclasses.replace(lob_base, max_seq_length=2048)
    assert window_bytes(longer, target=Target(False, "cudnn")) == 2 * by_kernel
    sparse = dataclasses.replace(lob_base, attention=dataclasses.replace(lob_base.attention, kind="block_sparse"))
    assert window_bytes(sparse, target=Target(False, "cudnn")) == window_bytes(sparse, target=Target(False, "xla"))


def test_sixty_four_windows_of_lob_base_fit_an_h200(lob_base, train_config):
    on_h200 = {"available": 139 * GIB, "target": Target(False, "cudnn")}
    for asked in (64, None):
        chosen = plan(lob_base, train_config(batch_size=64, micro_batch=asked), **on_h200)
        assert chosen.micro_batch == 64 and 22 * GIB < chosen.needed_bytes < 30 * GIB


def test_parameters_and_moments_are_counted_in_full(model_config, train_config):
    state = jax.eval_shape(lambda: init_state(model_config(), make_optimizer(train_config(), 12), seed=0))
    arrays = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((state.params, state.opt_state)))
    assert arrays == pytest.approx(12 * parameter_count(model_config()), rel=1e-3)
    count = parameter_count(model_config())
    assert state_bytes(model_config(), train_config()) == 20 * count
    assert state_bytes(model_config(dtype="float16"), train_config(ema_decay=0.99)) == 28 * count
    assert state_bytes(model_config(), train_config(fsdp=4, tensor=2)) == 20 * count // 8
    assert state_bytes(model_config(dtype="bfloat16"), train_config(), XLA) == 18 * count
    assert state_bytes(model_config(), train_config(), XLA) == 20 * count


def test_logits_in_blocks_need_less(model_config):
    model = model_config(vocab_size=10_000)
    assert window_bytes(model) - window_bytes(model, 3) == 8 * 10_000 * (12 - 3)
    assert window_bytes(model, 100) == window_bytes(model)


def test_passes_whose_activations_are_kept_count_as_windows(lob_base, train_config):
    config = train_config(batch_size=32, micro_batch=None)
    room = int((state_bytes(lob_base, config, XLA) + 8.5 * window_bytes(lob_base, target=XLA)) / budget.USABLE)
    assert plan(lob_base, config, available=room).micro_batch == 8
    adversarial = dataclasses.replace(config, adversarial="fgm")
    assert plan(lob_base, adversarial, available=room).micro_batch == 4
    both = dataclasses.replace(adversarial, contrastive_views="augmented")
    assert budget.passes(lob_base, both) == 2  # there is no head that would compare views
    heads = dataclasses.replace(lob_base.heads, contrastive_size=8)
    assert budget.passes(dataclasses.replace(lob_base, heads=heads), both) == 4


def test_the_largest_divisor_that_fits_is_chosen(lob_base, train_config):
    config = train_config(batch_size=32, accumulation=4, micro_batch=None)
    state, window = state_bytes(lob_base, config, XLA), window_bytes(lob_base, target=XLA)
    room = (state + 12.5 * window) / budget.USABLE  # for 12 windows, of which 8 divide 32
    chosen = plan(lob_base, config, available=int(room))
    assert (chosen.micro_batch, chosen.micro_steps) == (8, 16)
    assert chosen.needed_bytes == state + 8 * window
    assert plan(lob_base, config, available=int(1000 * room)).micro_batch == 32
    # Each of two devices holds half of the batch.
    assert plan(lob_base, config, available=int(1000 * room), devices=2).micro_batch == 16
    # A CPU does not benefit from more than a couple of thousand tokens.
    assert plan(lob_base, config, available=int(1000 * room), target=CPU).micro_batch == 2


def test_a_resumed_run_keeps_its_micro_batch_while_it_fits(model_config, train_config):
    config = train_config(batch_size=32, micro_batch=None)
    assert plan(model_config(), config, before=4).micro_batch == 4
    assert plan(model_config(), config, before=5).micro_batch == 32  # from a different number of devices
    assert plan(model_config(), dataclasses.replace(config, micro_batch=8), before=4).micro_batch == 8


def test_a_run_that_cannot_fit_is_refused_with_the_estimate_and_remedies(lob_base, train_config):
    with pytest.raises(InputError) as caught:
        plan(lob_base, train_config(batch_size=32, micro_batch=None), available=4 * GIB, target=CPU)
    assert caught.value.expected.startswith("4.46 GiB per device: 2.11 for parameters")
    assert caught.value.was == "3.40 GiB usable (85% of 4.00 GiB free)"
    assert "configs/small.py" in caught.value.remedy
    assert "--config.model.max_seq_length=512 fits" in caught.value.remedy
    shorter = dataclasses.replace(lob_base, max_seq_length=512)
    assert plan(shorter, train_config(batch_size=32, micro_batch=None), available=4 * GIB, target=CPU).micro_batch >= 1


def test_a_micro_batch_asked_for_is_taken_or_refused(lob_base, train_config):
    config = train_config(batch_size=32, micro_batch=16)
    assert plan(lob_base, config).micro_batch == 16
    with pytest.raises(InputError, match="a smaller config.train.micro_batch"):
        plan(lob_base, config, available=20 * GIB)
    with pytest.raises(InputError, match="divisor of 32"):
        plan(lob_base, train_config(batch_size=32, micro_batch=5))
    with pytest.raises(InputError, match="multiple of 3, the number of device groups"):
        plan(lob_base, config, devices=3)


def test_cpu_devices_share_what_the_host_and_its_container_leave(monkeypatch, tmp_path):
    devices = jax.devices()
    assert 0 < available_bytes(devices) <= psutil.virtual_memory().total // len(devices)
    (tmp_path / "max").write_text("1000000\n")
    (tmp_path / "current").write_text("200000\n")
    monkeypatch.setattr(budget, "CGROUP_LIMITS", ((str(tmp_path / "max"), str(tmp_path / "current")),))
    assert available_bytes(devices[:1]) == 800_000
    assert available_bytes(devices[:4]) == 200_000
    (tmp_path / "max").write_text("max\n")
    assert available_bytes(devices[:1]) > 800_000


def test_the_first_sentence_of_a_run(lob_base, train_config):
    chosen = plan(lob_base, train_config(batch_size=32, accumulation=4, micro_batch=8))
    sentence = describe_plan(chosen, steps=100, micro_step_s=0.25, devices=1)
    assert sentence.startswith("100 steps of 16 micro-steps x 8 windows on 1 device(s), about ")
    assert sentence.endswith("of 80.00 GiB each; expected time: 4 s per step, 6 min 40 s for the run plus validations")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.042, "0.042 s"), (42, "42 s"), (185, "3 min 05 s"), (7800, "2 h 10 min"), (1_080_000, "12.5 days")],
)
def test_readable_times(seconds, text):
    assert readable_time(seconds) == text
