"""What a run needs before it starts: memory, the micro-batch that fits it, and the time it should take."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
import psutil
from jax.experimental import multihost_utils

from lob_jax.errors import InputError
from lob_jax.models.accounting import keys_a_query, parameter_count
from lob_jax.models.attention.backends import HALVES, chosen_backend, surroundings
from lob_jax.models.config import ModelConfig
from lob_jax.training.config import TrainConfig
from lob_jax.training.step.layout import window_groups

GIB = 2**30
USABLE = 0.85  # of the available memory; the rest is for the runtime, the data pipeline and fragments
CPU_TOKENS = 2048  # a micro-batch on a CPU: more of them keep its cores no busier, and activations miss the cache
CGROUP_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How an optimiser step is cut, and the memory it needs on each device.

    Attributes:
      micro_batch: windows in memory at once, a device.
      micro_steps: micro-steps an optimiser step.
      state_bytes: parameters, gradients and moments.
      window_bytes: the activations of one window.
      available_bytes: what the device has free before anything is put on it.
    """

    micro_batch: int
    micro_steps: int
    state_bytes: int
    window_bytes: int
    available_bytes: int

    @property
    def needed_bytes(self) -> int:
        """Return the bytes a device holds at the height of a step."""
        return self.state_bytes + self.micro_batch * self.window_bytes


class Target(NamedTuple):
    """What a step is compiled for, as far as its memory is concerned.

    Attributes:
      on_cpu: whether XLA computes there in float32 whatever the model's dtype, and fuses less.
      attention: the backend of full attention: "xla" holds the scores of all pairs of tokens, others do not.
    """

    on_cpu: bool = True
    attention: str = "xla"


CPU = Target()


def target_here(config: ModelConfig) -> Target:
    """Return what a step of this process is compiled for."""
    here = surroundings(config, length=config.max_seq_length)
    return Target(here.platform == "cpu", chosen_backend(config, length=config.max_seq_length, here=here))


def state_bytes(config: ModelConfig, train: TrainConfig, target: Target = CPU) -> int:
    """Return the bytes on a device that do not grow with the micro-batch.

    Per parameter, in float32: itself 4, Adam's two moments 8, the sum of the gradients 4, a micro-step's gradients 4;
    with an average of the parameters, 4; computing in 16 bits, the copies of parameters and gradients in them, 4, while
    an accelerator adds a micro-step's gradients to the sum as they come, and has just the copy of the parameters, 2. In
    float64 all of it is twice as much. A group of fsdp times tensor devices shares it. (Muon keeps one moment of a
    matrix, not two: 4 less.)
    """
    halves = config.dtype in HALVES
    a_parameter = 16 + 4 * (train.ema_decay is not None)
    a_parameter += (8 if target.on_cpu else 2) if halves else 4
    a_parameter *= 2 if config.dtype == "float64" else 1
    return parameter_count(config) * a_parameter // (train.fsdp * train.tensor)


def window_bytes(config: ModelConfig, loss_block: int | None = None, target: Target = CPU) -> int:
    """Return the bytes of activations that one window keeps for the backward pass.

    b T (L (c D + f F + 3 N S) + e D) + 8 V min(T, loss_block), S the keys of a query (`keys_a_query`). On a CPU, where
    XLA computes bfloat16 in float32, b = 4, c = 18 (of 16 bits 14), f = 4.5, e = 10; on an accelerator b is the size of
    the dtype, c = 10, f = 5, e = 6. An attention kernel that holds no scores has S = 0. The counts were fitted to what
    XLA allots on CPUs and for an H200, and tests hold them to it within a quarter.

    SwiGLU keeps F more, cross-asset attention 6 D + 3 N T. A further token ahead has logits of its own. With remat, a
    layer keeps its input ("full"), or also what its weights were multiplied to ("dots"), and one layer at a time has
    all of the above, on a CPU two; by then an accelerator has given up the logits. Devices of a tensor group need less.
    """
    T, D, F, N = config.max_seq_length, config.d_model, config.d_ff, config.n_heads
    widened = 2 * F if config.activation == "swiglu" else F
    scores = config.attention.kind != "full" or target.attention == "xla"
    halves = config.dtype in HALVES
    stream = ((14 if halves else 18) * D + 3.5 * F) if target.on_cpu else 10 * D + 4 * F
    block = stream + widened + 3 * N * keys_a_query(config, T) * scores
    if config.attention.cross_asset:
        block += 6 * D + 3 * N * T
    size = 2 if halves and not target.on_cpu else 4
    kept = config.n_layers * {"none": block, "dots": 6 * D + widened, "full": D}[config.remat]
    logits = 8 * config.vocab_size * min(T, loss_block or T) * config.heads.next_tokens
    ends, layers = size * T * (10 if target.on_cpu else 6) * D + logits, size * T * kept
    if config.remat != "none":
        anew = size * T * block
        ends = ends + 2 * anew if target.on_cpu else max(ends, anew)
    rows = 2 if config.attention.cross_asset else 1
    return rows * int(layers + ends) * (2 if config.dtype == "float64" else 1)


def available_bytes(devices: Sequence[jax.Device]) -> int:
    """Return the bytes free on each device; CPU devices share the host's, within the limit of its container."""
    statistics = devices[0].memory_stats()
    if devices[0].platform != "cpu" and statistics is not None:
        return statistics["bytes_limit"] - statistics["bytes_in_use"]
    return min(psutil.virtual_memory().available, *_container_bytes()) // len(devices)


