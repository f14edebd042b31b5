"""What computes full causal attention within a sequence: XLA anywhere, cuDNN on NVIDIA, a Pallas kernel on TPU.

The last two never hold the T x T scores: their memory grows as T. All are held to the same numbers by tests.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lob_jax.errors import InputError
from lob_jax.models.attention.dense import attend, causal_mask
from lob_jax.models.config import ModelConfig

HALVES = ("bfloat16", "float16")
CUDNN_HEAD = 128  # largest head size on every generation that has the kernel
SPLASH_TILE = 128  # a TPU's lanes: what lengths must be a multiple of
SPLASH_BLOCK = 512  # queries and keys at a time, of sequences that long


def cannot(backend: str, config: ModelConfig, *, platform: str, length: int, devices: int) -> str | None:
    """Return what keeps a backend from computing attention here, None if nothing does.

    Args:
      backend: "xla", "cudnn" or "splash".
      config: the model.
      platform: of the devices, as `jax.default_backend()` names it.
      length: T.
      devices: how many there are; a Pallas kernel is not split over a mesh by the compiler.
    """
    half = config.dtype in HALVES
    needs = {
        "xla": [],
        "cudnn": [
            ("an NVIDIA GPU", platform == "gpu"),
            ("bfloat16 or float16", half),
            (f"a head size of 8, 16, ... {CUDNN_HEAD}", config.head_size % 8 == 0 and config.head_size <= CUDNN_HEAD),
        ],
        "splash": [
            ("a TPU", platform == "tpu"),
            ("one device", devices == 1),
            ("bfloat16 or float32", config.dtype in ("bfloat16", "float32")),
            (f"a length in multiples of {SPLASH_TILE}", length % SPLASH_TILE == 0),
        ],
    }
    return next((need for need, met in needs[backend] if not met), None)


def chosen_backend(config: ModelConfig, *, platform: str, length: int, devices: int) -> str:
    """Return the backend that a configuration asks for; "auto" is the first of cuDNN, Pallas and XLA that can.

    Raises:
      InputError: a backend is asked for by name that cannot run here.
    """
    asked, here = config.attention.backend, {"platform": platform, "length": length, "devices": devices}
    if asked == "auto":
        return next(name for name in ("cudnn", "splash", "xla") if cannot(name, config, **here) is None)
    lacking = cannot(asked, config, **here)
    if lacking is not None:
        raise InputError(
            "the attention backend cannot run here",
            where="config.model.attention.backend",
            expected=f"{lacking}, for {asked}",
            was=f"{platform}, {devices} device(s), {config.dtype}, heads of {config.head_size}, length {length}",
            remedy="pass --config.model.attention.backend=auto",
        )
    return asked


def attend_causally(
    query_BTNH: jax.Array, key_BTNH: jax.Array, value_BTNH: jax.Array, *, config: ModelConfig
) -> jax.Array:
    """Return softmax(q k / sqrt(H)) v [B, T, N, H] over each token and those before it, by the chosen backend."""
    T = query_BTNH.shape[1]
    backend = chosen_backend(config, platform=jax.default_backend(), length=T, devices=jax.device_count())
    if backend == "cudnn":
        how = {"is_causal": True, "implementation": "cudnn"}
        return jax.nn.dot_product_attention(query_BTNH, key_BTNH, value_BTNH, **how)
    if backend == "splash":
        return splash(query_BTNH, key_BTNH, value_BTNH)
    return attend(query_BTNH, key_BTNH, value_BTNH, mask_BNTS=causal_mask(T))


def splash(query_BTNH: jax.Array, key_BTNH: jax.Array, value_BTNH: jax.Array, *, interpret: bool = False) -> jax.Array:
    """Return causal attention by JAX's Pallas kernel for TPUs, T a multiple of SPLASH_TILE; it takes scaled queries.

    Args:
      query_BTNH, key_BTNH, value_BTNH: of one sequence.
      interpret: run the kernel step by step, on any platform: for tests.
    """
    _, T, N, H = query_BTNH.shape
    kernel = _splash_kernel(N, T, interpret=interpret)
    scaled_BTNH = query_BTNH * jnp.asarray(H**-0.5, query_BTNH.dtype)
    heads_first = (jnp.swapaxes(x, 1, 2) for x in (scaled_BTNH, key_BTNH, value_BTNH))
    return jnp.swapaxes(jax.vmap(kernel)(*heads_first), 1, 2).astype(value_BTNH.dtype)


@functools.lru_cache
def _splash_kernel(heads: int, length: int, *, interpret: bool) -> Callable[..., Any]:
    from jax.experimental.pallas.ops.tpu import splash_attention as kernels  # slow to import, and for TPUs alone

    mask = kernels.MultiHeadMask([kernels.CausalMask((length, length)) for _ in range(heads)])
    tile = next(size for size in (SPLASH_BLOCK, SPLASH_BLOCK // 2, SPLASH_TILE) if length % size == 0)
    names = ("block_q", "block_kv", "block_kv_compute", "block_q_dkv", "block_kv_dkv", "block_kv_dkv_compute")
    sizes = kernels.BlockSizes(**dict.fromkeys((*names, "block_q_dq", "block_kv_dq"), tile))
    # Its tables are made now, as constants, also where this is called while another function is traced.
    with jax.ensure_compile_time_eval():
        return kernels.make_splash_mha_single_device(mask, block_sizes=sizes, interpret=interpret)
