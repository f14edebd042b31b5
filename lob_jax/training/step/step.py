"""The training step and the evaluation step, as pure functions and compiled: by jit over a mesh, or by pmap."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from lob_jax.models.masking import Masks
from lob_jax.models.transformer import LOBTransformer
from lob_jax.training.step.layout import replicated, split_over_windows, state_sharding
from lob_jax.training.step.loss_scale import after_step
from lob_jax.training.step.mixup import with_partners
from lob_jax.training.step.objective import NEXT_TOKEN, Objective
from lob_jax.training.step.parts import summed_loss
from lob_jax.training.step.shift import Batch
from lob_jax.training.step.sparsity import Sparsity, where_nonzero, zero_share
from lob_jax.training.step.state import TrainState
from lob_jax.training.step.tasks import Parts, model_part, task_weights
from lob_jax.training.step.tuning import EVERYTHING, Tuning

Metrics = dict[str, jax.Array]
NO_OPTIONS: Mapping[str, bool] = {}


class Learned(NamedTuple):
    """What an update changes of a state of training; see `TrainState`."""

    params: Any
    opt_state: Any
    average: Any


def _as_it_is(trained: Any) -> Any:
    return trained


def summed_gradients(
    trained: Any,
    batch: Batch,
    key: jax.Array,
    *,
    model: LOBTransformer,
    objective: Objective = NEXT_TOKEN,
    masks: Masks | None = None,
    scale: jax.Array | None = None,
    devices_axis: str | None = None,
    whole: Callable[[Any], Any] = _as_it_is,
) -> tuple[Any, jax.Array, jax.Array, Parts]:
    """Return (gradients, loss_sum, weight_sum, parts) over the micro-steps [A, M, ...], with one in memory at a time.

    The last three are those of `summed_loss`. The gradients are those of loss_sum, multiplied by `scale` if it is
    given. The caller divides once, by the weight of the entire step: means of micro-steps would give tokens in a
    micro-step with few scored tokens too much weight.

    `trained` is what the gradients are with respect to, and `whole` returns the complete parameters for it. With mixup,
    the partners of windows are among those of all micro-steps.
    """
    if objective.mixup:
        batch = with_partners(batch, key, devices_axis=devices_axis)

    def scaled(trained: Any, micro_batch: Batch) -> tuple[jax.Array, tuple[jax.Array, jax.Array, Parts]]:
        how: dict[str, Any] = {"model": model, "objective": objective, "masks": masks, "devices_axis": devices_axis}
        sums = summed_loss(whole(trained), micro_batch, key, **how)
        return sums[0] if scale is None else sums[0] * scale, sums

    def micro_step(sums: tuple, micro_batch: Batch) -> tuple[tuple, None]:
        gradients, losses = jax.grad(scaled, has_aux=True)(trained, micro_batch)
        return jax.tree.map(jnp.add, sums, (gradients, losses)), None

    first = jax.tree.map(lambda leaf: leaf[0], batch)
    shapes = jax.eval_shape(lambda: scaled(trained, first)[1])
    zeros = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
    (gradients, losses), _ = jax.lax.scan(micro_step, (jax.tree.map(jnp.zeros_like, trained), zeros), batch)
    return gradients, *losses


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    model: LOBTransformer,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    objective: Objective = NEXT_TOKEN,
    masks: Masks | None = None,
    ema_decay: float | None = None,
    sparsity: Sparsity | None = None,
    tuning: Tuning = EVERYTHING,
    devices_axis: str | None = None,
) -> tuple[TrainState, Metrics]:
    """Take one optimiser step.

    A step with a non-finite loss or gradient leaves parameters and moments unchanged, and is counted as skipped.

    Args:
      state: the state before the step; compiled callers donate it.
      batch: leaves [A, M, ...]: A micro-steps of M windows.
      model: the model.
      optimizer: the optimiser, including gradient clipping.
      schedule: the optimiser's learning rate as a function of the number of updates; only for the metrics.
      objective: the parts of the loss and their weights.
      masks: see `summed_loss`.
      ema_decay: decay of the average of the parameters, if the state has one. After u updates, the smaller of it and
        (1 + u) / (10 + u) is used, so that the initial parameters are soon forgotten.
      sparsity: the schedule by which weights become zero; None for none. The average is zero where they are.
      tuning: which parameters are trained.
      devices_axis: axis name of a pmap, in which each device has separate windows; None under jit, where the batch is
        the global one.

    Returns:
      The state after the step, and scalars: loss (nats per scored token), perplexity (from the token's own part of the
      loss), learning_rate, gradient_norm (of what is trained, before clipping), scored (tokens), skipped and
      skipped_in_row (steps), loss_scale in float16, zeros (their share in the matrices) with a sparsity,
      parameter_norm/<group> and update_norm/<group> per group of layers (an update is zero in a skipped step),
      loss/<part> if the loss has several parts, and task_weight/<part> if their weights are learned.
    """
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key_data), state.step)
    scale = None if state.loss_scale is None else state.loss_scale.scale * _power_below_share(batch)
    before = tuning.trained(state.params, state.opt_state)
    whole = functools.partial(tuning.whole, params=state.params, opt_state=state.opt_state)
    how: dict[str, Any] = {"model": model, "objective": objective, "masks": masks, "scale": scale, "whole": whole}
    sums = summed_gradients(before, batch, key, devices_axis=devices_axis, **how)
    # Summed over devices before the division, since devices may have different numbers of scored tokens.
    if devices_axis is not None:
        sums = jax.lax.psum(sums, devices_axis)
    gradients, total, weight, parts = sums
    # A step without scored tokens has a loss of 0, not NaN.
    divisor = jnp.where(weight > 0, weight, 1.0).astype(total.dtype)
    parts = {part: value / divisor for part, value in parts.items()}
    loss, divisor = total / divisor, divisor if scale is None else divisor * scale
    gradients = jax.tree.map(lambda gradient: gradient / divisor, gradients)
    if sparsity is not None:
        gradients = where_nonzero(gradients, before)
    norm = optax.tree.norm(gradients)
    finite = jnp.isfinite(loss) & jnp.isfinite(norm)

    update_count = state.step - state.skipped  # the optimiser's own count, which skipped steps leave unchanged
    update = functools.partial(
        _updated,
        update_count=update_count,
        optimizer=optimizer,
        ema_decay=ema_decay,
        sparsity=sparsity,
        tuning=tuning,
    )
    learned = Learned(state.params, state.opt_state, state.average)
    # A branch, not a choice number by number, which would need the moments of before as well as those of after: a CPU's
    # compiler copies them.
    learned, update_norms = jax.lax.cond(finite, update, _unchanged, gradients, learned)
    state = TrainState(
        step=state.step + 1,
        **learned._asdict(),
        loss_scale=None if state.loss_scale is None else after_step(state.loss_scale, finite),
        key_data=state.key_data,
        skipped=state.skipped + ~finite,
        skipped_in_row=jnp.where(finite, 0, state.skipped_in_row + 1),
    )
    metrics: Metrics = {
        "loss": loss,
        "perplexity": jnp.exp(parts.get("token", loss)),
        "learning_rate": cast(jax.Array, schedule(update_count)),  # optax declares any ArrayLike
        "gradient_norm": norm,
        "scored": weight,
        "skipped": state.skipped,
        "skipped_in_row": state.skipped_in_row,
        **({} if state.loss_scale is None else {"loss_scale": state.loss_scale.scale}),
        **({} if sparsity is None else {"zeros": zero_share(learned.params)}),
        **{f"loss/{part}": value for part, value in parts.items()},
        **{f"task_weight/{part}": value for part, value in task_weights(learned.params).items()},
        **_norms("parameter_norm", model_part(learned.params)),
        **update_norms,
    }
    return state, metrics


def _updated(
    gradients: Any,
    learned: Learned,
    *,
    update_count: jax.Array,
    optimizer: optax.GradientTransformation,
    ema_decay: float | None,
    sparsity: Sparsity | None,
    tuning: Tuning,
) -> tuple[Learned, Metrics]:
    """Return what the optimiser makes of the gradients of what is trained, and the norms of the updates."""
    params, opt_state, average = learned
    before = tuning.trained(params, opt_state)
    updates, rule = optimizer.update(gradients, tuning.rule_state(opt_state), before)
    trained = optax.apply_updates(before, updates)
    if sparsity is not None:
        trained = sparsity.pruned(where_nonzero(trained, before), update_count + 1)
    after = tuning.whole(trained, params, opt_state)
    if average is not None and ema_decay is not None:
        average = _averaged(average, after, update_count, decay=ema_decay)
        average = tuning.unless_fixed(average, learned.average)
        average = average if sparsity is None else where_nonzero(average, after)
    if tuning != EVERYTHING:
        updates = jax.tree.map(jnp.subtract, after, params)  # of the model: zero where it is fixed
    norms = _norms("update_norm", model_part(updates))
    return Learned(after, tuning.after(trained, rule, opt_state), average), norms


def _unchanged(gradients: Any, learned: Learned) -> tuple[Learned, Metrics]:
    """Return what was learned as it is, and updates of norm zero."""
    del gradients
    norms = _norms("update_norm", model_part(learned.params))
    return learned, jax.tree.map(jnp.zeros_like, norms)


def _power_below_share(batch: Batch) -> float:
    """Return a power of two near 1 / tokens of a micro-step, which makes a loss scale act on means instead of sums."""
    # A power of two only changes exponents, so that scaling adds no rounding error.
    shape = batch["tokens"].shape
    return 2.0 ** -round(math.log2(shape[1] * (shape[-1] - 1)))


def _averaged(average: Any, params: Any, count: jax.Array, *, decay: float) -> Any:
    kept = jnp.minimum(decay, (1 + count) / (10 + count)).astype(jax.tree.leaves(params)[0].dtype)
    return jax.tree.map(lambda old, new: kept * old + (1 - kept) * new, average, params)


def _norms(name: str, tree: Any) -> Metrics:
    """Return the L2 norm of each group of layers: embeddings, each block, the final norm, the head."""
    return {f"{name}/{group}": optax.tree.norm(part) for group, part in tree.items()}


def eval_step(
    params: Any,
    batch: Batch,
    *,
    model: LOBTransformer,
    objective: Objective = NEXT_TOKEN,
    masks: Masks | None = None,
    devices_axis: str | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Return (nll_sum, weight_sum) of windows [M, ...], without dropout, of only the next or the hidden token.

    The losses of further heads do not influence which checkpoint is best.
    """
    how: dict[str, Any] = {"objective": objective, "masks": masks, "devices_axis": devices_axis}
    total, weight, parts = summed_loss(params, batch, None, model=model, **how)
    sums = (parts.get("token", total), weight)
    return sums if devices_axis is None else jax.lax.psum(sums, devices_axis)


