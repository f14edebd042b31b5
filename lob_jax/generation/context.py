"""The context of generated paths: prefill a prompt, grow the cache, and make room when it is full."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.generation.device.live_book import Reveal
from lob_jax.generation.device.state import LoopShape, LoopState, PathState, Rest, Window
from lob_jax.generation.prompt import Prompt, slides
from lob_jax.models.apply import apply
from lob_jax.models.attention.backends import HALVES
from lob_jax.models.attention.cache import KVCache
from lob_jax.models.config import ModelConfig
from lob_jax.models.layers import TRANSPOSED
from lob_jax.models.transformer import LOBTransformer, empty_cache, transposed
from lob_jax.tokens.vocabulary import REGIME_BASE

FEWEST_SLOTS = 128  # initial slots of a cache, which doubles up to the context length


def model_variables(params: Any, model: ModelConfig, *, rows: int) -> dict[str, Any]:
    """Return the variables to read `rows` tokens per step with: with transposed weights where that is faster.

    On a CPU, XLA repacks weights for more than one row, see `layers.weights_first`. Elsewhere, a model in half
    precision would read its float32 weights at every token.
    """
    on_cpu, half = jax.default_backend() == "cpu", model.dtype in HALVES
    faster = (model.dtype == "float32" and rows > 1) if on_cpu else half
    return {"params": params, TRANSPOSED: transposed(params, model)} if faster else {"params": params}


def layers_together(model: ModelConfig) -> bool:
    """Return whether the loop holds the caches of all layers in one array, which a GPU updates by one kernel.

    On a CPU it would copy each layer out of it.
    """
    return jax.default_backend() == "gpu" and not model.scan_layers


@functools.partial(jax.jit, static_argnames=("shape", "slots"))
def prefill(params: Any, window: Window, *, shape: LoopShape, slots: int) -> tuple[jax.Array, KVCache]:
    """Read the context; return the logits after its last token [B, V], and a cache with `slots` slots."""
    cache = empty_cache(shape.model, window.tokens_BT.shape[0], slots)
    return apply(LOBTransformer(shape.model), {"params": params}, *window, cache=cache, method="last_logits")


def prompt_window(prompts: Sequence[Prompt], paths: int, longest: int) -> tuple[Window, Rest | None]:
    """Return what is read of each prompt, its last `longest` tokens, repeated for each of its paths.

    Returns:
      The tokens to prefill, as many of each prompt as the shortest one has, and the rest of the longer prompts. A path
      thus has its n-th token in the same slot whatever the other prompts are.
    """
    read = [Window(*jax.tree.map(lambda leaf: leaf[-longest:], (p.tokens_T, p.known_T))) for p in prompts]
    counts_N = np.array([len(window.tokens_BT) for window in read], np.int32)
    shared, width = int(counts_N.min()), int(counts_N.max() - counts_N.min())

    def together(first: int, length: int) -> Window:
        def rows(*leaves: np.ndarray) -> jax.Array:
            parts = [leaf[first : first + length] for leaf in leaves]
            padded = [np.pad(part, [(0, length - len(part)), *[(0, 0)] * (part.ndim - 1)]) for part in parts]
            return jnp.asarray(np.repeat(np.stack(padded), paths, 0))

        return jax.tree.map(rows, *read)

    if not width:
        return together(0, shared), None
    count_B = jnp.asarray(np.repeat(counts_N - shared, paths))
    return together(0, shared), Rest(together(shared, width), count_B, jnp.zeros_like(count_B))


def with_slots(tree: Any, slots: int) -> Any:
    """Pad the second axis of each leaf with zeros to `slots`."""

    def longer(leaf: jax.Array) -> jax.Array:
        return jnp.pad(leaf, [(0, slots - leaf.shape[1]) if axis == 1 else (0, 0) for axis in range(leaf.ndim)])

    return jax.tree.map(longer, tree)


def named(window: Window, model: ModelConfig) -> Window:
    """Replace the oldest token of a context by the regime's prefix token, if the model was trained with one."""
    if model.regime != "prefix":
        return window
    prefix_B1 = REGIME_BASE + window.known["regime"][:, :1]
    return window._replace(tokens_BT=jnp.concatenate([prefix_B1, window.tokens_BT[:, 1:]], axis=1))


def opened(params: Any, paths: PathState, context: Window, shape: LoopShape, *, rest: Rest | None = None) -> LoopState:
    """Prefill a cache with a context, with free slots for further tokens."""
    batch, kept = context.tokens_BT.shape
    slots = min(shape.model.max_seq_length, max(FEWEST_SLOTS, 1 << kept.bit_length()))
    context = named(context, shape.model)
    logits_BV, cache = prefill(params, context, shape=shape, slots=slots)
    window, revealed = with_slots(context, slots), nothing_revealed(paths, (batch, slots))
    writer_BT, filled_BT = (jnp.zeros((batch, slots), jnp.int32) for _ in range(2))  # two buffers: both are donated
    return LoopState(paths, window, writer_BT, filled_BT, cache, logits_BV, revealed, rest)


def nothing_revealed(paths: PathState, shape: tuple[int, ...]) -> Reveal | None:
    """Return that no token [B, T] brought a level into view; None if the books have no window."""
    if not paths.book.behind_key_2M.shape[-1]:
        return None
    return jax.tree.map(lambda leaf_B: jnp.zeros(shape, leaf_B.dtype), paths.book.revealed)


def _grown(state: LoopState, slots: int) -> LoopState:
    """Copy a full cache into one with more slots."""
    cache = state.cache
    wider = {name: with_slots(getattr(cache, name), slots) for name in ("keys", "values", "positions")}
    names = ("window", "writer_BT", "filled_BT", "revealed")
    longer = {name: with_slots(getattr(state, name), slots) for name in names}
    return state._replace(cache=dataclasses.replace(cache, **wider), **longer)


def with_room(params: Any, state: LoopState, shape: LoopShape) -> LoopState:
    """Return the state with room for a token: add slots, wrap around, or drop the older half of the context."""
    model, slots, length = shape.model, state.writer_BT.shape[1], int(state.cache.length)
    if length < slots:
        return state
    if slots < model.max_seq_length:
        return _grown(state, min(model.max_seq_length, 2 * slots))
    if slides(model):
        return state
    return opened(params, state.paths, state.window.cut(slots - slots // 2, slots), shape, rest=state.rest)
