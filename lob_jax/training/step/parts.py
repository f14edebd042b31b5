"""The parts of the loss: that of the objective's tokens, and those of the model's further heads.

Each part is a sum over the tokens, windows and horizons of a micro-step, in nats, so that micro-steps and devices add
up; a step divides once by its number of scored tokens. The weight of a part is therefore per scored token, relative to
1 for that token's own cross-entropy. Only the contrastive loss compares windows: all those of one micro-step.
"""

from typing import Any

import jax
import jax.numpy as jnp

from lob_jax.errors import InputError
from lob_jax.models.apply import apply
from lob_jax.models.embeddings import Mixture, rows_of
from lob_jax.models.heads import Outlook
from lob_jax.models.inputs import Conditioning, Role, fields_read, given
from lob_jax.models.layers import example_keys
from lob_jax.models.masking import Masks
from lob_jax.models.pointer import Features, Projection, next_logits
from lob_jax.models.transformer import LOBTransformer
from lob_jax.tokens.vocabulary import PAD
from lob_jax.training.step.adversarial import worst_addition
from lob_jax.training.step.contrastive import VIEWS, augmented, contrastive_loss, last_scored, make_rows, view_keys
from lob_jax.training.step.loss import Within, blockwise_cross_entropy, cross_entropy
from lob_jax.training.step.mixup import PARTNER, Mixing, scaled, shares
from lob_jax.training.step.objective import NEXT_TOKEN, OBJECTIVES, Objective
from lob_jax.training.step.shift import Batch, Task, in_rows, shown
from lob_jax.training.step.tasks import Parts, weighted_sum

# Folded into the key of a step, so that what is random in the parts is independent of dropout and of hidden tokens.
ADVERSARIAL, AUGMENTING = 2, 3
EVALUATION_SEED = 0  # of views without a dropout key


def summed_loss(
    params: Any,
    batch: Batch,
    key: jax.Array | None,
    *,
    model: LOBTransformer,
    objective: Objective = NEXT_TOKEN,
    masks: Masks | None = None,
    devices_axis: str | None = None,
) -> tuple[jax.Array, jax.Array, Parts]:
    """Return (loss_sum, weight_sum, parts) of windows [M, ...].

    Args:
      params: the model's parameters, with the group `tasks.TASKS` if the weights of the parts are learned.
      batch: the windows, with their partners if the objective mixes them, see `mixup.with_partners`.
      key: dropout key, which the example numbers are folded into; None for no dropout, no adversarial part and no
        mixup.
      model: the model; its heads determine the parts of the loss.
      objective: the objective and the weights of the parts.
      masks: the masks of the next token, for a model that has one, see `ModelConfig.mask`.
      devices_axis: axis name of a pmap, in which each device has separate windows; None under jit.

    Returns:
      The weighted sum of all parts; the number of scored tokens, with mixup by their shares; and, if there are several,
      the unweighted sum of each part: "token" (next or hidden), "ahead", "direction", "volatility", "contrastive",
      "adversarial".
    """
    batch = in_rows(batch)
    task = _in_training(OBJECTIVES[objective.kind].task(batch, key, model.config, objective), batch, key, model)
    how: dict[str, Any] = {"deterministic": True}
    if key is not None:
        how = {"deterministic": False, "example_B": batch["example"], "rngs": {"dropout": key}}
    if key is not None and objective.mixup:
        partner = OBJECTIVES[objective.kind].task(batch[PARTNER], key, model.config, objective)
        partner = _in_training(partner, batch[PARTNER], key, model)
        mixing = Mixing(partner, shares(key, batch["example"], objective.mixup, model.config.param_dtype))
        token, weight = _mixed_loss(params, task, mixing, how, model, objective, masks)
        parts = {"token": token}
    elif len(model.config.heads.losses) == 1:
        token, weight = _token_loss(params, task, how, model, objective, masks)
        parts = {"token": token}
    else:
        parts, weight = _losses_of_heads(params, batch, task, how, model, objective, masks, devices_axis)
    if key is not None and objective.adversarial != "none":
        keys_B = example_keys(jax.random.fold_in(key, ADVERSARIAL), batch["example"])
        parts["adversarial"] = _adversarial_loss(params, task, keys_B, how, model, objective, masks)
    if len(parts) == 1:
        return parts["token"], weight, {}
    return weighted_sum(parts, weight, params, objective), weight, parts


def _in_training(task: Task, batch: Batch, key: jax.Array | None, model: LOBTransformer) -> Task:
    """Return a task that says, in training, which record each window is of, so that a count model leaves it out."""
    if key is None or not model.config.counts:
        return task
    tokens_BT, conditioning, targets_BT, scored_BT = task
    record_BT = jnp.broadcast_to(batch["record"][:, None], tokens_BT.shape)
    return tokens_BT, {**conditioning, "record": record_BT}, targets_BT, scored_BT


