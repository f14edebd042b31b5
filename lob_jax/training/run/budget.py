"""Estimate the memory of a run, choose the micro-batch that fits, and describe the plan and its expected time."""

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
from lob_jax.training.step.contrastive import VIEWS
from lob_jax.training.step.layout import window_groups

GIB = 2**30
SETS = 3  # sets of bits in memory for each token of a model with a mask: of the grammar, given, and of the book
USABLE = 0.85  # share of the available memory; the rest is for the runtime, the data pipeline and fragmentation
CPU_TOKENS = 2048  # per micro-batch on a CPU: more would keep its cores no busier, and activations would miss the cache
CGROUP_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How an optimiser step is split into micro-steps, and the memory it needs on each device.

    Attributes:
      micro_batch: windows in memory at once, per device.
      micro_steps: micro-steps per optimiser step.
      state_bytes: bytes of parameters, gradients and moments.
      window_bytes: bytes of the activations of one window.
      available_bytes: free bytes on the device before anything is placed on it.
    """

    micro_batch: int
    micro_steps: int
    state_bytes: int
    window_bytes: int
    available_bytes: int

    @property
    def needed_bytes(self) -> int:
        """Return the peak bytes on a device during a step."""
        return self.state_bytes + self.micro_batch * self.window_bytes


class Target(NamedTuple):
    """The properties of a compilation target that affect the memory of a step.

    Attributes:
      on_cpu: whether the target is a CPU, where XLA computes in float32 whatever the model's dtype, and fuses less.
      attention: the backend of full attention; "xla" materialises the scores of all pairs of tokens, others do not.
    """

    on_cpu: bool = True
    attention: str = "xla"


CPU = Target()


def target_here(config: ModelConfig) -> Target:
    """Return the target for which this process compiles a step."""
    here = surroundings(config, length=config.max_seq_length)
    return Target(here.platform == "cpu", chosen_backend(config, length=config.max_seq_length, here=here))


def state_bytes(config: ModelConfig, train: TrainConfig, target: Target = CPU) -> int:
    """Return the bytes on a device that do not depend on the micro-batch.

    Bytes per parameter in float32: the parameter 4, Adam's two moments 8, the gradient sum 4, the gradient of a
    micro-step 4; 4 more with an average of the parameters. With 16-bit computation on a CPU, 16-bit copies of parameter
    and gradient add 4. An accelerator adds the gradients of a micro-step to the sum as they are computed, so there only
    the copy of the parameter, 2 bytes, replaces the micro-step's gradient. Everything doubles in float64, and is
    sharded over a group of fsdp times tensor devices. (Muon keeps one moment of a matrix, not two: 4 bytes less.)
    """
    halves = config.dtype in HALVES
    a_parameter = 16 + 4 * (train.ema_decay is not None)
    a_parameter += (8 if target.on_cpu else 2) if halves else 4
    a_parameter *= 2 if config.dtype == "float64" else 1
    return parameter_count(config) * a_parameter // (train.fsdp * train.tensor)


def window_bytes(config: ModelConfig, loss_block: int | None = None, target: Target = CPU) -> int:
    """Return the bytes of activations that one window keeps for the backward pass.

    b T (L (c D + f F + 3 N S) + e D) + v V min(T, loss_block), with S the keys per query (`keys_a_query`). On a CPU,
    where XLA computes bfloat16 in float32, b = 4, c = 12 (10 for 16-bit dtypes), f = 1.5, e = 10, v = 8; on an
    accelerator b is the size of the dtype, c = 8, f = 2.5, e = 6, v = 4 + b (4 with remat). Of c D, 6 D (4 D) are in
    truth 6 N H (4 N H), with heads of width H. S = 0 for an attention kernel that does not materialise scores. The
    coefficients were fitted to what XLA allocates on CPUs and for an H200; tests check them to within 15 %.

    SwiGLU adds F, cross-asset attention 6 D + 3 N T. Each additional token ahead has separate logits. With remat, a
    layer keeps only its input ("full"), or also the results of its matrix products ("dots"), and only the layer being
    recomputed, two of them on a CPU, keeps all of the above; by then an accelerator has freed the logits. Devices of a
    tensor group need less.
    """
    T, D, F, N = config.max_seq_length, config.d_model, config.d_ff, config.n_heads
    A = N * config.head_width
    widened = 2 * F if config.activation == "swiglu" else F
    scores = config.attention.kind != "full" or target.attention == "xla"
    halves = config.dtype in HALVES
    stream = ((4 if halves else 6) * D + 6 * A + 0.5 * F) if target.on_cpu else 4 * D + 4 * A + 1.5 * F
    block = stream + widened + 3 * N * keys_a_query(config, T) * scores
    if config.attention.cross_asset:
        block += 6 * D + 3 * N * T
    size = 2 if halves and not target.on_cpu else 4
    kept = config.n_layers * {"none": block, "dots": 3 * D + 3 * A + widened, "full": D}[config.remat]
    of_token = 8 if target.on_cpu else 4 + size * (config.remat == "none")
    logits = of_token * config.vocab_size * min(T, loss_block or T) * config.heads.next_tokens
    if config.mask != "none":
        logits += SETS * config.vocab_size // 8 * T
    ends, layers = size * T * (10 if target.on_cpu else 6) * D + logits, size * T * kept
    if config.remat != "none":
        anew = size * T * block
        ends = ends + 2 * anew if target.on_cpu else max(ends, anew)
    rows = 2 if config.attention.cross_asset else 1
    return rows * int(layers + ends) * (2 if config.dtype == "float64" else 1)


def passes(config: ModelConfig, train: TrainConfig) -> int:
    """Return the forward passes of a window whose activations are kept at once for the backward pass.

    They are that of the clean tokens, and those of adversarial ones and of two augmented views, see `TrainConfig`.
    Mixup keeps embeddings and logits twice, which is counted as a pass.
    """
    views = VIEWS * (config.heads.contrastive_size > 0 and train.contrastive_views == "augmented")
    return 1 + (train.adversarial != "none") + (train.mixup > 0) + views


def available_bytes(devices: Sequence[jax.Device]) -> int:
    """Return the free bytes on each device; CPU devices share those of the host, within its container's limit."""
    statistics = devices[0].memory_stats()
    if devices[0].platform != "cpu" and statistics is not None:
        return statistics["bytes_limit"] - statistics["bytes_in_use"]
    return min(psutil.virtual_memory().available, *_container_bytes()) // len(devices)


