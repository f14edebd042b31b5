import dataclasses
import functools

import jax
import psutil
import pytest

from configs import base
from lob_jax.config import model_config
from lob_jax.errors import InputError
from lob_jax.models.accounting import parameter_count
from lob_jax.models.transformer import LOBTransformer
from lob_jax.training import budget
from lob_jax.training.budget import (
    GIB,
    available_bytes,
    describe_plan,
    plan_memory,
    readable_time,
    state_bytes,
    window_bytes,
)
from lob_jax.training.layout import make_mesh
from lob_jax.training.optimizer import make_optimizer, make_schedule
from lob_jax.training.speed import blank_batch
from lob_jax.training.state import init_state
from lob_jax.training.step import jit_train_step, train_step


@pytest.fixture(scope="module")
def lob_base():
    return model_config(base.get_config())


def plan(model, train, **changes):
    return plan_memory(model, train, **{"devices": 1, "available": 80 * GIB, "on_cpu": False} | changes)


@pytest.mark.parametrize(
    ("width", "length", "vocabulary", "dtype"),
    [
        pytest.param(128, 256, 2000, "float32", marks=pytest.mark.slow),
        pytest.param(256, 128, 500, "bfloat16", marks=pytest.mark.slow),
        pytest.param(256, 512, 10_000, "float32", marks=pytest.mark.slow),
    ],
)
def test_the_estimate_is_what_xla_allots_within_half(model_config, train_config, width, length, vocabulary, dtype):
    model = model_config(
        d_model=width, n_layers=1, d_ff=4 * width, max_seq_length=length, vocab_size=vocabulary, dtype=dtype
    )
    config = train_config()
    optimizer = make_optimizer(config, 12)
    whole = {"model": LOBTransformer(model), "optimizer": optimizer, "schedule": make_schedule(config, 12)}
    shapes = jax.eval_shape(lambda: init_state(model, optimizer, seed=0)), jax.eval_shape(lambda: blank_batch(model, 4))
    step = jit_train_step(functools.partial(train_step, **whole), shapes[0], mesh=make_mesh(jax.devices()[:1]))
    memory = step.lower(*shapes).compile().memory_analysis()
    needed = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    estimate = state_bytes(model, config) + 4 * window_bytes(model)
    assert 1 / 1.5 < estimate / needed < 1.5


def test_parameters_and_moments_are_counted_in_full(model_config, train_config):
    state = jax.eval_shape(lambda: init_state(model_config(), make_optimizer(train_config(), 12), seed=0))
    arrays = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((state.params, state.opt_state)))
    assert arrays == pytest.approx(12 * parameter_count(model_config()), rel=1e-3)
    count = parameter_count(model_config())
    assert state_bytes(model_config(), train_config()) == 20 * count
    assert state_bytes(model_config(dtype="float16"), train_config(ema_decay=0.99)) == 28 * count
    assert state_bytes(model_config(), train_config(fsdp=4, tensor=2)) == 20 * count // 8


def test_logits_in_blocks_need_less(model_config):
    model = model_config(vocab_size=10_000)
    assert window_bytes(model) - window_bytes(model, 3) == 8 * 10_000 * (12 - 3)
    assert window_bytes(model, 100) == window_bytes(model)


def test_the_largest_divisor_that_fits_is_chosen(lob_base, train_config):
    config = train_config(batch_size=32, accumulation=4, micro_batch=None)
    state, window = state_bytes(lob_base, config), window_bytes(lob_base)
    room = (state + 12.5 * window) / budget.USABLE  # for 12 windows, of which 8 divide 32
    chosen = plan(lob_base, config, available=int(room))
    assert (chosen.micro_batch, chosen.micro_steps) == (8, 16)
    assert chosen.needed_bytes == state + 8 * window
    assert plan(lob_base, config, available=int(1000 * room)).micro_batch == 32
    # Two devices hold half of the batch each.
    assert plan(lob_base, config, available=int(1000 * room), devices=2).micro_batch == 16
    # A CPU gains nothing from more than a couple of thousand tokens.
    assert plan(lob_base, config, available=int(1000 * room), on_cpu=True).micro_batch == 2


def test_a_resumed_run_keeps_its_micro_batch_while_it_fits(model_config, train_config):
    config = train_config(batch_size=32, micro_batch=None)
    assert plan(model_config(), config, before=4).micro_batch == 4
    assert plan(model_config(), config, before=5).micro_batch == 32  # of another number of devices
    assert plan(model_config(), dataclasses.replace(config, micro_batch=8), before=4).micro_batch == 8


def test_a_run_that_cannot_fit_is_refused_with_the_estimate_and_remedies(lob_base, train_config):
    with pytest.raises(InputError) as caught:
        plan(lob_base, train_config(batch_size=32, micro_batch=None), available=4 * GIB)
    assert caught.value.expected.startswith("5.17 GiB a device: 2.11 for parameters")
    assert caught.value.was == "3.40 GiB to use (85% of 4.00 GiB free)"
    assert "configs/small.py" in caught.value.remedy
    assert "--config.model.max_seq_length=512 fits" in caught.value.remedy
    shorter = dataclasses.replace(lob_base, max_seq_length=512)
    assert plan(shorter, train_config(batch_size=32, micro_batch=None), available=4 * GIB).micro_batch >= 1


def test_a_micro_batch_asked_for_is_taken_or_refused(lob_base, train_config):
    config = train_config(batch_size=32, micro_batch=16)
    assert plan(lob_base, config).micro_batch == 16
    with pytest.raises(InputError, match="a smaller config.train.micro_batch"):
        plan(lob_base, config, available=20 * GIB)
    with pytest.raises(InputError, match="divisor of 32"):
        plan(lob_base, train_config(batch_size=32, micro_batch=5))
    with pytest.raises(InputError, match="multiple of 3, the groups"):
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
    assert sentence.endswith("of 80.00 GiB each; a step should take 4 s, the run 6 min 40 s and its validations")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.042, "0.042 s"), (42, "42 s"), (185, "3 min 05 s"), (7800, "2 h 10 min"), (1_080_000, "12.5 days")],
)
def test_readable_times(seconds, text):
    assert readable_time(seconds) == text