def _within(conditioning: Conditioning, model: LOBTransformer, masks: Masks | None) -> Within | None:
    """Return the tokens over which a model's next one is distributed."""
    if model.config.mask == "none":
        return None
    if masks is None:
        raise InputError(
            "the masks of the next token are not given",
            where="masks",
            expected=f"those of the tokens' grammar, since model.mask is {model.config.mask}",
            was=None,
            remedy="pass the result of lob_jax.models.masking.make_masks",
        )
    return Within({name: given(conditioning, name) for name in fields_read(model.config, Role.PLACE)}, masks)


def _losses_of_heads(
    params: Any,
    batch: Batch,
    task: Task,
    how: dict[str, Any],
    model: LOBTransformer,
    objective: Objective,
    masks: Masks | None,
    devices_axis: str | None,
) -> tuple[Parts, jax.Array]:
    """Return (parts, weight_sum) of a model with further heads, see `summed_loss`."""
    tokens_BT, conditioning, targets_BT, weights_BT = task
    heads, variables = model.config.heads, {"params": params}
    x_BTD, _ = apply(model, variables, tokens_BT, conditioning, **how, method="stream")
    features = apply(model, variables, x_BTD, conditioning, method="next_features")
    projection = apply(model, variables, method="projection")
    within = _within(conditioning, model, masks)
    token, weight = _cross_entropy(features, projection, targets_BT, weights_BT, objective, within)
    parts = {"token": token}
    if heads.next_tokens > 1:
        ahead_BTKD = apply(model, variables, x_BTD, method="ahead_features")
        parts["ahead"] = ahead_loss(ahead_BTKD, projection, targets_BT, weights_BT, objective)
    if heads.outlook_events:
        outlook = apply(model, variables, x_BTD, method="outlook_of")
        labels = (batch["direction"][:, :-1], batch["log_volatility"][:, :-1])
        parts["direction"], parts["volatility"] = outlook_losses(outlook, *labels, weights_BT)
    if heads.contrastive_size:
        if objective.contrastive_views == "regimes":
            vector_VBP = _vectors(params, x_BTD, weights_BT, model)[None]
        else:
            vector_VBP = _vectors_of_views(params, batch, task, how, model, objective)
        parts["contrastive"] = contrastive_loss(
            make_rows(vector_VBP, batch, weights_BT),
            kind=objective.contrastive_views,
            temperature=objective.contrastive_temperature,
            length=weights_BT.shape[1],
            devices_axis=devices_axis,
        )
    return parts, weight


def _vectors(params: Any, x_BTD: jax.Array, weights_BT: jax.Array, model: LOBTransformer) -> jax.Array:
    """Return the vectors that contrastive training compares, at the last scored token of each window, [B, P]."""
    vector_BTP = apply(model, {"params": params}, x_BTD, method="contrast")
    return jnp.take_along_axis(vector_BTP, last_scored(weights_BT)[:, None, None], axis=1)[:, 0]


def _vectors_of_views(
    params: Any, batch: Batch, task: Task, how: dict[str, Any], model: LOBTransformer, objective: Objective
) -> jax.Array:
    """Return the vectors of two augmented views of each window, [VIEWS, B, P]: a forward pass for each."""
    key = how["rngs"]["dropout"] if "rngs" in how else jax.random.key(EVALUATION_SEED)
    _, conditioning, _, weights_BT = task
    read = {name: given(conditioning, name) for name in fields_read(model.config, Role.BESIDE)}
    tokens_BT, example_B, scored_BT = shown(batch)[:, :-1], batch["example"], batch["scored"][:, :-1]
    market_B = example_B // 2 if model.config.attention.cross_asset else example_B  # peers are mirrored together

    def of_view(view: jax.Array) -> jax.Array:
        view_key = jax.random.fold_in(jax.random.fold_in(key, AUGMENTING), view)
        masking_B, mirroring_B = view_keys(view_key, example_B, market_B)
        mirror_B = jax.vmap(jax.random.bernoulli)(mirroring_B) if objective.view_mirror else None
        share = objective.view_mask_share
        seen = augmented(tokens_BT, read, masking_B, may_mask_BT=scored_BT > 0, mask_share=share, mirror_B=mirror_B)
        own = {**how, "rngs": {"dropout": view_key}} if "rngs" in how else how
        x_BTD, _ = apply(model, {"params": params}, *seen, **own, method="stream")
        return _vectors(params, x_BTD, weights_BT, model)

    return jax.lax.map(of_view, jnp.arange(VIEWS))


def _adversarial_loss(
    params: Any,
    task: Task,
    keys_B: jax.Array,
    how: dict[str, Any],
    model: LOBTransformer,
    objective: Objective,
    masks: Masks | None,
) -> jax.Array:
    """Return the loss of the objective's tokens with embeddings moved so as to raise it, and the same dropout."""
    constant, tokens_BT = jax.lax.stop_gradient(params), task[0]

    def loss(params: Any, added_BTD: jax.Array) -> jax.Array:
        return _token_loss(params, task, {**how, "added_BTD": added_BTD}, model, objective, masks)[0]

    added_BTD = worst_addition(
        lambda added_BTD: loss(constant, added_BTD),
        rows_of(apply(model, {"params": constant}, method="token_table"), tokens_BT),
        tokens_BT != PAD,
        keys_B,
        kind=objective.adversarial,
        eps=objective.adversarial_eps,
        steps=objective.adversarial_steps,
    )
    return loss(params, added_BTD)


