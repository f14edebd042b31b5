"""Backends of full causal attention within a sequence: XLA anywhere, cuDNN on NVIDIA GPUs, a Pallas kernel on TPUs.

The latter two never materialise the T x T scores, so their memory grows linearly in T. Tests compare all with the same
numbers.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lob_jax.errors import InputError
from lob_jax.models.attention.dense import attend, causal_mask
from lob_jax.models.config import ModelConfig

HALVES = ("bfloat16", "float16")
CUDNN_HEAD = 128  # largest head size supported on every GPU generation that has the kernel
SPLASH_TILE = 128  # lanes of a TPU, which must divide the length
SPLASH_BLOCK = 512  # queries and keys per block, in sequences that it divides


class Surroundings(NamedTuple):
    """The devices that attention is computed on.

    Attributes:
      platform: platform of the devices, as returned by `jax.default_backend()`.
      devices: number of devices; the compiler does not partition a Pallas kernel over a mesh.
      obstacle: JAX's reason for rejecting cuDNN's kernel on these devices; None if it accepts it.
    """

    platform: str
    devices: int
    obstacle: str | None = None


def surroundings(config: ModelConfig, *, length: int) -> Surroundings:
    """Return the surroundings of this process for attention over `length` tokens."""
    platform = jax.default_backend()
    obstacle = _cudnn_obstacle(config.n_heads, config.head_width, length, config.dtype) if platform == "gpu" else None
    return Surroundings(platform, jax.device_count(), obstacle)


@functools.lru_cache
def _cudnn_obstacle(heads: int, head_size: int, length: int, dtype: str) -> str | None:
    """Request cuDNN attention from JAX by abstract evaluation and return its objection, or None.

    Only JAX knows which GPUs, cuDNN versions and shapes its kernel supports, and that changes with its version.
    """
    array = jax.ShapeDtypeStruct((1, length, heads, head_size), dtype)
    kernel = functools.partial(jax.nn.dot_product_attention, is_causal=True, implementation="cudnn")
    try:
        jax.eval_shape(kernel, array, array, array)
    except (RuntimeError, NotImplementedError, ValueError) as error:
        return str(error).splitlines()[0]
    return None


def cannot(backend: str, config: ModelConfig, *, length: int, here: Surroundings) -> str | None:
    """Return the first requirement of a backend ("xla", "cudnn" or "splash") that is not met here; None if all are."""
    half = config.dtype in HALVES
    needs = {
        "xla": [],
        "cudnn": [
            ("an NVIDIA GPU", here.platform == "gpu"),
            ("bfloat16 or float16", half),
            (f"a head size of 8, 16, ... {CUDNN_HEAD}", config.head_width % 8 == 0 and config.head_width <= CUDNN_HEAD),
            (f"an NVIDIA GPU with a cuDNN that JAX takes ({here.obstacle})", here.obstacle is None),
        ],
        "splash": [
            ("a TPU", here.platform == "tpu"),
            ("one device", here.devices == 1),
            ("bfloat16 or float32", config.dtype in ("bfloat16", "float32")),
            (f"a length in multiples of {SPLASH_TILE}", length % SPLASH_TILE == 0),
        ],
    }
    return next((need for need, met in needs[backend] if not met), None)


def chosen_backend(config: ModelConfig, *, length: int, here: Surroundings) -> str:
    """Return the backend for a configuration; "auto" is the first of cuDNN, Pallas and XLA that can run here.

    Raises:
      InputError: the configuration names a backend that cannot run here.
    """
    asked = config.attention.backend
    if asked == "auto":
        return next(
            name for name in ("cudnn", "splash", "xla") if cannot(name, config, length=length, here=here) is None
        )
    need = cannot(asked, config, length=length, here=here)
    if need is not None:
        raise InputError(
            "the attention backend cannot run here",
            where="config.model.attention.backend",
            expected=f"{need}, for {asked}",
            was=f"{here.platform} x {here.devices}, {config.dtype}, heads of {config.head_width}, length {length}",
            remedy="pass --config.model.attention.backend=auto",
        )
    return asked


def fallback(config: ModelConfig, *, here: Surroundings) -> str | None:
    """Return a remark if "auto" falls back from an accelerator's kernel to XLA; otherwise None."""
    kernel, length = {"gpu": "cudnn", "tpu": "splash"}.get(here.platform), config.max_seq_length
    if config.attention.kind != "full" or config.attention.backend != "auto" or kernel is None:
        return None
    lacking = cannot(kernel, config, length=length, here=here)
    if lacking is None:
        return None
    return f"attention by XLA, which holds the scores of all pairs of tokens: the {kernel} kernel needs {lacking}"


def attend_causally(
    query_BTNH: jax.Array, key_BTNH: jax.Array, value_BTNH: jax.Array, *, config: ModelConfig
) -> jax.Array:
    """Return softmax(q k / sqrt(H)) v [B, T, N, H] over each token and those before it, by the chosen backend."""
    T = query_BTNH.shape[1]
    backend = chosen_backend(config, length=T, here=surroundings(config, length=T))
    if backend == "cudnn":
        return jax.nn.dot_product_attention(query_BTNH, key_BTNH, value_BTNH, is_causal=True, implementation="cudnn")
    if backend == "splash":
        return splash(query_BTNH, key_BTNH, value_BTNH)
    return attend(query_BTNH, key_BTNH, value_BTNH, mask_BNTS=causal_mask(T))


def splash(query_BTNH: jax.Array, key_BTNH: jax.Array, value_BTNH: jax.Array, *, interpret: bool = False) -> jax.Array:
    """Return causal attention computed by JAX's Pallas kernel for TPUs; T must be a multiple of SPLASH_TILE.

    Args:
      query_BTNH: queries; they are scaled here, since the kernel does not scale scores.
      key_BTNH: keys.
      value_BTNH: values.
      interpret: whether to interpret the kernel, on any platform, for tests.
    """
    _, T, N, H = query_BTNH.shape
    kernel = _splash_kernel(N, T, interpret=interpret)
    scaled_BTNH = query_BTNH * jnp.asarray(H**-0.5, query_BTNH.dtype)
    heads_first = (jnp.swapaxes(x, 1, 2) for x in (scaled_BTNH, key_BTNH, value_BTNH))
    return jnp.swapaxes(jax.vmap(kernel)(*heads_first), 1, 2).astype(value_BTNH.dtype)


@functools.lru_cache
def _splash_kernel(heads: int, length: int, *, interpret: bool) -> Callable[..., Any]:
    from jax.experimental.pallas.ops.tpu import splash_attention as kernels  # slow to import, and only for TPUs

    mask = kernels.MultiHeadMask([kernels.CausalMask((length, length)) for _ in range(heads)])
    tile = next(size for size in (SPLASH_BLOCK, SPLASH_BLOCK // 2, SPLASH_TILE) if length % size == 0)
    names = ("block_q", "block_kv", "block_kv_compute", "block_q_dkv", "block_kv_dkv", "block_kv_dkv_compute")
    sizes: dict[str, Any] = dict.fromkeys((*names, "block_q_dq", "block_kv_dq"), tile)
    # The cached kernel must hold constants, not tracers, even if it is first requested while a function is traced.
    with jax.ensure_compile_time_eval():
        return kernels.make_splash_mha_single_device(mask, block_sizes=kernels.BlockSizes(**sizes), interpret=interpret)