def jit_train_step(
    step: Callable[..., tuple[TrainState, Metrics]],
    state: TrainState,
    *,
    mesh: Mesh,
    options: Mapping[str, bool] = NO_OPTIONS,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Compile a `train_step` over the mesh; the input state is donated, and its memory reused.

    Args:
      step: `train_step` with all arguments but state and batch bound.
      state: a state, or its shapes.
      mesh: the devices; batches are leaves [A, M, ...] with the windows of all devices.
      options: XLA compiler options by name.
    """
    states, windows = state_sharding(state, mesh), split_over_windows(mesh, leading_axes=1)
    shardings: dict[str, Any] = {"in_shardings": (states, windows), "out_shardings": (states, replicated(mesh))}
    return jax.jit(step, **shardings, donate_argnums=0, compiler_options=dict(options))


def jit_eval_step(
    step: Callable[..., tuple[jax.Array, jax.Array]],
    params: Any,
    *,
    mesh: Mesh,
    options: Mapping[str, bool] = NO_OPTIONS,
) -> Callable[[Any, Batch], tuple[jax.Array, jax.Array]]:
    """Compile an `eval_step` over the mesh; parameters are not donated, since training continues with them."""
    arguments = (state_sharding(params, mesh), split_over_windows(mesh, leading_axes=0))
    return jax.jit(step, in_shardings=arguments, out_shardings=replicated(mesh), compiler_options=dict(options))


def pmap_train_step(
    step: Callable[..., tuple[TrainState, Metrics]], *, mesh: Mesh
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Compile a data-parallel `train_step`: each device of a mesh has a copy of the state, and gradients are summed.

    The state has the same layout as for `jit_train_step`, so that a run can switch between the two; batches are leaves
    [A, devices, m, ...].
    """
    each = functools.partial(step, devices_axis="devices")
    devices = list(mesh.devices.flat)
    return jax.pmap(each, "devices", in_axes=(None, 1), out_axes=None, donate_argnums=0, devices=devices)


def pmap_eval_step(
    step: Callable[..., tuple[jax.Array, jax.Array]], *, mesh: Mesh
) -> Callable[[Any, Batch], tuple[jax.Array, jax.Array]]:
    """Compile a data-parallel `eval_step`; batches are leaves [devices, m, ...]."""
    each = functools.partial(step, devices_axis="devices")
    return jax.pmap(each, "devices", in_axes=(None, 0), out_axes=None, devices=list(mesh.devices.flat))