def _mixed_loss(
    params: Any,
    task: Task,
    mixing: Mixing,
    how: dict[str, Any],
    model: LOBTransformer,
    objective: Objective,
    masks: Masks | None,
) -> tuple[jax.Array, jax.Array]:
    """Return (nll_sum, weight_sum) of the next tokens of windows and of their partners, from a mixture of both."""
    variables, share_B = {"params": params}, mixing.share_B
    tokens_BT, conditioning, _, _ = task
    mixture = Mixture(*mixing.partner[:2], share_B)
    x_BTD, _ = apply(model, variables, tokens_BT, conditioning, **how, mixture=mixture, method="stream")
    projection = apply(model, variables, method="projection")

    def loss(task: Task) -> tuple[jax.Array, jax.Array]:
        _, conditioning, targets_BT, weights_BT = task
        features = apply(model, variables, x_BTD, conditioning, method="next_features")
        within = _within(conditioning, model, masks)
        return _cross_entropy(features, projection, targets_BT, weights_BT, objective, within)

    both = loss(scaled(task, share_B)), loss(scaled(mixing.partner, 1 - share_B))
    return jax.tree.map(jnp.add, *both)


def _token_loss(
    params: Any,
    task: Task,
    how: dict[str, Any],
    model: LOBTransformer,
    objective: Objective,
    masks: Masks | None,
) -> tuple[jax.Array, jax.Array]:
    """Return (nll_sum, weight_sum) of the objective's tokens alone."""
    tokens_BT, conditioning, targets_BT, weights_BT = task
    inputs, within = (tokens_BT, conditioning), _within(conditioning, model, masks)
    if objective.loss_block is None:
        logits_BTV = apply(model, {"params": params}, *inputs, **how)
        return cross_entropy(logits_BTV, targets_BT, weights_BT, within)
    features, _ = apply(model, {"params": params}, *inputs, **how, method="features")
    projection = apply(model, {"params": params}, method="projection")
    return _cross_entropy(features, projection, targets_BT, weights_BT, objective, within)


def _cross_entropy(
    features: Features,
    projection: Projection,
    targets_BT: jax.Array,
    weights_BT: jax.Array,
    objective: Objective,
    within: Within | None = None,
) -> tuple[jax.Array, jax.Array]:
    if objective.loss_block is None:
        return cross_entropy(next_logits(features, projection), targets_BT, weights_BT, within)
    block = objective.loss_block
    return blockwise_cross_entropy(features, projection, targets_BT, weights_BT, within, block=block)


def ahead_loss(
    ahead_BTKD: jax.Array,
    projection: Projection,
    targets_BT: jax.Array,
    weights_BT: jax.Array,
    objective: Objective,
) -> jax.Array:
    """Return the summed cross-entropy of the tokens after the next, each with its own weight as a target.

    Args:
      ahead_BTKD: see `AheadHead`: entry k predicts the token k + 2 positions ahead, which is target t + k + 1.
      projection: see `Projection`.
      targets_BT: the next tokens.
      weights_BT: their weights.
      objective: its loss_block limits the logits in memory.
    """
    total = jnp.zeros((), projection.bias_V.dtype)
    for k in range(min(ahead_BTKD.shape[2], targets_BT.shape[1] - 1)):
        later = (targets_BT[:, k + 1 :], weights_BT[:, k + 1 :])
        nll, _ = _cross_entropy(Features(ahead_BTKD[:, : -k - 1, k]), projection, *later, objective)
        total += nll
    return total


def outlook_losses(
    outlook: Outlook, direction_BTK: jax.Array, log_volatility_BTK: jax.Array, weights_BT: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the summed cross-entropy of directions and half the squared error of log volatility, averaged over K.

    Args:
      outlook: the predictions.
      direction_BTK: int32, 0 down, 1 flat, 2 up; negative where there is no label.
      log_volatility_BTK: float32, read only where there is a label.
      weights_BT: the tokens' weights.
    """
    K = direction_BTK.shape[-1]
    weight_BTK = weights_BT[..., None] * (direction_BTK >= 0) / K
    logit_BTK3 = outlook.direction_BTK3
    of_label_BTK = jnp.take_along_axis(logit_BTK3, jnp.maximum(direction_BTK, 0)[..., None], axis=-1)[..., 0]
    nll_BTK = jax.nn.logsumexp(logit_BTK3, axis=-1) - of_label_BTK
    error_BTK = jnp.where(weight_BTK > 0, outlook.log_volatility_BTK - log_volatility_BTK, 0.0)
    return jnp.sum(nll_BTK * weight_BTK), jnp.sum(0.5 * jnp.square(error_BTK) * weight_BTK)
