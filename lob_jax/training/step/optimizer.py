"""The optimiser: AdamW or Muon after global-norm clipping, with warm-up and cosine or late decay."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lob_jax.models.axes import STACKED
from lob_jax.models.embeddings import MOMENTS
from lob_jax.training.config import TrainConfig
from lob_jax.training.step.tasks import TASKS

# Parameters without weight decay, by the last key of their path.
BIASES = ("bias", "digits_bias", "gaps_bias", "pointer_bias", "level_bias")
NOT_DECAYED = (*BIASES, "scale", "discount", "share", *itertools.chain.from_iterable(MOMENTS.values()))
# Axes of a matrix's input and of its output; any other axis enumerates matrices: query, key and value.
MATRICES = {
    ("qkv", "kernel"): ((0,), (2, 3)),
    ("query", "kernel"): ((0,), (1, 2)),
    ("key_value", "kernel"): ((0,), (2, 3)),
    ("output", "kernel"): ((0, 1), (2,)),
    ("widen", "kernel"): ((0,), (1,)),
    ("gate", "kernel"): ((0,), (1,)),
    ("narrow", "kernel"): ((0,), (1,)),
}
LAYER = f"{STACKED}_"  # starts the path key of a layer that is not stacked; its number follows
ADAM_RMS = 0.2  # typical root mean square of AdamW's updates, which Muon's are scaled to (Liu et al., 2025)


def make_schedule(config: TrainConfig, total_steps: int) -> optax.Schedule:
    """Return the learning rate as a function of the number of updates so far.

    Update s of the warm-up (from 0) has rate peak * (s + 1) / warmup_steps, so that the first update is not lost. Then
      cosine  the rate follows half a cosine from the peak to final_lr_fraction of it at the last update;
      wsd     the rate stays at the peak, and falls linearly to that fraction over the last decay_fraction of all
              updates (warm-up, stable, decay: Hu et al., 2024), so that a run can be extended from the stable phase.
    A run shorter than the warm-up ends within it.
    """
    peak, floor = config.learning_rate, config.learning_rate * config.final_lr_fraction
    after_warmup = max(1, total_steps - config.warmup_steps)
    late = max(1, min(round(config.decay_fraction * total_steps), after_warmup))
    falling = after_warmup if config.schedule == "cosine" else late

    def schedule(count: Any) -> jax.Array:
        warmup = peak * (count + 1) / max(1, config.warmup_steps)
        progress = jnp.clip((count + 1 - (total_steps - falling)) / falling, 0.0, 1.0)
        share = 0.5 * (1 + jnp.cos(jnp.pi * progress)) if config.schedule == "cosine" else 1 - progress
        return jnp.where(count < config.warmup_steps, warmup, floor + (peak - floor) * share)

    return schedule


def decay_mask(params: Any) -> Any:
    """Return, for each parameter, whether weight decay applies: not to norms, biases, constants, task weights."""

    def decays(path: tuple, _: Any) -> bool:
        return path[-1].key not in NOT_DECAYED and path[0].key != TASKS

    return jax.tree_util.tree_map_with_path(decays, params)


def make_optimizer(config: TrainConfig, total_steps: int, *, layers: int = 0) -> optax.GradientTransformation:
    """Return AdamW (epsilon 1e-8, moments in the parameters' dtype) or Muon, after global-norm clipping.

    Args:
      config: training settings.
      total_steps: length of the learning-rate schedule.
      layers: blocks of the model; only read if the learning rate depends on the layer.
    """
    rate = make_schedule(config, total_steps)
    rule = optax.adamw(rate, b1=config.beta1, b2=config.beta2, weight_decay=config.weight_decay, mask=decay_mask)
    if config.optimizer == "muon":
        rule = optax.partition({"muon": _muon(config, rate), "adamw": rule}, _rule_of_each)
    rule = optax.chain(optax.clip_by_global_norm(config.clip), rule)
    return rule if config.layer_decay == 1 else _by_layer(rule, decay=config.layer_decay, layers=layers)


def _by_layer(
    rule: optax.GradientTransformation, *, decay: float, layers: int
) -> optax.GradientTransformationExtraArgs:
    """Return an optimiser whose learning rate depends on the layer, see `rate_factor`; its state is that of `rule`.

    The rate is the last factor of an update, also of weight decay, so that scaling updates scales the rate.
    """
    rule = optax.with_extra_args_support(rule)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        def scaled(path: tuple, leaf: jax.Array) -> jax.Array:
            factor = rate_factor([entry.key for entry in path], decay=decay, layers=layers)
            return leaf * jnp.asarray(factor, leaf.dtype).reshape(-1, *(1,) * (leaf.ndim - 1))

        updates, state = rule.update(updates, state, params, **extra)
        return jax.tree_util.tree_map_with_path(scaled, updates), state

    return optax.GradientTransformationExtraArgs(rule.init, update)


def rate_factor(keys: Sequence[str], *, decay: float, layers: int) -> np.ndarray:
    """Return the factor of the learning rate of a parameter, [1]; for stacked layers, one of each, [L].

    It is decay^(L - l) in block l of L, counted from 0, decay^(L + 1) in the embeddings, and 1 in what follows the
    blocks, as in fine-tuning of ELECTRA (Clark et al., 2020) and BEiT (Bao et al., 2022).
    """
    group = keys[0]
    if group == STACKED:
        return decay ** np.arange(layers, 0, -1, dtype=np.float64)
    if group.startswith(LAYER):
        return decay ** np.array([layers - int(group.removeprefix(LAYER))], np.float64)
    return np.array([decay ** (layers + 1) if group == "embeddings" else 1.0])


def _muon(config: TrainConfig, rate: optax.Schedule) -> optax.GradientTransformation:
    """Return Muon, for the matrices of the blocks; embeddings, head, norms and biases use AdamW.

    Momentum (config.beta2) is orthogonalised by five Newton-Schulz steps (Jordan et al., 2024), separately for query,
    key and value. Updates are scaled to the root mean square of AdamW's, so that one learning rate serves both.
    """
    return optax.contrib.muon(
        rate,
        beta=config.beta2,
        weight_decay=config.weight_decay,
        muon_weight_dimension_numbers=matrices,
        consistent_rms=ADAM_RMS,
    )


def _rule_of_each(params: Any) -> Any:
    return jax.tree.map(lambda kind: "adamw" if kind is None else "muon", matrices(params), is_leaf=_is_kind)


def _is_kind(kind: Any) -> bool:
    return kind is None or isinstance(kind, optax.contrib.MuonDimensionNumbers)


def matrices(params: Any) -> Any:
    """Return, for each parameter that Muon updates, the axes of its input and output; None for others.

    In stacked layers, the matrix of each layer is separate.
    """

    def of(path: tuple, _: Any) -> Any:
        axes = matrix_axes([entry.key for entry in path])
        if axes is None:
            return None
        read, written = axes
        return optax.contrib.MuonDimensionNumbers(reduction_axis=read, output_axis=written)

    return jax.tree_util.tree_map_with_path(of, params)


def matrix_axes(keys: Sequence[str]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return the axes of the input and of the output of the matrix, or matrices, at a path; None if it is none."""
    axes = MATRICES.get(tuple(keys[-2:]))  # type: ignore[arg-type]
    if axes is None:
        return None
    read, written = (tuple(axis + (STACKED in keys) for axis in side) for side in axes)
    return read, written
