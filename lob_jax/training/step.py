"""One pure training step and one evaluation step, and both compiled over a mesh of devices."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lob_jax.models.transformer import LOBTransformer
from lob_jax.training.loss import cross_entropy
from lob_jax.training.shift import Batch, shift
from lob_jax.training.state import TrainState

Metrics = dict[str, jax.Array]


def summed_loss(params: Any, batch: Batch, key: jax.Array, *, model: LOBTransformer) -> tuple[jax.Array, jax.Array]:
    """Return (nll_sum, weight_sum) of windows [M, ...], with dropout drawn by the example numbers."""
    tokens_BT, conditioning, targets_BT, weights_BT = shift(batch)
    logits_BTV = model.apply(
        {"params": params},
        tokens_BT,
        conditioning,
        example_B=batch["example"],
        deterministic=False,
        rngs={"dropout": key},
    )
    return cross_entropy(logits_BTV, targets_BT, weights_BT)


def summed_gradients(
    params: Any, batch: Batch, key: jax.Array, *, model: LOBTransformer
) -> tuple[Any, jax.Array, jax.Array]:
    """Return (gradients, nll_sum, weight_sum) over the micro-steps [A, M, ...], one in memory at a time.

    The gradients are those of nll_sum; the caller divides once, by the weight of the whole step, so that a
    micro-step of few scored tokens counts for no more than they do.
    """
    value_and_grad = jax.value_and_grad(summed_loss, has_aux=True)

    def micro_step(sums: tuple, micro_batch: Batch) -> tuple[tuple, None]:
        (nll, weight), gradients = value_and_grad(params, micro_batch, key, model=model)
        return jax.tree.map(jnp.add, sums, (gradients, nll, weight)), None

    zero = jnp.zeros((), jnp.float32)
    sums, _ = jax.lax.scan(micro_step, (jax.tree.map(jnp.zeros_like, params), zero, zero), batch)
    return sums


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    model: LOBTransformer,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
) -> tuple[TrainState, Metrics]:
    """Take one optimiser step.

    A step whose loss or gradient is not finite leaves parameters and moments as they were, and is counted.

    Args:
      state: the state before; jitted callers donate it.
      batch: leaves [A, M, ...]: A micro-steps of M windows.
      model: what maps parameters and windows to logits.
      optimizer: of the parameters, its clip included.
      schedule: the optimizer's learning rate by updates made, for the metrics alone.

    Returns:
      The state after, and scalars: loss (nats a scored token), perplexity, learning_rate, gradient_norm (before
      the clip), scored (tokens), skipped and skipped_in_row (steps).
    """
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key_data), state.step)
    gradients, nll, weight = summed_gradients(state.params, batch, key, model=model)
    divisor = jnp.where(weight > 0, weight, 1.0)
    gradients = jax.tree.map(lambda gradient: gradient / divisor, gradients)
    loss, norm = nll / divisor, optax.tree.norm(gradients)
    finite = jnp.isfinite(loss) & jnp.isfinite(norm)

    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    updated = (optax.apply_updates(state.params, updates), opt_state)
    kept = jax.tree.map(lambda new, old: jnp.where(finite, new, old), updated, (state.params, state.opt_state))
    after = TrainState(
        step=state.step + 1,
        params=kept[0],
        opt_state=kept[1],
        key_data=state.key_data,
        skipped=state.skipped + ~finite,
        skipped_in_row=jnp.where(finite, 0, state.skipped_in_row + 1),
    )
    metrics = {
        "loss": loss,
        "perplexity": jnp.exp(loss),
        "learning_rate": schedule(state.step - state.skipped),
        "gradient_norm": norm,
        "scored": weight,
        "skipped": after.skipped,
        "skipped_in_row": after.skipped_in_row,
    }
    return after, metrics


def eval_step(params: Any, batch: Batch, *, model: LOBTransformer) -> tuple[jax.Array, jax.Array]:
    """Return (nll_sum, weight_sum) of windows [M, ...], without dropout."""
    tokens_BT, conditioning, targets_BT, weights_BT = shift(batch)
    logits_BTV = model.apply({"params": params}, tokens_BT, conditioning, deterministic=True)
    return cross_entropy(logits_BTV, targets_BT, weights_BT)


def make_mesh(devices: Sequence[jax.Device]) -> Mesh:
    """Return the mesh of one axis, `data`, that batches are split over."""
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of the state: a whole copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def split_over_data(mesh: Mesh, *, leading_axes: int) -> NamedSharding:
    """Return the sharding of a batch whose windows lie behind `leading_axes` other axes."""
    return NamedSharding(mesh, PartitionSpec(*(None,) * leading_axes, "data"))


def jit_train_step(
    model: LOBTransformer, optimizer: optax.GradientTransformation, schedule: optax.Schedule, *, mesh: Mesh
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Compile `train_step` over the mesh; the state that goes in is given up, its memory reused."""
    whole, windows = replicated(mesh), split_over_data(mesh, leading_axes=1)
    step = functools.partial(train_step, model=model, optimizer=optimizer, schedule=schedule)
    return jax.jit(step, in_shardings=(whole, windows), out_shardings=whole, donate_argnums=0)


def jit_eval_step(model: LOBTransformer, *, mesh: Mesh) -> Callable[[Any, Batch], tuple[jax.Array, jax.Array]]:
    """Compile `eval_step` over the mesh; parameters are not donated: training goes on with them."""
    whole, windows = replicated(mesh), split_over_data(mesh, leading_axes=0)
    step = functools.partial(eval_step, model=model)
    return jax.jit(step, in_shardings=(whole, windows), out_shardings=whole)
