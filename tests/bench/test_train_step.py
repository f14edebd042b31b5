"""The benchmark of a training step: consistent results, and a PyTorch model that equals ours."""

import dataclasses
import functools
import json
import os

import jax
import numpy as np
import pytest

from lob_jax.bench import processes, train_step
from lob_jax.errors import InputError
from lob_jax.models.accounting import flops_per_token, parameter_count
from lob_jax.models.inputs import fields_read
from lob_jax.models.transformer import LOBTransformer
from lob_jax.training.step.optimizer import make_optimizer, make_schedule
from lob_jax.training.step.shift import split
from lob_jax.training.step.state import init_state
from lob_jax.training.step.step import eval_step, summed_gradients
from lob_jax.training.step.step import train_step as take_step

WINDOWS, ACCUMULATION = 8, 2
TINY = {
    "d_model": 16,
    "n_layers": 1,
    "n_heads": 2,
    "d_ff": 24,
    "vocab_size": 40,
    "max_seq_length": 6,
    "time_buckets": 12,
    "book_state": True,
    "dtype": "float32",
}


@pytest.fixture
def setting():
    """Return a setting that is small enough to compile fast, based on the train section of a config, with dropout."""
    chosen = train_step.parsed(["--size=tiny", "--warm-up=1", "--steps=3", f"--accumulation={ACCUMULATION}"])
    made = train_step.setting_of(chosen)
    train = dataclasses.replace(made.train, batch_size=WINDOWS, warmup_steps=1, weight_decay=0.1, clip=0.1)
    return dataclasses.replace(made, model=dataclasses.replace(made.model, **TINY), train=train)


@pytest.fixture
def without_dropout(setting):
    return dataclasses.replace(setting, model=dataclasses.replace(setting.model, dropout=0.0, n_layers=2))


class Here:
    """A replacement of `Resident` that stays in this process, where everything is compiled already."""

    def __init__(self, kind, *arguments):
        self._held = kind(*arguments)

    def call(self, method, *arguments):
        return getattr(self._held, method)(*arguments)

    def close(self):
        pass


