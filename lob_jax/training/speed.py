"""How fast the devices are: published peaks, a measured matmul rate, and the time of one micro-step."""

import functools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.models.config import ModelConfig
from lob_jax.models.transformer import LOBTransformer
from lob_jax.training.shift import Batch, fields_read
from lob_jax.training.step import replicated, split_over_data, summed_gradients

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
    shape = (1, windows, config.max_seq_length + 1)
    whole = {
        "tokens": np.zeros(shape, np.int32),
        "scored": np.ones(shape, bool),
        "time_of_day": np.zeros(shape, np.int32),
        "day_of_week": np.zeros(shape, np.int32),
        "book": np.zeros((*shape, config.book_features), np.float32),
        "example": np.arange(windows, dtype=np.int32)[None],
    }
    return {name: whole[name] for name in fields_read(config)}


def micro_step_seconds(config: ModelConfig, params: Any, *, windows: int, mesh: jax.sharding.Mesh) -> float:
    """Return the time that the gradients of one micro-step of `windows` windows take, measured after compiling them."""
    gradients = jax.jit(
        functools.partial(summed_gradients, model=LOBTransformer(config)),
        in_shardings=(replicated(mesh), split_over_data(mesh, leading_axes=1), replicated(mesh)),
        out_shardings=replicated(mesh),
    )
    batch = jax.device_put(blank_batch(config, windows), split_over_data(mesh, leading_axes=1))
    key = jax.device_put(jax.random.key(0), replicated(mesh))
    jax.block_until_ready(gradients(params, batch, key))
    return median_seconds(lambda: gradients(params, batch, key))
