"""How fast the devices are: published peaks, a measured matmul rate, and the time of one micro-step."""

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
from lob_jax.models.transformer import LOBTransformer
from lob_jax.training.step.layout import place, replicated, split_over_windows, state_sharding
from lob_jax.training.step.objective import Objective
from lob_jax.training.step.shift import Batch
from lob_jax.training.step.step import summed_gradients

# Dense bfloat16 multiply-adds a second, times two, of one device as JAX counts devices: makers' data sheets. Kinds are
# matched by their longest prefix here. float32 runs are held to the same peak: the device could do as much.
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
LONG_S = 2.0  # a micro-step that takes longer is timed once


def median_seconds(function: Callable[[], jax.Array], *, repeats: int = 5) -> float:
    """Return the median time of a call that is already compiled; one call is enough where it takes long."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
        if times[-1] > LONG_S:
            break
    return statistics.median(times)


def matmul_rate(device: jax.Device, dtype: str) -> float:
    """Return the flops a second that a square matmul of 1,024 reaches on a device: the fastest of ten, after a warm-up.

    A machine that does other work at that moment shows less than it can; the fastest is the nearest to it.
    """
    factor = jax.device_put(np.ones((MATMUL_SIZE, MATMUL_SIZE), jnp.dtype(dtype)), device)
    multiply = jax.jit(jnp.matmul)
    jax.block_until_ready(multiply(factor, factor))
    fastest_s = min(median_seconds(lambda: multiply(factor, factor), repeats=1) for _ in range(MATMULS))
    return 2 * MATMUL_SIZE**3 / fastest_s


def peak_flops(devices: Sequence[jax.Device], dtype: str) -> tuple[float, str]:
    """Return what MFU is measured against, flops a second over all devices, and where the figure comes from.

    A known accelerator has its published bfloat16 peak. Any other device has the rate of a matmul measured on it;
    CPU devices share their cores, so that rate is the rate of them all.
    """
    kind = devices[0].device_kind
    known = [name for name in PEAK_FLOPS if kind.startswith(name)]
    if known:
        return PEAK_FLOPS[max(known, key=len)] * len(devices), "the published bfloat16 peak"
    shared = devices[0].platform == "cpu"
    return matmul_rate(devices[0], dtype) * (1 if shared else len(devices)), f"a measured {dtype} matmul"


def blank_batch(config: ModelConfig, windows: int) -> Batch:
    """Return one micro-step [1, windows, ...] of zeros in which every token is scored: enough to take the time of."""
    assets = (2,) if config.attention.cross_asset else ()
    batch = zeros(config, fields_read(config), windows=(1, windows, *assets), tokens=config.max_seq_length + 1)
    return {**batch, "scored": np.ones_like(batch["scored"]), "example": np.arange(windows, dtype=np.int32)[None]}


def micro_step_seconds(
    model: LOBTransformer, params: Any, *, windows: int, mesh: jax.sharding.Mesh, objective: Objective
) -> float:
    """Return the time that the gradients of one micro-step take, measured after compiling them.

    Args:
      model: the model.
      params: its parameters, on the mesh.
      windows: of the micro-step, over all devices.
      mesh: the devices.
      objective: what the loss is made of.
    """
    sharding, whole = split_over_windows(mesh, leading_axes=1), replicated(mesh)
    gradients = jax.jit(
        functools.partial(summed_gradients, model=model, objective=objective),
        in_shardings=(state_sharding(params, mesh), sharding, whole),
        out_shardings=(state_sharding(params, mesh), whole, whole, whole),
    )
    batch = place(blank_batch(model.config, windows // jax.process_count()), sharding, windows=windows, axis=1)
    key = jax.jit(lambda: jax.random.key(0), out_shardings=whole)()
    jax.block_until_ready(gradients(params, batch, key))
    repeats = 5 if jax.process_count() == 1 else 1  # processes that disagreed on when to end would wait for ever
    return median_seconds(lambda: gradients(params, batch, key), repeats=repeats)


class Trace:
    """A profiler trace of a few steps, for TensorBoard or Perfetto; of none if there is no first step."""

    def __init__(self, folder: pathlib.Path, *, first: int | None, steps: int):
        self._folder, self._first, self._steps, self._last = folder, first, steps, None

    def before(self, step: int) -> None:
        """Begin the trace, if this step is its first; a run that is gone on with beyond it has none."""
        if step == self._first:
            jax.profiler.start_trace(str(self._folder))
            self._last = step + self._steps - 1

    def after(self, step: int, metrics: Any) -> float:
        """End the trace, once its last step is done; return the seconds that it took to write."""
        if step != self._last:
            return 0.0
        jax.block_until_ready(metrics)
        start = time.perf_counter()
        self.close()
        return time.perf_counter() - start

    def close(self) -> None:
        """End the trace, if there is one: the end of a run may cut it short."""
        if self._last is not None:
            jax.profiler.stop_trace()
            self._last = None