def _container_bytes() -> list[int]:
    free = [psutil.virtual_memory().total]
    for limit, used in CGROUP_LIMITS:
        if pathlib.Path(limit).is_file() and pathlib.Path(used).is_file():
            text = pathlib.Path(limit).read_text().strip()
            if text.isdigit():  # "max" is no limit
                free.append(max(0, int(text) - int(pathlib.Path(used).read_text())))
    return free


def plan_memory(
    model: ModelConfig, train: TrainConfig, *, devices: int, available: int, target: Target, before: int | None = None
) -> Plan:
    """Choose the micro-batch: the one asked for, else the one of the run so far, else the largest that fits.

    It divides the windows of a device, so that every micro-step is whole; how it is chosen changes no numbers beyond
    rounding.

    Args:
      model: the model.
      train: batch_size, accumulation and micro_batch of it are read.
      devices: groups of them over which the windows of a batch are split.
      available: bytes free on each.
      target: what the step is compiled for; on a CPU the micro-batch is capped at CPU_TOKENS tokens.
      before: the micro-batch of the run so far, kept if it fits, so that a resumed run is equal bit for bit.

    Raises:
      InputError: the batch does not divide, or not even one window fits.
    """
    share = _windows_a_device(train, devices)
    state, window = state_bytes(model, train, target), window_bytes(model, train.loss_block, target)
    fitting = int(USABLE * available - state) // window
    if fitting < (train.micro_batch or 1):
        raise _does_not_fit(
            model, train.micro_batch or 1, state=state, window=window, available=available, target=target
        )
    if train.micro_batch is not None:
        micro_batch = train.micro_batch
    elif before is not None and before <= fitting and share % before == 0:
        micro_batch = before
    else:
        most = min(fitting, max(1, CPU_TOKENS // model.max_seq_length)) if target.on_cpu else fitting
        micro_batch = max(size for size in range(1, share + 1) if share % size == 0 and size <= most)
    micro_steps = train.accumulation * share // micro_batch
    return Plan(micro_batch, micro_steps, state_bytes=state, window_bytes=window, available_bytes=available)


def plan_on(mesh: jax.sharding.Mesh, model: ModelConfig, train: TrainConfig, *, before: int | None = None) -> Plan:
    """Plan with what the devices of a mesh have free now, the scarcest of any process; see `plan_memory`.

    Raises:
      InputError: as there, or the batch does not divide over the processes.
    """
    here = [device for device in mesh.devices.flat if device.process_index == jax.process_index()]
    available = np.array(available_bytes(here), np.float64)
    if jax.process_count() > 1:  # a float: JAX would make 32 bits of an integer
        available = multihost_utils.process_allgather(available.astype(np.float32)).min()
    return plan_memory(
        model,
        train,
        devices=window_groups(mesh),
        available=int(available),
        target=target_here(model),
        before=before,
    )


def _windows_a_device(train: TrainConfig, devices: int) -> int:
    if train.batch_size % devices:
        raise InputError(
            "the batch does not divide over the devices",
            where="config.train.batch_size",
            expected=f"a multiple of {devices}, the groups of devices that have windows of their own",
            was=train.batch_size,
            remedy="change batch_size, or use fewer devices",
        )
    share = train.batch_size // devices
    if train.micro_batch is not None and share % train.micro_batch:
        raise InputError(
            "the micro-batch does not divide the batch",
            where="config.train.micro_batch",
            expected=f"a divisor of {share}, the windows of a device, or None",
            was=train.micro_batch,
            remedy="change micro_batch, or leave it out to have one chosen",
        )
    return share


def _does_not_fit(
    model: ModelConfig, windows: int, *, state: int, window: int, available: int, target: Target
) -> InputError:
    def fits(length: int) -> bool:
        shorter = dataclasses.replace(model, max_seq_length=length)
        return state + window_bytes(shorter, target=target) <= USABLE * available

    shorter = model.max_seq_length
    while shorter > 1 and not fits(shorter):
        shorter //= 2
    remedies = ["a smaller model (configs/small.py, configs/tiny.py)"]
    if windows > 1:
        remedies.insert(0, "a smaller config.train.micro_batch")
    elif shorter > 1:
        remedies.append(f"a shorter sequence (--config.model.max_seq_length={shorter} fits)")
    return InputError(
        "the run does not fit in memory",
        where="config.model and config.train.micro_batch",
        expected=f"{(state + windows * window) / GIB:.2f} GiB a device: {state / GIB:.2f} for parameters, gradients and"
        f" moments, {windows} x {window / GIB:.2f} for the activations of a window",
        was=f"{USABLE * available / GIB:.2f} GiB to use ({USABLE:.0%} of {available / GIB:.2f} GiB free)",
        remedy="; or ".join(remedies),
    )


def describe_plan(plan: Plan, *, steps: int, micro_step_s: float, devices: int) -> str:
    """Return the sentence that a run begins with: how it is cut, its memory and its time.

    The time of a step is that of its micro-steps, measured; the optimiser's own share is small beside them.
    """
    step_s = plan.micro_steps * micro_step_s
    return (
        f"{steps} steps of {plan.micro_steps} micro-steps x {plan.micro_batch} windows on {devices} device(s), about "
        f"{plan.needed_bytes / GIB:.2f} of {plan.available_bytes / GIB:.2f} GiB each; "
        f"a step should take {readable_time(step_s)}, the run {readable_time(steps * step_s)} and its validations"
    )


def readable_time(seconds: float) -> str:
    """Return a duration as one reads it: 0.42 s, 3 min 05 s, 2 h 10 min, 12.5 days."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{seconds / 86_400:.1f} days"
