"""The programs of a model, as StableHLO of any batch and length: all logits of a window, and one step with a cache."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from lob_jax.errors import InputError
from lob_jax.models.apply import apply
from lob_jax.models.attention.held import SPARE, HeldCache
from lob_jax.models.attention.kind import is_mask
from lob_jax.models.attention.positions import Positions
from lob_jax.models.config import ModelConfig
from lob_jax.models.inputs import BY_NAME, SIZES, Role, fields_read
from lob_jax.models.transformer import LOBTransformer, unstack_layers
from lob_jax.training.run.weights import flat

BATCH, LENGTH, SLOTS = "batch", "length", "slots"
PAIRED = "2*pairs"  # a batch in which rows 2b and 2b + 1 are peers
PLATFORMS = ("cpu", "cuda", "tpu")


@dataclasses.dataclass(frozen=True)
class Program:
    """A program of a model; its weights are arguments, so that they are stored once.

    Attributes:
      exported: the program in StableHLO, with symbolic sizes; it takes the parameters, then the inputs, as two dicts.
      weights: the parameters by name, in the order of its arguments.
      inputs: the shapes of its other arguments by name, in their order; sizes that the caller chooses have names.
      outputs: the names of its results.
      function: what was exported: a function of the parameters and the inputs, two dicts.
      limits: what is known of the sizes that the caller chooses, such as "length <= 512".
    """

    exported: jax.export.Exported
    weights: dict[str, np.ndarray]
    inputs: dict[str, tuple[int | str, ...]]
    outputs: tuple[str, ...]
    function: Callable[..., tuple[jax.Array, ...]]
    limits: tuple[str, ...]

    @property
    def arguments(self) -> tuple[str, ...]:
        """Return the names of the weights and inputs that the exported program reads; it drops the others."""
        names = (*self.weights, *self.inputs)
        return tuple(names[place] for place in self.exported.module_kept_var_idx)

    @property
    def kinds(self) -> tuple[Any, ...]:
        """Return shape and dtype of each input, in their order, as JAX has them."""
        return self.exported.in_avals[len(self.weights) :]


def any_length(model: ModelConfig) -> bool:
    """Return whether one program can serve every length; other models are exported for a length that is given."""
    return is_mask(model.attention.kind) and not model.attention.cross_asset


def exportable(model: ModelConfig, *, length: int | None = None) -> ModelConfig:
    """Return the configuration that a model is exported in: float32, its layers one by one, without kernels.

    Args:
      model: the model.
      length: the length of its windows; None for any.

    Raises:
      InputError: its attention cannot be exported for any length.
    """
    if length is None and not any_length(model):
        raise _of_one_length(model)
    attention = dataclasses.replace(model.attention, backend="xla")
    exact: dict[str, Any] = {"dtype": "float32", "scan_layers": False, "remat": "none", "dropout": 0.0}
    return dataclasses.replace(model, attention=attention, **exact)


def _of_one_length(model: ModelConfig) -> InputError:
    """Return the error for a model that cannot be exported for any length."""
    remedy = "export its forward program as StableHLO for one length, or train"
    if not is_mask(model.attention.kind):
        return InputError(
            f"{model.attention.kind} attention cannot be exported for any length",
            where="config.model.attention.kind",
            expected="a kind that is full attention under a mask: full, multi_scale or block_sparse",
            was=model.attention.kind,
            remedy=f"{remedy} a model with another kind",
        )
    return InputError(
        "a model with cross-asset attention cannot be exported for any length",
        where="config.model.attention.cross_asset",
        expected="False",
        was=True,
        remedy=f"{remedy} a model of one instrument",
    )


def parameters(params: Any, model: ModelConfig) -> Any:
    """Return the parameters in float32, each layer by itself."""
    params = jax.tree.map(lambda leaf: np.asarray(jax.device_get(leaf), np.float32), params)
    return jax.tree.map(np.asarray, unstack_layers(params, model)) if model.scan_layers else params


def forward(
    params: Any, model: ModelConfig, *, platforms: Sequence[str] = ("cpu",), length: int | None = None
) -> Program:
    """Return the program of complete windows: (tokens and the model's other inputs, [B, T, ...]) -> predictions.

    Its results are logits [B, T, V] and, if the model has such heads, direction [B, T, K, 3], log_volatility [B, T, K],
    vector [B, T, P] and ahead [B, T, N - 1, V], see `models.heads`.

    Args:
      params: the parameters.
      model: the model.
      platforms: what the program is compiled for, some of PLATFORMS.
      length: the only length of its windows; None for any, see `any_length`.

    Raises:
      InputError: the model needs a length, or the length is greater than the model's.
    """
    model, params = exportable(model, length=length), parameters(params, model)
    module, names = LOBTransformer(model), ["logits"]
    names += ["direction", "log_volatility"] * bool(model.heads.outlook_events)
    names += ["vector"] * bool(model.heads.contrastive_size) + ["ahead"] * (model.heads.next_tokens > 1)

    def run(params: Any, inputs: dict[str, jax.Array]) -> tuple[jax.Array, ...]:
        return apply(module, {"params": params}, inputs, method=_everything)

    inputs = _window_inputs(model, length)
    return make_program(run, params, inputs, names, platforms=platforms, greatest=model.max_seq_length)


def _everything(module: LOBTransformer, inputs: dict[str, jax.Array]) -> tuple[jax.Array, ...]:
    """Return all that a model predicts."""
    tokens_BT, conditioning = _split(inputs)
    masked = module.config.causal and any_length(module.config)  # other kinds see to it themselves
    mask_BTT = jnp.ones((*tokens_BT.shape, tokens_BT.shape[1]), bool) if masked else None
    x_BTD, _ = module.stream(tokens_BT, conditioning, mask_BTS=mask_BTT)
    found = [module.logits_of(x_BTD, conditioning)]
    if module.config.heads.outlook_events:
        outlook = module.outlook_of(x_BTD)
        found += [outlook.direction_BTK3, outlook.log_volatility_BTK]
    if module.config.heads.contrastive_size:
        found.append(module.contrast(x_BTD))
    if module.config.heads.next_tokens > 1:
        found.append(module.ahead_logits(x_BTD))
    return tuple(found)


def step(params: Any, model: ModelConfig, *, platforms: Sequence[str] = ("cpu",)) -> Program:
    """Return the program that reads new tokens with a cache that the caller holds, see `HeldCache`.

    Its inputs are those of the new tokens, [B, T, ...]; cache_length [B], the number of tokens that each row has seen;
    what the slots hold, cache_position [B, S] and what else the attention reads; and of each layer cache_keys_0,
    cache_values_0, ... [B, N, S, H]. Its results are logits [B, V] after the last token, and what belongs into the next
    slots: keys_0, values_0, ... [B, N, T, H]. A token sees as many as the model's `max_seq_length`, itself included.
    """
    model, params = exportable(model), parameters(params, model)
    if not model.causal:
        raise InputError(
            "a model that is not causal reads only complete windows",
            where="config.model.causal",
            expected=True,
            was=False,
            remedy="export its forward program alone",
        )
    module, L = LOBTransformer(model), model.n_layers

    def run(params: Any, inputs: dict[str, jax.Array]) -> tuple[jax.Array, ...]:
        held = {name: inputs[name] for name in inputs if name.startswith("cache_")}
        tokens_BT, conditioning = _split({name: inputs[name] for name in inputs if name not in held})
        cache = HeldCache(
            keys=tuple(held[f"cache_keys_{layer}"] for layer in range(L)),
            values=tuple(held[f"cache_values_{layer}"] for layer in range(L)),
            positions=Positions(held["cache_position"], held.get("cache_event"), held.get("cache_clock")),
            length=held["cache_length"],
            window=model.max_seq_length,
        )
        logits_BV, read = apply(module, {"params": params}, tokens_BT, conditioning, cache=cache, method="last_logits")
        return (logits_BV, *read.new_keys, *read.new_values)

    names = ["logits", *(f"{name}_{layer}" for name in ("keys", "values") for layer in range(L))]
    inputs = {**_window_inputs(model), **cache_inputs(model)}
    return make_program(run, params, inputs, names, platforms=platforms, greatest=model.max_seq_length)


def _split(inputs: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    return inputs["tokens"], {name: array for name, array in inputs.items() if name != "tokens"}


Shape = tuple[str, tuple[int | str, ...]]  # a dtype and a shape


def _window_inputs(model: ModelConfig, length: int | None = None) -> dict[str, Shape]:
    """Return what a model reads at each token."""
    axes = {"B": PAIRED if model.attention.cross_asset else BATCH, "T": LENGTH if length is None else length}

    def shape(name: str) -> Shape:
        array = BY_NAME[name]
        return array.dtype, tuple(axes[letter] if letter in axes else SIZES[letter](model) for letter in array.letters)

    return {name: shape(name) for name in ("tokens", *fields_read(model, Role.BESIDE))}


def cache_inputs(model: ModelConfig) -> dict[str, Shape]:
    """Return what a step reads of a cache."""
    each: Shape = ("float32", (BATCH, model.n_heads, SLOTS, model.head_width))
    places: dict[str, Shape] = {"cache_length": ("int32", (BATCH,)), "cache_position": ("int32", (BATCH, SLOTS))}
    if model.needs_events:
        places["cache_event"] = ("int32", (BATCH, SLOTS))
    if model.needs_clock:
        places["cache_clock"] = ("int32", (BATCH, SLOTS, 2))
    layers = range(model.n_layers)
    return {**places, **{f"cache_{name}_{layer}": each for name in ("keys", "values") for layer in layers}}


def make_program(
    run: Callable[..., tuple[jax.Array, ...]],
    params: Any,
    inputs: dict[str, Shape],
    outputs: Sequence[str],
    *,
    platforms: Sequence[str],
    greatest: int | None = None,
) -> Program:
    """Return a function as a program, for any sizes.

    Args:
      run: the function, of the parameters and the inputs, two dicts.
      params: the parameters.
      inputs: the type and shape of each input; the names of sizes are BATCH, PAIRED, LENGTH and SLOTS.
      outputs: the names of its results.
      platforms: what the program is compiled for, some of PLATFORMS.
      greatest: the greatest length, if sizes other than the batch are named.
    """
    used = [size for size in (BATCH, PAIRED, LENGTH, SLOTS) if any(size in shape for _, shape in inputs.values())]
    limits = [f"{size} <= {(greatest or 0) + SPARE * (size == SLOTS)}" for size in used[1:]]
    limits += [f"{LENGTH} <= {SLOTS}"] * (SLOTS in used)
    sizes = dict(zip(used, jax.export.symbolic_shape(", ".join(used), constraints=limits), strict=True))
    specs = {
        name: jax.ShapeDtypeStruct(tuple(sizes.get(size, size) for size in shape), dtype)
        for name, (dtype, shape) in inputs.items()
    }
    exported = jax.export.export(jax.jit(run), platforms=list(platforms))(
        jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params), specs
    )
    # JAX passes the leaves of dicts in the order of their keys, in which `flat` has them.
    ordered = {name: inputs[name][1] for name in sorted(inputs)}
    return Program(exported, flat(params), ordered, tuple(outputs), run, tuple(limits))
