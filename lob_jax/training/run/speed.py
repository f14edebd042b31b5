"""Determine the speed of devices: published peaks, a measured matmul rate, the time of a micro-step, and traces."""

import functools
import pathlib
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.models.config import ModelConfig
from lob_jax.models.inputs import fields_read, zeros
from lob_jax.models.masking import Masks
from lob_jax.models.transformer import LOBTransformer
from lob_jax.training.step.layout import place, replicated, split_over_windows, state_sharding
from lob_jax.training.step.objective import Objective
from lob_jax.training.step.shift import Batch
from lob_jax.training.step.step import summed_gradients
from lob_jax.training.step.tasks import model_part

# Dense bfloat16 flops per second (two per multiply-add) of one JAX device, from the vendors' data sheets. A device kind
# is matched by its longest prefix here. float32 runs use the same peak, since the device could reach it.
PEAK_FLOPS = {
    "NVIDIA A100": 312e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H200": 989e12,
    "NVIDIA B200": 2250e12,
    "NVIDIA L4": 121e12,
    "NVIDIA L40S": 362e12,
    "NVIDIA A10G": 70e12,
    "TPU v2": 22.5e12,
    "TPU v3": 61.5e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5": 459e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
}
MATMUL_SIZE = 1024
MATMULS = 10
LONG_S = 2.0  # a call that takes longer is timed once


def median_seconds(function: Callable[[], jax.Array], *, repeats: int = 5) -> float:
    """Return the median seconds of an already compiled call; no call follows one that takes more than LONG_S."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
        if times[-1] > LONG_S:
            break
    return statistics.median(times)


def matmul_rate(device: jax.Device, dtype: str) -> float:
    """Return the flops per second of a 1,024 x 1,024 matmul on a device: the fastest of ten, after a warm-up.

    Other work on the machine can only slow a matmul down, so the fastest one is closest to the true rate.
    """
    factor = jax.device_put(np.ones((MATMUL_SIZE, MATMUL_SIZE), jnp.dtype(dtype)), device)
    multiply = jax.jit(jnp.matmul)
    jax.block_until_ready(multiply(factor, factor))
    fastest_s = min(median_seconds(lambda: multiply(factor, factor), repeats=1) for _ in range(MATMULS))
    return 2 * MATMUL_SIZE**3 / fastest_s


def peak_flops(devices: Sequence[jax.Device], dtype: str) -> tuple[float, str]:
    """Return the peak that MFU is relative to, in flops per second over all devices, and its source.

    A known accelerator has its published bfloat16 peak. For other devices the rate of a matmul is measured; CPU devices
    share their cores, so there the rate of one device is that of all together.
    """
    kind = devices[0].device_kind
    known = [name for name in PEAK_FLOPS if kind.startswith(name)]
    if known:
        return PEAK_FLOPS[max(known, key=len)] * len(devices), "the published bfloat16 peak"
    shared = devices[0].platform == "cpu"
    return matmul_rate(devices[0], dtype) * (1 if shared else len(devices)), f"a measured {dtype} matmul"


def blank_batch(config: ModelConfig, windows: int, *, also: tuple[str, ...] = ()) -> Batch:
    """Return one micro-step [1, windows, ...] of zeros in which every token is scored: enough to take the time of.

    Args:
      config: the model.
      windows: number of windows.
      also: names of arrays beside those that the model reads of any window.
    """
    assets = (2,) if config.attention.cross_asset else ()
    names = (*fields_read(config), *also)
    batch = zeros(config, names, windows=(1, windows, *assets), tokens=config.max_seq_length + 1)
    return {**batch, "scored": np.ones_like(batch["scored"]), "example": np.arange(windows, dtype=np.int32)[None]}


def micro_step_seconds(
    model: LOBTransformer,
    params: Any,
    *,
    windows: int,
    mesh: jax.sharding.Mesh,
    objective: Objective,
    masks: Masks | None = None,
) -> float:
    """Return the measured seconds of computing the gradients of one micro-step, excluding compilation.

    Args:
      model: the model.
      params: its parameters, on the mesh.
      windows: windows of the micro-step, over all devices.
      mesh: the devices.
      objective: the loss.
      masks: see `summed_loss`.
    """
    sharding, whole = split_over_windows(mesh, leading_axes=1), replicated(mesh)
    params = model_part(params)  # what is beside a model has no gradient, or takes no time
    gradients = jax.jit(
        functools.partial(summed_gradients, model=model, objective=objective, masks=masks),
        in_shardings=(state_sharding(params, mesh), sharding, whole),
        out_shardings=(state_sharding(params, mesh), whole, whole, whole),
    )
    batch = place(blank_batch(model.config, windows // jax.process_count()), sharding, windows=windows, axis=1)
    key = jax.jit(lambda: jax.random.key(0), out_shardings=whole)()
    jax.block_until_ready(gradients(params, batch, key))
    # Each process decides by its own clock when to stop repeating; a collective that one of them skips would hang.
    repeats = 5 if jax.process_count() == 1 else 1
    return median_seconds(lambda: gradients(params, batch, key), repeats=repeats)


class Trace:
    """A profiler trace of a few steps, for TensorBoard or Perfetto; there is none if `first` is None."""

    def __init__(self, folder: pathlib.Path, *, first: int | None, steps: int):
        self._folder, self._first, self._steps, self._last = folder, first, steps, None

    def before(self, step: int) -> None:
        """Start the trace if this is its first step; a run resumed after that step has no trace."""
        if step == self._first:
            jax.profiler.start_trace(str(self._folder))
            self._last = step + self._steps - 1

    def after(self, step: int, metrics: Any) -> float:
        """Stop the trace after its last step; return the seconds spent on writing it."""
        if step != self._last:
            return 0.0
        jax.block_until_ready(metrics)
        start = time.perf_counter()
        self.close()
        return time.perf_counter() - start

    def close(self) -> None:
        """Stop the trace if one is active, since a run may end before its last step."""
        if self._last is not None:
            jax.profiler.stop_trace()
            self._last = None
