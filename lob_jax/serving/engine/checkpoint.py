"""Open what an engine serves: a run's checkpoint, in JAX on any device."""

import functools
from collections.abc import Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.export.cache import BLOCK, ON_TRIAL, PREFIX
from lob_jax.export.config import PLAIN
from lob_jax.export.program import Program, cache_inputs, exportable, forward, parameters
from lob_jax.export.score import Forward
from lob_jax.generation.host.context import Inputs
from lob_jax.models.apply import apply
from lob_jax.models.attention.held import HeldCache
from lob_jax.models.attention.positions import Positions
from lob_jax.models.config import ModelConfig
from lob_jax.models.inputs import Role, fields_read
from lob_jax.models.transformer import LOBTransformer
from lob_jax.runs.bundle import bundle_parts
from lob_jax.runs.load import Run
from lob_jax.serving.config import EngineConfig
from lob_jax.serving.engine.courses import Served
from lob_jax.serving.engine.engine import Engine
from lob_jax.serving.engine.open import Arrays, check_arrays, facts_of, scored_history
from lob_jax.serving.engine.warm_up import warm_up

WIDEST = BLOCK + 1  # tokens of a call that reads several
AHEAD = 8  # tokens of continuations on trial are padded to a multiple


def open_run(run: Run, *, name: str, settings: EngineConfig) -> Engine:
    """Return an engine that serves the best checkpoint of a run; it is warm.

    Args:
      run: the run.
      name: the name of the model.
      settings: how the engine works; precision and threads are those of JAX.

    Raises:
      InputError: the model cannot read with a cache, or the run has no records.
    """
    parts = bundle_parts(run)
    program = forward(run.params, run.model)
    kinds = {name: str(kind.dtype) for name, kind in zip(program.inputs, program.kinds, strict=True)}
    read = {name: (kinds[name], shape) for name, shape in program.inputs.items()}
    returned: Arrays = {name: ("float32", ("...",)) for name in program.outputs}
    network, run_forward = JaxNetwork(run.params, run.model), jax.jit(program.function)
    logits_of = padded_windows(program, network.params, slots=run.model.max_seq_length)

    def infer(inputs: Mapping[str, np.ndarray], outputs: tuple[str, ...]) -> dict[str, np.ndarray]:
        check_arrays(inputs, outputs, read, returned)
        found = dict(zip(program.outputs, run_forward(network.params, dict(inputs)), strict=True))
        return {name: np.asarray(found[name]) for name in outputs or program.outputs}

    served = Served(
        contents=parts.contents,
        tokenizer=run.tokenizer,
        network=network,
        score=lambda asked: scored_history(asked, parts.contents, forward=logits_of),
        infer=infer,
    )
    facts = facts_of(
        parts.contents,
        name=name,
        precision=PLAIN,
        weights=parts.weights,
        card=parts.card,
        inputs=read,
        outputs=returned,
    )
    return warm_up(Engine(served, facts, settings), parts.contents)


