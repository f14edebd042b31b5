"""The parts of the loss: that of the objective's tokens, and those of the model's further heads.

Each part is a sum over the tokens, windows and horizons of a micro-step, in nats, so that micro-steps and devices add
up; a step divides once by its number of scored tokens. The weight of a part is therefore per scored token, relative to
1 for that token's own cross-entropy. Only the contrastive loss compares windows: those of one micro-step (with pmap,
those of one device).
"""

from typing import Any

import jax
import jax.numpy as jnp

from lob_jax.errors import InputError
from lob_jax.models.apply import apply
from lob_jax.models.heads import Outlook
from lob_jax.models.inputs import Conditioning, Role, fields_read, given
from lob_jax.models.masking import Masks
from lob_jax.models.pointer import Features, Projection, next_logits
from lob_jax.models.transformer import LOBTransformer
from lob_jax.training.step.loss import Within, blockwise_cross_entropy, cross_entropy
from lob_jax.training.step.objective import NEXT_TOKEN, OBJECTIVES, Objective
from lob_jax.training.step.shift import Batch, Task, in_rows

NO_OTHER = -1e30  # similarity of windows that are not compared

Parts = dict[str, jax.Array]


def summed_loss(
    params: Any,
    batch: Batch,
    key: jax.Array | None,
    *,
    model: LOBTransformer,
    objective: Objective = NEXT_TOKEN,
    masks: Masks | None = None,
) -> tuple[jax.Array, jax.Array, Parts]:
    """Return (loss_sum, weight_sum, parts) of windows [M, ...].

    Args:
      params: the model's parameters.
      batch: the windows.
      key: dropout key, which the example numbers are folded into; None for no dropout.
      model: the model; its heads determine the parts of the loss.
      objective: the objective and the weights of the parts.
      masks: the masks of the next token, for a model that has one, see `ModelConfig.mask`.

    Returns:
      The weighted sum of all parts; the number of scored tokens; and, if the model has further heads, the unweighted
      sum of each part: "token" (next or hidden), "ahead", "direction", "volatility", "contrastive".
    """
    batch = in_rows(batch)
    task = OBJECTIVES[objective.kind].task(batch, key, model.config, objective)
    how: dict[str, Any] = {"deterministic": True}
    if key is not None:
        how = {"deterministic": False, "example_B": batch["example"], "rngs": {"dropout": key}}
    heads = model.config.heads
    if heads.next_tokens == 1 and not heads.outlook_events and not heads.contrastive_size:
        return *_token_loss(params, task, how, model, objective, masks), {}
    return _losses_of_heads(params, batch, task, how, model, objective, masks)


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
) -> tuple[jax.Array, jax.Array, Parts]:
    """Return what `summed_loss` returns, for a model with further heads."""
    tokens_BT, conditioning, targets_BT, weights_BT = task
    heads, variables = model.config.heads, {"params": params}
    x_BTD, _ = apply(model, variables, tokens_BT, conditioning, **how, method="stream")
    features = apply(model, variables, x_BTD, conditioning, method="next_features")
    projection = apply(model, variables, method="projection")
    within = _within(conditioning, model, masks)
    token, weight = _cross_entropy(features, projection, targets_BT, weights_BT, objective, within)
    parts, total = {"token": token}, token
    if heads.next_tokens > 1:
        ahead_BTKD = apply(model, variables, x_BTD, method="ahead_features")
        parts["ahead"] = ahead_loss(ahead_BTKD, projection, targets_BT, weights_BT, objective)
        total += objective.ahead_weight * parts["ahead"]
    if heads.outlook_events:
        outlook = apply(model, variables, x_BTD, method="outlook_of")
        labels = (batch["direction"][:, :-1], batch["log_volatility"][:, :-1])
        parts["direction"], parts["volatility"] = outlook_losses(outlook, *labels, weights_BT)
        total += objective.outlook_weight * (parts["direction"] + parts["volatility"])
    if heads.contrastive_size:
        vector_BTP = apply(model, variables, x_BTD, method="contrast")
        windows = at_last_scored(vector_BTP, batch["regime"][:, :-1], weights_BT)
        parts["contrastive"] = contrastive_loss(*windows, temperature=objective.contrastive_temperature)
        total += objective.contrastive_weight * parts["contrastive"]
    return total, weight, parts


def _token_loss(
    params: Any,
    task: Task,
    how: dict[str, Any],
    model: LOBTransformer,
    objective: Objective,
    masks: Masks | None,
) -> tuple[jax.Array, jax.Array]:
    """Return (nll_sum, weight_sum) of a model without further heads."""
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


def at_last_scored(
    vector_BTP: jax.Array, regime_BT: jax.Array, weights_BT: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return vector_BP and regime_B at the last scored token of each window, and scored_B, its scored tokens."""
    T = weights_BT.shape[1]
    last_B = jnp.max(jnp.where(weights_BT > 0, jnp.arange(T), 0), axis=1)
    vector_BP = jnp.take_along_axis(vector_BTP, last_B[:, None, None], axis=1)[:, 0]
    return vector_BP, jnp.take_along_axis(regime_BT, last_B[:, None], axis=1)[:, 0], weights_BT.sum(1)


def contrastive_loss(
    vector_BP: jax.Array, regime_B: jax.Array, scored_B: jax.Array, *, temperature: float
) -> jax.Array:
    """Return the supervised contrastive loss over regimes (Khosla et al., 2020, L_out), weighted by scored tokens.

    For a window i with unit vector z_i, all other windows A(i), and those among them of the same regime, P(i):
      - mean over p in P(i) of log(exp(z_i z_p / temperature) / sum over a in A(i) of exp(z_i z_a / temperature)).
    A window with an empty P(i), or without scored tokens, is no anchor; one without scored tokens is in no A(i).
    """
    B = vector_BP.shape[0]
    similarity_BB = vector_BP @ vector_BP.T / temperature
    other_BB = ~jnp.eye(B, dtype=bool) & (scored_B > 0)[None, :]
    positive_BB = other_BB & (regime_B[:, None] == regime_B[None, :])
    # For a window without any other, the result is unused; a finite floor keeps it and its gradient finite.
    normaliser_B1 = jax.nn.logsumexp(jnp.where(other_BB, similarity_BB, NO_OTHER), axis=1, keepdims=True)
    log_share_BB = similarity_BB - normaliser_B1
    count_B = positive_BB.sum(1)
    mean_B = jnp.where(positive_BB, log_share_BB, 0.0).sum(1) / jnp.maximum(count_B, 1)
    return -jnp.sum(jnp.where(count_B > 0, mean_B, 0.0) * scored_B)