def _container_bytes() -> list[int]:
    free = [psutil.virtual_memory().total]
    for limit, used in CGROUP_LIMITS:
        if pathlib.Path(limit).is_file() and pathlib.Path(used).is_file():
            text = pathlib.Path(limit).read_text().strip()
            if text.isdigit():  # "max" means no limit
                free.append(max(0, int(text) - int(pathlib.Path(used).read_text())))
    return free


def plan_memory(
    model: ModelConfig, train: TrainConfig, *, devices: int, available: int, target: Target, before: int | None = None
) -> Plan:
    """Choose the micro-batch: the configured one, else the one before resuming, else the largest that fits.

    The micro-batch divides the windows of a device, so that all micro-steps have the same size. The choice affects
    results only by rounding.

    Args:
      model: the model.
      train: training settings, of which batch_size, accumulation and micro_batch are used.
      devices: number of device groups over which the windows of a batch are sharded.
      available: free bytes on each device.
      target: the compilation target; on a CPU the micro-batch is limited to CPU_TOKENS tokens.
      before: the micro-batch before resuming, kept if it fits, so that the resumed run is bit-identical.

    Raises:
      InputError: the batch is not divisible, or not even one window fits.
    """
    share = _windows_a_device(train, devices)
    state = state_bytes(model, train, target)
    window = passes(model, train) * window_bytes(model, train.loss_block, target)
    fitting = int(USABLE * available - state) // window
    if fitting < (train.micro_batch or 1):
        raise _does_not_fit(
            model, train, train.micro_batch or 1, state=state, window=window, available=available, target=target
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
    """Plan for the memory that is free on a mesh now, the smallest over all processes; see `plan_memory`.

    Raises:
      InputError: as in `plan_memory`.
    """
    here = [device for device in mesh.devices.flat if device.process_index == jax.process_index()]
    available = np.array(available_bytes(here), np.float64)
    if jax.process_count() > 1:  # as a float, since JAX would truncate an int64 to 32 bits
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
            "the batch size is not divisible by the number of device groups",
            where="config.train.batch_size",
            expected=f"a multiple of {devices}, the number of device groups with separate windows",
            was=train.batch_size,
            remedy="change batch_size, or use fewer devices",
        )
    share = train.batch_size // devices
    if train.micro_batch is not None and share % train.micro_batch:
        raise InputError(
            "the micro-batch does not divide the batch",
            where="config.train.micro_batch",
            expected=f"a divisor of {share}, the windows per device, or None",
            was=train.micro_batch,
            remedy="change micro_batch, or leave it out to have it chosen automatically",
        )
    return share


def _does_not_fit(
    model: ModelConfig, train: TrainConfig, windows: int, *, state: int, window: int, available: int, target: Target
) -> InputError:
    def fits(length: int) -> bool:
        shorter = dataclasses.replace(model, max_seq_length=length)
        return state + passes(model, train) * window_bytes(shorter, target=target) <= USABLE * available

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
        expected=f"{(state + windows * window) / GIB:.2f} GiB per device: {state / GIB:.2f} for parameters, gradients"
        f" and moments, {windows} x {window / GIB:.2f} for the activations of a window",
        was=f"{USABLE * available / GIB:.2f} GiB usable ({USABLE:.0%} of {available / GIB:.2f} GiB free)",
        remedy="; or ".join(remedies),
    )


def describe_plan(plan: Plan, *, steps: int, micro_step_s: float, devices: int) -> str:
    """Return the first line that a run shows: its micro-steps, memory and expected time.

    The time of a step is estimated from a measured micro-step; the optimiser's share is small in comparison.
    """
    step_s = plan.micro_steps * micro_step_s
    return (
        f"{steps} steps of {plan.micro_steps} micro-steps x {plan.micro_batch} windows on {devices} device(s), about "
        f"{plan.needed_bytes / GIB:.2f} of {plan.available_bytes / GIB:.2f} GiB each; "
        f"expected time: {readable_time(step_s)} per step, {readable_time(steps * step_s)} for the run plus validations"
    )


def readable_time(seconds: float) -> str:
    """Return a human-readable duration: 0.42 s, 3 min 05 s, 2 h 10 min, 12.5 days."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{seconds / 86_400:.1f} days"