def padded_windows(program: Program, params: Any, *, slots: int) -> Forward:
    """Return the logits of windows as a function of inputs, of which there may be others.

    Windows are padded at their end, which causal models do not see, so that the program is compiled once.

    Args:
      program: that of complete windows.
      params: the parameters, on the device.
      slots: the greatest length of a window.
    """
    run = jax.jit(program.function)

    def logits_of(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        length = inputs["tokens"].shape[1]
        widths = {name: [(0, 0), (0, slots - length)] + [(0, 0)] * (inputs[name].ndim - 2) for name in program.inputs}
        padded = {name: np.pad(inputs[name], width) for name, width in widths.items()}
        return np.asarray(run(params, padded)[program.outputs.index("logits")])[:, :length]

    return logits_of


class JaxCache:
    """What the network has read of several sequences, in arrays of JAX; see `lob_jax.export.cache.Cache`.

    Attributes:
      held: the arrays by name, [R, ...].
      length: int32 [R], number of tokens that each row has read.
    """

    def __init__(self, held: dict[str, jax.Array], *, rows: int) -> None:
        self.held, self.length = held, np.zeros(rows, np.int32)

    @property
    def row_bytes(self) -> int:
        """Return the memory of a row, in bytes."""
        return sum(array.nbytes for array in self.held.values()) // len(self.length)

    def take_back(self, row: int, count: int) -> None:
        """Forget the last tokens of a row."""
        self.length[row] -= count

    def copy_row(self, row: int, other: "JaxCache", source: int) -> None:
        """Let a row be what a row of another cache is, or of this one."""
        self.held = _copied(self.held, _taken(other.held, source), row)
        self.length[row] = other.length[source]

    def clear(self, row: int) -> None:
        """Let a row be empty."""
        self.length[row] = 0


@jax.jit
def _taken(held: dict[str, jax.Array], row: jax.Array | int) -> dict[str, jax.Array]:
    return {name: array[row] for name, array in held.items()}


@functools.partial(jax.jit, donate_argnums=0)
def _copied(held: dict[str, jax.Array], new: dict[str, jax.Array], row: jax.Array | int) -> dict[str, jax.Array]:
    return {name: array.at[row].set(new[name]) for name, array in held.items()}


class JaxNetwork:
    """A network in JAX whose rows advance by themselves.

    Every call has all rows of a cache and either one token or WIDEST, of which some may be padding: two programs are
    compiled for a cache, and a row's numbers do not depend on the others.

    Attributes:
      params: the parameters, on the device.
    """

    def __init__(self, params: Any, model: ModelConfig) -> None:
        self._model, self.params = exportable(model), jax.device_put(parameters(params, model))
        self._names = ("tokens", *fields_read(model, Role.BESIDE))
        self._read = jax.jit(functools.partial(_read, model=self._model), donate_argnums=1)
        self._look = jax.jit(functools.partial(_look, model=self._model))

    def new_cache(self, rows: int) -> JaxCache:
        """Return an empty cache for so many sequences."""
        sizes = {"batch": rows, "slots": self._model.max_seq_length + ON_TRIAL}
        held = {
            name.removeprefix(PREFIX): jnp.zeros([sizes.get(cast(str, size), size) for size in shape], dtype)
            for name, (dtype, shape) in cache_inputs(self._model).items()
            if name != f"{PREFIX}length"
        }
        return JaxCache(held, rows=rows)

    def read(self, cache: JaxCache, inputs: Inputs) -> np.ndarray:
        """Append new tokens to the first rows of a cache, see `lob_jax.serving.engine.network.Network`."""
        count, new = inputs["tokens"].shape
        padded = self._padded(inputs, len(cache.length), 1 if new == 1 else WIDEST)
        logits_BV, cache.held = self._read(self.params, cache.held, cache.length.copy(), padded, count, new)
        cache.length[:count] += new
        return np.asarray(logits_BV)[:count]

    def look(self, cache: JaxCache, inputs: Inputs) -> np.ndarray:
        """Return the logits after continuations of the first row, see `lob_jax.serving.engine.network.Network`."""
        count, new = inputs["tokens"].shape
        padded = self._padded(inputs, 1 << (count - 1).bit_length(), -(-new // AHEAD) * AHEAD)
        row = {name: array[:1] for name, array in cache.held.items()}
        return np.asarray(self._look(self.params, row, cache.length[0], padded, new))[:count]

    def _padded(self, inputs: Inputs, rows: int, width: int) -> Inputs:
        """Return what the model reads with so many rows and tokens, so that few programs are compiled."""
        count, new = inputs["tokens"].shape
        more = [(0, rows - count), (0, width - new)]
        return {name: np.pad(inputs[name], more + [(0, 0)] * (inputs[name].ndim - 2)) for name in self._names}


def _held(held: dict[str, jax.Array], length_B: jax.Array, model: ModelConfig) -> HeldCache:
    return HeldCache(
        keys=tuple(held[f"keys_{layer}"] for layer in range(model.n_layers)),
        values=tuple(held[f"values_{layer}"] for layer in range(model.n_layers)),
        positions=Positions(held["position"], held.get("event"), held.get("clock")),
        length=length_B,
        window=model.max_seq_length,
    )


def _look(
    params: Any,
    row: dict[str, jax.Array],
    length: jax.Array,
    inputs: dict[str, jax.Array],
    new: jax.Array,
    *,
    model: ModelConfig,
) -> jax.Array:
    """Return the logits after several continuations of a row, float32 [B, V]."""
    batch = inputs["tokens"].shape[0]
    held = {name: jnp.broadcast_to(array, (batch, *array.shape[1:])) for name, array in row.items()}
    cache = _held(held, jnp.broadcast_to(length, (batch,)), model)
    return apply(LOBTransformer(model), {"params": params}, inputs, cache, new, method=_logits_after)[0]


def _read(
    params: Any,
    held: dict[str, jax.Array],
    length_B: jax.Array,
    inputs: dict[str, jax.Array],
    count: jax.Array,
    new: jax.Array,
    *,
    model: ModelConfig,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Return the logits after the last new token, and the cache with the new tokens of the first `count` rows."""
    layers, cache = range(model.n_layers), _held(held, length_B, model)
    module = LOBTransformer(model)
    logits_BV, read = apply(module, {"params": params}, inputs, cache, new, method=_logits_after)
    batch, T = inputs["tokens"].shape
    position_BT = length_B[:, None] + jnp.arange(T)
    is_new_BT = (jnp.arange(batch) < count)[:, None] & (jnp.arange(T) < new)[None]
    slot_BT = jnp.where(is_new_BT, position_BT % cache.slots, cache.slots)  # others are dropped
    row_B1 = jnp.arange(batch)[:, None]
    known = {"position": position_BT, **{name: inputs[name] for name in ("event", "clock") if name in held}}
    known |= {f"keys_{layer}": jnp.swapaxes(read.new_keys[layer], 1, 2) for layer in layers}
    known |= {f"values_{layer}": jnp.swapaxes(read.new_values[layer], 1, 2) for layer in layers}

    def put(name: str, array: jax.Array) -> jax.Array:
        at = array.at[row_B1, :, slot_BT] if name.startswith(("keys", "values")) else array.at[row_B1, slot_BT]
        return at.set(known[name].astype(array.dtype), mode="drop")

    return logits_BV, {name: put(name, array) for name, array in held.items()}


def _logits_after(
    module: LOBTransformer, inputs: dict[str, jax.Array], cache: HeldCache, new: jax.Array
) -> tuple[jax.Array, HeldCache]:
    """Return the logits after the last of `new` tokens, and the cache."""
    conditioning = {name: array for name, array in inputs.items() if name != "tokens"}
    x_BTD, read = module.stream(inputs["tokens"], conditioning, cache=cache)

    def last(array: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice_in_dim(array, new - 1, 1, axis=1)

    logits_B1V = module.logits_of(last(x_BTD), {name: last(array) for name, array in conditioning.items()})
    return logits_B1V[:, 0], cast(HeldCache, read)
