"""Measure a training step: tokens per second, MFU, compile time and memory; on a CPU also the same model in PyTorch.

`python -m lob_jax.bench.train_step --size=small` uses the model and train sections of configs/small.py and trains on
random tokens on all devices. Every case runs in a separate process and may use all cores: first `--warm-up` steps, one
case after another, then `--steps` timed steps in turns, synchronously. Results are medians of the seconds and of the
ratios of a turn. `cpu s` sums CPU time over all cores, which reveals cases delayed by other work: on a busy machine the
speeds mean little, since PyTorch's threads wait for each other more than XLA's do. MFU is 6 N + 12 L D T flops per
token (see `lob_jax.models.accounting`) over the published peak, or on a CPU over the fastest matmul measured in the
run, the same for every case. With `--mask=book` the step of a model with that mask takes turns too. On a CPU with
PyTorch installed, the PyTorch model in `torch_model` is first compared with ours on the same parameters and batch, then
timed in eager mode and with torch.compile.
"""

import argparse
import dataclasses
import functools
import importlib
import importlib.util
import json
import os
import pathlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lob_jax.bench.processes import MIB, AnonymousMemory, Resident, alone
from lob_jax.bench.surroundings import surroundings
from lob_jax.bench.train_step_table import MASKED, OURS, table
from lob_jax.config.sections import model_config, train_config
from lob_jax.errors import InputError
from lob_jax.evaluation.likelihood.scores import model_apply
from lob_jax.models.accounting import flops_per_token, parameter_count
from lob_jax.models.config import CHOICES, DTYPES, ModelConfig
from lob_jax.models.inputs import BY_NAME, Role
from lob_jax.models.masking import Masks, make_masks
from lob_jax.models.transformer import initial_parameters
from lob_jax.tokens.grammar import grammar_for
from lob_jax.tokens.sets.shares import SHAPE
from lob_jax.training.config import TrainConfig
from lob_jax.training.run.budget import plan_on
from lob_jax.training.run.setup import compiled, initial_state, place_step, prepare_run
from lob_jax.training.run.speed import blank_batch, peak_flops
from lob_jax.training.step.layout import make_mesh, window_groups
from lob_jax.training.step.loss import cross_entropy
from lob_jax.training.step.optimizer import make_schedule
from lob_jax.training.step.shift import Batch, shift

LAYOUT = ("parallel", "fsdp", "tensor", "loss_block", "optimizer", "deterministic")
SIZES = ("tiny", "small", "base", "large")
# Options that only our model has.
NOT_IN_THE_TWIN = ("flow_state", "queue_state", "price_memory", "latest_tokens", "pointer", "token_parts")
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
EAGER, COMPILED = "torch eager", "torch compiled"
LOSS_TOLERANCE = 1e-4  # relative difference of the float32 losses of equal models
LOGIT_TOLERANCE = 1e-4  # largest difference of their logits, in standard deviations
LIVELY = 0.05  # standard deviation of the noise added to every parameter before losses are compared: none stays zero
PROFILED = 3  # steps in a trace
ESCAPE = 0.001  # escape share of every field and kind


@dataclasses.dataclass(frozen=True)
class Setting:
    """The settings shared by all cases.

    Attributes:
      model: configuration of the model; max_seq_length is the context.
      train: training settings; batch_size, once known, is the windows of a micro-step over all devices, all of them in
        memory at once.
      warm_up: steps before the timed ones, including the first step.
      steps: timed steps.
      profile: folder for a trace of our step.
      mask: the mask of the model in another case of ours; "none" for no such case.
    """

    model: ModelConfig
    train: TrainConfig
    warm_up: int
    steps: int
    profile: pathlib.Path | None
    mask: str = "none"

    @property
    def tokens(self) -> int:
        """Return the tokens of an optimiser step."""
        return self.train.windows_per_step * self.model.max_seq_length

    def windows(self) -> Batch:
        """Return the random windows [W, ...] of a step, all of whose tokens are scored."""
        return random_windows(self.model, self.train.windows_per_step)