@pytest.fixture
def in_this_process(monkeypatch, setting):
    monkeypatch.setattr(train_step, "Resident", Here)
    monkeypatch.setattr(train_step, "alone", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(train_step, "setting_of", lambda chosen: dataclasses.replace(setting, profile=chosen.profile))


def printed(capsys) -> tuple[list[str], dict]:
    *lines, last = capsys.readouterr().out.splitlines()
    return lines, json.loads(last)


def assert_consistent(figures, setting):
    """Assert that the results of every case follow from the seconds of its steps."""
    context = setting.model.max_seq_length
    assert figures["tokens_per_step"] == figures["batch"] * figures["accumulation"] * context
    assert figures["parameters"] == parameter_count(setting.model)
    assert figures["flops_per_token"] == flops_per_token(setting.model, context)
    for case in figures["cases"].values():
        assert len(case["steps_s"]) == figures["steps"]
        assert case["step_s"] == np.median(case["steps_s"]) and case["fastest_s"] == min(case["steps_s"])
        assert case["tokens_per_s"] * case["step_s"] == pytest.approx(figures["tokens_per_step"])
        flops_per_s = figures["tokens_per_step"] * figures["flops_per_token"] / case["step_s"]
        assert case["mfu"] == pytest.approx(flops_per_s / figures["peak_flops"])
        assert 0 < case["cpu_s"] < 1.1 * max(case["steps_s"]) * os.cpu_count()
        assert case["peak_mib"] >= case["start_mib"] > 10
        assert 2 < case["loss"] < 6  # ln 40 is 3.7


@pytest.mark.slow
def test_our_step_alone(in_this_process, setting, tmp_path, capsys):
    train_step.main([f"--batch={WINDOWS}", "--no-torch", f"--profile={tmp_path}"])
    lines, figures = printed(capsys)
    assert figures["benchmark"] == "train_step" and figures["batch"] == WINDOWS
    assert list(figures["cases"]) == ["jax"] and figures["ratios"] == {} and figures["agreement"] is None
    assert_consistent(figures, setting)
    case = figures["cases"]["jax"]
    assert case["compile_s"] > 0 and case["device_peak_mib"] is None
    parameters_mib = 4 * figures["parameters"] / processes.MIB
    assert case["step_memory_mib"]["argument"] > 3 * parameters_mib  # including both moments
    assert {"command", "commit", "machine", "versions", "load_before_after"} <= set(figures)
    assert "torch" not in figures["versions"] and figures["versions"]["jax"] == jax.__version__
    assert [line.split()[0] for line in lines] == ["small:", "MFU", "case", "jax", "memory"]
    assert f"{case['tokens_per_s']:.0f}" in lines[3]
    assert list(tmp_path.rglob("*.xplane.pb"))


def test_sizes_are_those_of_the_configs():
    chosen = train_step.parsed(["--size=large", "--context=64", "--dtype=float32"])
    made = train_step.setting_of(chosen)
    assert (made.model.d_model, made.model.n_layers, made.model.max_seq_length) == (1024, 24, 64)
    assert made.model.dtype == "float32" and made.train.accumulation == 1
    assert train_step.setting_of(train_step.parsed(["--size=base"])).model.max_seq_length == 1024


@pytest.mark.parametrize("option", ["--steps=0", "--warm-up=0", "--batch=-1", "--context=0", "--accumulation=0"])
def test_no_steps_or_windows_are_refused(option):
    with pytest.raises(SystemExit):
        train_step.parsed([option])


def test_without_a_batch_it_is_what_a_run_would_take(setting):
    found = train_step.survey(setting, None)
    assert found["batch"] % found["devices"] == 0 and found["batch"] <= WINDOWS
    assert train_step.survey(setting, 3)["batch"] == 3
    schedule = make_schedule(setting.train, setting.warm_up + setting.steps)
    assert found["rates"] == [float(schedule(step)) for step in range(4)]


def test_windows_are_random_and_whole(setting):
    windows = setting.windows()
    assert set(windows) == set(fields_read(setting.model))
    assert windows["tokens"].shape == (WINDOWS * ACCUMULATION, 7)
    assert windows["scored"].all() and len(np.unique(windows["tokens"])) > 30
    assert windows["time_of_day"].max() == 11 and windows["day_of_week"].max() == 6
    assert windows["book"].std() > 1


def test_the_ratio_is_that_of_the_turns():
    ours, its = {"steps_s": [1.0, 4.0, 1.0]}, {"steps_s": [2.0, 9.0, 1.0]}
    assert train_step._ratio(ours, its) == 2.0


def test_pytorch_is_left_out_where_it_says_nothing(monkeypatch):
    monkeypatch.setattr(train_step.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(train_step.shutil, "which", lambda name: name)
    assert train_step.torch_cases("cpu") == ["torch eager", "torch compiled"]
    assert train_step.torch_cases("gpu") == []
    monkeypatch.setattr(train_step.shutil, "which", lambda name: None)
    assert train_step.torch_cases("cpu") == ["torch eager"]
    monkeypatch.setattr(train_step.importlib.util, "find_spec", lambda name: None)
    assert train_step.torch_cases("cpu") == []


class Counter:
    """Counts calls, in a separate process."""

    def __init__(self, start: int):
        self.value = start

    def add(self, more: int) -> int:
        self.value += more
        return self.value

    def fail(self) -> None:
        raise InputError("it fails", where="there", expected="", was="", remedy="")


def test_a_resident_keeps_its_state_and_its_errors_come_out_whole():
    resident = processes.Resident(Counter, 5)
    try:
        assert [resident.call("add", 1), resident.call("add", 2)] == [6, 8]
        with pytest.raises(InputError, match="it fails"):
            resident.call("fail")
    finally:
        resident.close()


def test_peak_memory_is_seen():
    with processes.AnonymousMemory() as memory:
        held = np.ones(50 * processes.MIB, np.uint8)
    assert held.all() and 40 < (memory.peak - memory.start) / processes.MIB < 80


@pytest.fixture
def twin(without_dropout):
    """Return PyTorch's model with our noisy parameters, these parameters, and its Python module."""
    pytest.importorskip("torch")
    from lob_jax.bench import torch_model

    params = train_step.lively_parameters(without_dropout.model)
    model = torch_model.TorchTransformer(without_dropout.model)
    torch_model.load(model, params)
    return model, params, torch_model


def test_losses_and_gradients_of_the_twin_are_ours(twin, without_dropout):
    its, params, torch_model = twin
    windows = unequally_scored(without_dropout.windows())
    batch = split(windows, WINDOWS)
    model = LOBTransformer(without_dropout.model)
    gradients, nll, *_ = jax.jit(functools.partial(summed_gradients, model=model))(params, batch, jax.random.key(0))
    losses = [its(micro_batch) for micro_batch in torch_model.as_micro_steps(windows, ACCUMULATION)]
    sum(losses).backward()
    assert sum(losses).item() == pytest.approx(float(nll), rel=1e-6)
    ours = torch_model.as_state(gradients, its.state_dict())
    assert set(ours) == {name for name, _ in its.named_parameters()}
    for name, parameter in its.named_parameters():
        assert ours[name].abs().max() > 0, name
        np.testing.assert_allclose(parameter.grad, ours[name], rtol=1e-4, atol=1e-4 * ours[name].abs().max())


def unequally_scored(windows):
    scored = np.random.default_rng(2).random(windows["scored"].shape) < 0.6
    return {**windows, "scored": scored}


def test_parameters_after_some_steps_are_ours(twin, without_dropout):
    its, params, torch_model = twin
    train, model = without_dropout.train, without_dropout.model
    windows, steps = unequally_scored(without_dropout.windows()), 4
    schedule, optimizer = make_schedule(train, steps), make_optimizer(train, steps)
    state = init_state(model, optimizer, seed=0).replace(params=params)
    ours = jax.jit(functools.partial(take_step, model=LOBTransformer(model), optimizer=optimizer, schedule=schedule))
    rates = [float(schedule(step)) for step in range(steps)]
    step = torch_model.make_step(its, train, rates=rates, compiled=False)
    for _ in range(steps):
        state, metrics = ours(state, split(windows, WINDOWS))
        loss = step(torch_model.as_micro_steps(windows, ACCUMULATION))
        assert float(metrics["gradient_norm"]) > train.clip
        assert loss == pytest.approx(float(metrics["loss"]), rel=1e-5)
    moved = torch_model.as_state(state.params, its.state_dict())
    for name, parameter in its.state_dict().items():
        np.testing.assert_allclose(parameter, moved[name], atol=2e-4, err_msg=name)


def test_bfloat16_of_the_twin_is_near(without_dropout):
    pytest.importorskip("torch")
    from lob_jax.bench import torch_model

    model = dataclasses.replace(without_dropout.model, dtype="bfloat16")
    its, params = torch_model.TorchTransformer(model), train_step.lively_parameters(model)
    torch_model.load(its, params)
    stream = []
    for block in its.blocks:
        block.register_forward_hook(lambda _, read, left: stream.extend([*read, left]))
    windows = without_dropout.windows()
    nll, _ = jax.jit(functools.partial(eval_step, model=LOBTransformer(model)))(params, windows)
    loss = its(torch_model.as_micro_steps(windows, 1)[0])
    loss.backward()
    assert loss.item() == pytest.approx(float(nll), rel=1e-2)
    assert its.head.dense.weight.grad.isfinite().all()
    assert {str(x_BTD.dtype) for x_BTD in stream} == {"torch.bfloat16"}


def test_both_are_measured_side_by_side(in_this_process, setting, monkeypatch, capsys):
    pytest.importorskip("torch")
    monkeypatch.setattr(train_step, "torch_cases", lambda platform: ["torch eager"])
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    train_step.main([f"--batch={WINDOWS}"])
    lines, figures = printed(capsys)
    assert list(figures["cases"]) == ["jax", "torch eager"]
    assert_consistent(figures, setting)
    assert figures["agreement"]["relative"] < 1e-5 and any(line.startswith("equal models") for line in lines)
    assert figures["ratios"]["torch eager"] > 0
    assert "torch" in figures["versions"]


def test_unequal_models_are_refused(setting, monkeypatch):
    pytest.importorskip("torch")
    from lob_jax.bench import torch_model

    monkeypatch.setattr(torch_model, "NORM_EPSILON", 0.1)
    with pytest.raises(InputError, match="not the same"):
        train_step.agreement(setting)


def test_a_kind_that_the_twin_lacks_is_refused(setting):
    pytest.importorskip("torch")
    from lob_jax.bench import torch_model

    with pytest.raises(InputError, match="rotary"):
        torch_model.TorchTransformer(dataclasses.replace(setting.model, positions="rotary"))
