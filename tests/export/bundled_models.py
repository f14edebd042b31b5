"""Bundled models of a few weights, and inputs of theirs, of which none is zero."""

import dataclasses

import jax
import numpy as np

from lob_jax.config.sections import model_config
from lob_jax.models.config import ModelConfig
from lob_jax.models.inputs import BY_NAME, SIZES, Role, fields_read
from lob_jax.models.transformer import LOBTransformer, initial_parameters
from lob_jax.runs.load import get_config

NARROW = {
    "d_model": 16,
    "n_layers": 2,
    "n_heads": 4,
    "d_ff": 24,
    "max_seq_length": 24,
    "dropout": 0.0,
    "dtype": "float32",
}
QUICKLY = {"xla_backend_optimization_level": 0}


def small(name: str, *, attention: dict | None = None, heads: dict | None = None, **changes) -> ModelConfig:
    """Return a narrow bundled model with some fields changed, those of its parts by their names."""
    model = model_config(get_config(f"{name}:tiny" if name != "tiny" else name))
    close = {"horizons": ("2 events", "5 events", "1.6 s", "all"), "block": 2, "local_blocks": 1, "global_blocks": 1}
    parts = {
        "attention": dataclasses.replace(model.attention, **close, **(attention or {})),
        "heads": dataclasses.replace(model.heads, **(heads or {})),
    }
    return dataclasses.replace(model, **{**NARROW, **parts, **changes})


def lively(model: ModelConfig, seed: int = 0):
    """Return parameters far from their start: no weight is zero, no scale is one."""
    shapes = jax.eval_shape(lambda: initial_parameters(model, jax.random.key(0)))
    random = np.random.default_rng(seed)

    def draw(path, leaf):
        name = path[-1].key
        drawn = random.normal(name == "scale", 0.2, leaf.shape)
        return np.asarray(abs(drawn) + 0.5 if name.endswith("deviation") else drawn, np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def inputs_of(model: ModelConfig, batch: int, length: int, seed: int = 1) -> dict[str, np.ndarray]:
    """Return random tokens, and all that a model reads beside them."""
    random = np.random.default_rng(seed)

    def draw(name):
        array = BY_NAME[name]
        axes = {"B": batch, "T": length}
        shape = [axes[letter] if letter in axes else SIZES[letter](model) for letter in array.letters]
        if array.ids is not None:
            return random.integers(0, array.ids(model), shape).astype(array.dtype)
        if name == "event":
            return random.integers(0, 2, shape).cumsum(1).astype(array.dtype)
        if name == "clock":
            gaps = random.choice([0, 1_000, 30_000_000, 1_500_000_000], (batch, length))
            return np.stack(np.divmod(36_000 * 10**9 + gaps.cumsum(1), 10**9), axis=-1).astype(array.dtype)
        return random.standard_normal(shape).astype(array.dtype)

    return {name: draw(name) for name in ("tokens", *fields_read(model, Role.BESIDE))}


def places(inputs: dict[str, np.ndarray], at: slice) -> dict[str, np.ndarray]:
    """Return the inputs at some tokens."""
    return {name: array[:, at] for name, array in inputs.items()}


def predictions(module: LOBTransformer, tokens_BT: jax.Array, beside: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Return what a model predicts, by its own methods."""
    found, heads = {"logits": module(tokens_BT, beside)}, module.config.heads
    x_BTD, _ = module.stream(tokens_BT, beside)
    if heads.outlook_events:
        outlook = module.outlook(tokens_BT, beside)
        found |= {"direction": outlook.direction_BTK3, "log_volatility": outlook.log_volatility_BTK}
    if heads.contrastive_size:
        found["vector"] = module.contrast(x_BTD)
    if heads.next_tokens > 1:
        found["ahead"] = module.ahead_logits(x_BTD)
    return found


def expected(model: ModelConfig, params: dict, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what JAX predicts, by name."""

    def run(params, inputs):
        beside = {name: array for name, array in inputs.items() if name != "tokens"}
        return LOBTransformer(model).apply({"params": params}, inputs["tokens"], beside, method=predictions)

    return jax.tree.map(np.asarray, jax.jit(run, compiler_options=QUICKLY)(params, inputs))