class StepTime(NamedTuple):
    """Wall-clock seconds of one step, CPU seconds of the process summed over all cores, and the loss."""

    step_s: float
    cpu_s: float
    loss: float


@dataclasses.dataclass
class OurStep:
    """A compiled training step with its state and batch on the devices; a call takes one step and returns its loss."""

    train_step: Any  # jax.stages.Compiled: (state, batch) -> (state, metrics)
    state: Any
    batch: Batch
    compile_s: float

    def __call__(self) -> float:
        """Take one step and wait until it is done."""
        self.state, metrics = jax.block_until_ready(self.train_step(self.state, self.batch))
        return float(metrics["loss"])


def our_step(setting: Setting) -> OurStep:
    """Build and compile the step of a training run; only this function depends on how a run is set up."""
    devices, windows = jax.devices(), setting.windows()
    run = prepare_run(
        setting.model,
        dataclasses.replace(setting.train, micro_batch=setting.train.batch_size // window_groups(mesh_of(setting))),
        total_steps=setting.warm_up + setting.steps,
        validation=[windows],
        seed=0,
        devices=devices,
        before=None,
        masks=some_masks(setting.model),
    )
    begin = time.perf_counter()
    run = compiled(run)
    compile_s = time.perf_counter() - begin
    return OurStep(run.train_step, initial_state(run), place_step(run, [windows]), compile_s)


def some_masks(model: ModelConfig) -> Masks | None:
    """Return the masks of a model of exact tokens, if it has one."""
    return None if model.mask == "none" else make_masks(grammar_for(None), np.full(SHAPE, ESCAPE))


def mesh_of(setting: Setting) -> jax.sharding.Mesh:
    """Return the mesh of all devices with a setting's axes."""
    return make_mesh(jax.devices(), fsdp=setting.train.fsdp, tensor=setting.train.tensor)


def random_windows(model: ModelConfig, count: int) -> Batch:
    """Return windows [count, ...] of random tokens at random times, with book features of a realistic magnitude."""
    random = np.random.default_rng(0)
    windows = {name: leaf[0] for name, leaf in blank_batch(model, count).items()}
    for name, leaf in windows.items():
        if ids := BY_NAME[name].ids:
            windows[name] = random.integers(0, ids(model), leaf.shape, leaf.dtype)
        elif BY_NAME[name].role is Role.BESIDE and leaf.dtype == np.float32:
            windows[name] = random.normal(2, 2, leaf.shape).astype(leaf.dtype)
        elif BY_NAME[name].role is Role.PLACE and leaf.dtype == np.uint8:
            windows[name] = random.integers(0, 256, leaf.shape, leaf.dtype)
    return windows


def survey(setting: Setting, batch: int | None) -> dict[str, Any]:
    """Return the devices, the peak that MFU refers to, the learning rates, and the batch, a run's if none is given."""
    devices, mesh, total = jax.devices(), mesh_of(setting), setting.warm_up + setting.steps
    peak, source = peak_flops(devices, setting.model.dtype)
    schedule = make_schedule(setting.train, total)
    return {
        "platform": devices[0].platform,
        "device": devices[0].device_kind,
        "devices": len(devices),
        "batch": batch or plan_on(mesh, setting.model, setting.train).micro_batch * window_groups(mesh),
        "peak_flops": peak,
        "peak_flops_from": source,
        "rates": [float(np.asarray(schedule(step))) for step in range(total)],
    }


def lively_parameters(model: ModelConfig) -> dict:
    """Return initial parameters with noise added to each of them, so that the loss depends on every one."""
    random = np.random.default_rng(1)
    first = jax.jit(functools.partial(initial_parameters, model))(jax.random.key(0))
    return jax.tree.map(lambda leaf: leaf + random.normal(0, LIVELY, leaf.shape).astype(np.float32), first)


def agreement(setting: Setting) -> dict[str, float]:
    """Compare PyTorch's model with ours in float32 and without dropout, on the same parameters and windows.

    Returns:
      The loss of each; `relative`, their relative difference; and `logits`, the largest difference of any logit divided
      by the standard deviation of all logits, since a mean loss alone may hide a small difference.

    Raises:
      InputError: losses or logits differ by more than rounding explains, so the models are not the same.
    """
    import torch

    from lob_jax.bench.torch_model import TorchTransformer, as_micro_steps, load

    model = dataclasses.replace(setting.model, dropout=0.0, dtype="float32")
    params, windows = lively_parameters(model), random_windows(model, setting.train.batch_size)
    logits_BTV, loss = jax.tree.map(np.asarray, jax.jit(functools.partial(_logits_and_loss, model))(params, windows))
    twin = TorchTransformer(model)
    load(twin, params)
    with torch.no_grad():
        (batch,) = as_micro_steps(windows, 1)
        its_logits_BTV, its_loss = (
            twin.logits(batch).numpy(),
            twin(batch).item() / float(windows["scored"][:, 1:].sum()),
        )
    apart = {
        "relative": abs(its_loss / float(loss) - 1),
        "logits": float(np.abs(its_logits_BTV - logits_BTV).max() / logits_BTV.std()),
    }
    if not (apart["relative"] <= LOSS_TOLERANCE and apart["logits"] <= LOGIT_TOLERANCE):
        raise InputError(
            "the two models are not the same, so comparing their speeds is meaningless",
            where="lob_jax/bench/torch_model.py",
            expected={"relative": LOSS_TOLERANCE, "logits": LOGIT_TOLERANCE},
            was=apart,
            remedy="correct the PyTorch model, or pass --no-torch",
        )
    return {"jax": float(loss), "torch": its_loss, **apart}


def _logits_and_loss(model: ModelConfig, params: dict, windows: Batch) -> tuple[jax.Array, jax.Array]:
    tokens_BT, conditioning, targets_BT, weights_BT = shift(windows)
    logits_BTV = model_apply(model)(params, tokens_BT, conditioning)
    nll, weight = cross_entropy(logits_BTV, targets_BT, weights_BT)
    return logits_BTV, nll / weight


class OurCase:
    """Our step in this process, with a mask; its memory is watched from before its construction."""

    def __init__(self, setting: Setting, mask: str = "none"):
        setting = dataclasses.replace(setting, model=dataclasses.replace(setting.model, mask=mask))
        self._setting = setting
        self._memory = AnonymousMemory().__enter__()
        self._step = our_step(setting)

    def step(self) -> StepTime:
        """Take one step and return its time."""
        return timed(self._step)

    def finish(self) -> dict[str, Any]:
        """Return the results available after all steps."""
        self._memory.__exit__()
        if self._setting.profile is not None:
            with jax.profiler.trace(str(self._setting.profile)):
                for _ in range(PROFILED):
                    self._step()
        allotted = self._step.train_step.memory_analysis()
        parts = ("argument", "output", "alias", "temp", "generated_code")
        held = [device.memory_stats() for device in jax.local_devices() if device.platform != "cpu"]
        return {
            "compile_s": self._step.compile_s,
            **_host_memory(self._memory),
            "device_peak_mib": max((stats["peak_bytes_in_use"] / MIB for stats in held if stats), default=None),
            "step_memory_mib": {part: getattr(allotted, f"{part}_size_in_bytes") / MIB for part in parts},
            "peak_flops": peak_flops(jax.devices(), self._setting.model.dtype)[0],
        }


class TorchCase:
    """PyTorch's step in this process; its memory is watched from before its construction."""

    def __init__(self, setting: Setting, rates: Sequence[float], is_compiled: bool):
        import torch

        from lob_jax.bench.torch_model import TorchTransformer, as_micro_steps, make_step

        torch.set_num_threads(_cores())
        torch.manual_seed(0)
        self._cache = tempfile.TemporaryDirectory()
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = self._cache.name  # an empty cache, so that compilation is timed
        self._memory = AnonymousMemory().__enter__()
        step = make_step(TorchTransformer(setting.model), setting.train, rates=rates, compiled=is_compiled)
        batches = as_micro_steps(setting.windows(), setting.train.accumulation)
        self._step = functools.partial(step, batches)

    def step(self) -> StepTime:
        """Take one step and return its time."""
        return timed(self._step)

    def finish(self) -> dict[str, Any]:
        """Return the results available after all steps; compile_s is None, since the first step compiles."""
        self._memory.__exit__()
        self._cache.cleanup()
        return {"compile_s": None, **_host_memory(self._memory)}


def timed(step: Callable[[], float]) -> StepTime:
    """Take one step and return its time."""
    begin, cpu_begin = time.perf_counter(), time.process_time()
    loss = step()
    return StepTime(time.perf_counter() - begin, time.process_time() - cpu_begin, loss)


def _host_memory(memory: AnonymousMemory) -> dict[str, float]:
    return {"peak_mib": memory.peak / MIB, "start_mib": memory.start / MIB}


def measure(setting: Setting, cases: dict[str, tuple]) -> dict[str, dict[str, Any]]:
    """Return the results of each case; `cases` maps its name to its class and arguments.

    After their warm-ups the cases take turns, step by step, so that other work on the machine slows all of them alike.
    """
    residents: dict[str, Resident] = {}
    try:
        warm = {}
        for name, case in cases.items():
            residents[name] = Resident(*case)
            warm[name] = [residents[name].call("step").step_s for _ in range(setting.warm_up)]
        taken = [{name: held.call("step") for name, held in residents.items()} for _ in range(setting.steps)]
        ends = {name: held.call("finish") for name, held in residents.items()}
    finally:
        for held in residents.values():
            held.close()
    return {name: _figures(setting, warm[name], [turn[name] for turn in taken]) | ends[name] for name in cases}


def _figures(setting: Setting, warm: list[float], taken: list[StepTime]) -> dict[str, Any]:
    seconds = [step.step_s for step in taken]
    step_s = statistics.median(seconds)
    return {
        "tokens_per_s": setting.tokens / step_s,
        "step_s": step_s,
        "fastest_s": min(seconds),
        "cpu_s": statistics.median(step.cpu_s for step in taken),
        "steps_s": seconds,
        "first_step_s": warm[0],
        "loss": taken[-1].loss,
    }


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def torch_cases(platform: str) -> list[str]:
    """Return the PyTorch cases that this machine can run: none with an accelerator, none without PyTorch."""
    if platform != "cpu" or importlib.util.find_spec("torch") is None:
        return []
    compilers = [os.environ.get("CXX", "g++"), "clang++"]  # torch.compile needs one
    return [EAGER, COMPILED] if any(shutil.which(compiler) for compiler in compilers) else [EAGER]


def run(setting: Setting, *, batch: int | None, with_torch: bool) -> dict[str, Any]:
    """Measure every case; return the results as JSON-serialisable values."""
    found, load = alone(survey, setting, batch), os.getloadavg()[0]
    rates, platform = found.pop("rates"), found.pop("platform")
    setting = dataclasses.replace(setting, train=dataclasses.replace(setting.train, batch_size=found["batch"]))
    comparable = with_torch and setting.train.optimizer == "adamw"  # the only optimiser of the PyTorch step
    others = torch_cases(platform) if comparable else []
    agreed = alone(agreement, setting) if others else None
    torches = {name: (TorchCase, setting, rates, name == COMPILED) for name in others}
    masked = {} if setting.mask == "none" else {MASKED: (OurCase, setting, setting.mask)}
    cases = measure(setting, {OURS: (OurCase, setting), **masked, **torches})
    peak = max(found.pop("peak_flops"), *(cases[name].pop("peak_flops") for name in (OURS, *masked)))
    flops = flops_per_token(setting.model, setting.model.max_seq_length)
    for name, case in cases.items():
        case["mfu"] = case["tokens_per_s"] * flops / peak
        if name == COMPILED:
            case["compile_s"] = max(0.0, case["first_step_s"] - case["step_s"])
    return {
        **found,
        "context": setting.model.max_seq_length,
        "accumulation": setting.train.accumulation,
        "dtype": setting.model.dtype,
        **{name: getattr(setting.train, name) for name in LAYOUT},
        "tokens_per_step": setting.tokens,
        "parameters": parameter_count(setting.model),
        "flops_per_token": flops,
        "peak_flops": peak,
        "warm_up": setting.warm_up,
        "steps": setting.steps,
        "load_before_after": [load, os.getloadavg()[0]],
        "agreement": agreed,
        "cases": cases,
        "mask": setting.mask,
        "ratios": {name: _ratio(cases[OURS], cases[name]) for name in (*masked, *others)},
    }


def _ratio(ours: dict[str, Any], its: dict[str, Any]) -> float:
    """Return our speed divided by another case's, median over the turns."""
    turns = zip(ours["steps_s"], its["steps_s"], strict=True)
    return statistics.median(its_s / ours_s for ours_s, its_s in turns)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="python -m lob_jax.bench.train_step", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="small", help="configuration in configs/ to measure")
    parser.add_argument("--context", type=int, help="tokens per window; the config's if absent")
    parser.add_argument("--batch", type=int, help="windows per micro-step over all devices; a run's choice if absent")
    parser.add_argument("--accumulation", type=int, default=1, help="micro-steps per optimiser step")
    parser.add_argument("--dtype", choices=DTYPES[:-1], help="dtype of the computation; the config's if absent")
    parser.add_argument("--steps", type=int, default=10, help="timed steps per case")
    parser.add_argument("--warm-up", type=int, default=2, help="untimed steps per case, before the timed ones")
    parser.add_argument("--parallel", choices=("jit", "pmap"), default="jit", help="how a step runs on the devices")
    parser.add_argument("--fsdp", type=int, default=1, help="devices over which the parameters are sharded")
    parser.add_argument("--tensor", type=int, default=1, help="devices that work on the same windows (tensor-parallel)")
    parser.add_argument("--loss-block", type=int, help="positions whose logits exist at once; all if absent")
    parser.add_argument("--deterministic", action="store_true", help="the same bits in every run, on GPUs too")
    parser.add_argument("--optimizer", choices=("adamw", "muon"), default="adamw")
    parser.add_argument("--mask", choices=CHOICES["mask"], default="none", help="of another model to measure beside it")
    parser.add_argument("--no-torch", action="store_true", help="measure our step alone")
    parser.add_argument("--profile", type=pathlib.Path, help="folder for a jax.profiler trace of our step")
    chosen = parser.parse_args(arguments)
    for name in ("context", "batch", "accumulation", "steps", "warm_up", "fsdp", "tensor", "loss_block"):
        value = getattr(chosen, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    return chosen


def setting_of(chosen: argparse.Namespace) -> Setting:
    """Return the setting that the options ask for; what they leave out is the config's."""
    config = importlib.import_module(f"lob_jax.configs.{chosen.size}").get_config()
    changes = {"mask": "none", **dict.fromkeys(NOT_IN_THE_TWIN, False), "digits_rank": 0, "head_size": 0}
    changes |= {name: value for name, value in (("max_seq_length", chosen.context), ("dtype", chosen.dtype)) if value}
    return Setting(
        model=dataclasses.replace(model_config(config), **changes),
        train=dataclasses.replace(
            train_config(config),
            accumulation=chosen.accumulation,
            **{name: getattr(chosen, name) for name in LAYOUT},
        ),
        warm_up=chosen.warm_up,
        steps=chosen.steps,
        profile=chosen.profile,
        mask=chosen.mask,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, then one JSON object."""
    chosen = parsed(arguments)
    figures = {"benchmark": "train_step", "size": chosen.size}
    figures |= run(setting_of(chosen), batch=chosen.batch, with_torch=not chosen.no_torch)
    packages = [*PACKAGES, *(["torch"] if EAGER in figures["cases"] else [])]
    print("\n".join(table(figures)))
    print(json.dumps({**figures, **surroundings("train_step", packages=packages, used="all used")}))


if __name__ == "__main__":
    main()
