"""Accelerators that XLA can compile for from a description alone, and the rates that estimates assume.

An NVIDIA GPU is described by the figures below: XLA's compiler, which comes with JAX's plugin, needs no driver and no
device. A TPU is described by its name, which libtpu knows.
"""

import contextlib
import dataclasses
import importlib.util
import os
from collections.abc import Generator
from typing import Any
from unittest import mock

import jax
from jax.experimental import topologies
from jax.experimental.compilation_cache import compilation_cache

from lob_jax.errors import InputError
from lob_jax.generation import context
from lob_jax.models.attention import backends

# From NVIDIA's data sheet of the H200 SXM and its tuning guide for compute capability 9.0.
_H200 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 4800000000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 150000000000
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  cuda_compute_capability { major: 9 }
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 }
runtime_version { major: 12 minor: 9 }
device_description_str: "NVIDIA H200"
"""
CUDNN = 90_800  # the version above, as JAX writes it


@dataclasses.dataclass(frozen=True)
class Rates:
    """What a device is assumed to reach, in numbers per second.

    Attributes:
      peak: published peak of bfloat16 products, which MFU refers to.
      halves: operations of matrix products with 16-bit operands.
      fulls: those of products with float32 operands, in TF32.
      attention: operations of an attention kernel.
      memory: bytes read or written.
      integers: 32-bit integer operations, of which random numbers consist.
      kernel_s: seconds that the smallest kernel takes, with its launch in a CUDA graph.
    """

    peak: float
    halves: float
    fulls: float
    attention: float
    memory: float
    integers: float
    kernel_s: float

    def told(self) -> str:
        """Return the assumptions in a sentence."""
        return (
            f"{self.halves / 1e12:.0f} Tflop/s of 16-bit and {self.fulls / 1e12:.0f} of float32 products (peak "
            f"{self.peak / 1e12:.0f}), {self.attention / 1e12:.0f} in attention, {self.memory / 1e12:.1f} TB/s, "
            f"{self.integers / 1e12:.0f} T integer operations/s, at least {self.kernel_s * 1e6:.0f} us a kernel"
        )


@dataclasses.dataclass(frozen=True)
class Described:
    """An accelerator that is not here.

    Attributes:
      kind: its name in words.
      platform: JAX's name of its platform.
      topology: the name under which the compiler knows how its devices are connected.
      target: description of a GPU, as text of a GpuTargetConfigProto; empty for a TPU.
      packages: the installed packages that compile for it.
      rates: what it is assumed to reach.
    """

    kind: str
    platform: str
    topology: str
    target: str
    packages: tuple[str, ...]
    rates: Rates

    def devices(self) -> list[jax.Device]:
        """Return one device to compile for; nothing can be placed on it.

        Raises:
          InputError: the compiler is not installed.
        """
        if missing := [name for name in self.packages if not _installed(name)]:
            raise InputError(
                "the compiler for this device is not installed",
                where="--device",
                expected=f"modules {', '.join(self.packages)}",
                was=f"no {', '.join(missing)}",
                remedy='install it in an environment of its own: python -m pip install "lob_jax[bench-gpu]", or libtpu',
            )
        how = {"target_config": self.target, "topology": self.topology} if self.target else {}
        name = self.kind if self.target else self.topology
        described = topologies.get_topology_desc(name, "cuda" if self.target else "tpu", **how)
        return list(described.devices)[:1]


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False


# Shares of the published peaks (989 and 494 Tflop/s, 4.8 TB/s) that large products and copies are known to reach; 132
# cores x 64 lanes x 1.98 GHz for integers, of which a tenth is lost.
H200_RATES = Rates(989e12, 790e12, 395e12, 300e12, 4.1e12, 15e12, 2e-6)
V5E_RATES = Rates(197e12, 158e12, 40e12, 79e12, 0.7e12, 1.5e12, 1e-6)
DEVICES = {
    "h200": Described("NVIDIA H200", "gpu", "1x1x1", _H200, ("jax_plugins.xla_cuda12", "nvidia.cuda_nvcc"), H200_RATES),
    "v5e": Described("TPU v5e", "tpu", "v5e:1x1", "", ("libtpu",), V5E_RATES),
}


def set_environment() -> None:
    """Set what XLA and JAX's plugins read when they are first used.

    There is no device whose versions could be checked, and none on which kernels could be timed to choose among them.
    """
    jax.config.update("jax_platforms", "cpu")
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"
    flags = "--xla_gpu_autotune_level=0"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()


def _cache_in(folder: str | None) -> None:
    jax.config.update("jax_compilation_cache_dir", folder)
    compilation_cache.reset_cache()  # which otherwise stays what it was at its first use


class _There:
    """JAX as it is on one device of a platform."""

    def __init__(self, platform: str):
        self.default_backend, self.device_count = (lambda: platform), (lambda: 1)

    def __getattr__(self, name: str) -> Any:
        return getattr(jax, name)


@contextlib.contextmanager
def compiling_for(device: Described) -> Generator[None]:
    """Let a model choose kernels and weights as on a device that is not here; keep its programs out of JAX's cache.

    A program from the cache would be loaded onto the device.
    """
    settings: Any = jax.config  # whose attributes are made at run time
    with contextlib.ExitStack() as stack:
        stack.callback(_cache_in, settings.jax_compilation_cache_dir)
        _cache_in(None)
        for module in (backends, context):  # which ask where they run
            stack.enter_context(mock.patch.object(module, "jax", _There(device.platform)))
        if device.platform == "gpu":  # JAX asks a loaded cuDNN and a GPU what they support
            module = "jax._src.cudnn.fused_attention_stablehlo"
            answers = {
                "check_cudnn_version": CUDNN,
                "check_compute_capability": True,
                "is_cuda_compute_capability_equal": False,  # to 10.3, which needs other layouts
            }
            for name, answer in answers.items():
                stack.enter_context(mock.patch(f"{module}.{name}", return_value=answer))
        yield
