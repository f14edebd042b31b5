"""Evaluate the further heads of a model: direction and volatility of the mid price, and the tokens after the next."""

import functools
import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.data.labels.moves import NO_LABEL, Outlooks, log_volatility
from lob_jax.data.records.records import RecordSource, mids, record_instrument, sampled_records
from lob_jax.errors import InputError
from lob_jax.evaluation.direction.blocks import blocks_of
from lob_jax.evaluation.direction.scores import direction_scores
from lob_jax.evaluation.direction.volatility import log_volatility_scores
from lob_jax.evaluation.likelihood.scores import scored_positions
from lob_jax.models.apply import apply
from lob_jax.models.config import ModelConfig
from lob_jax.models.heads import DIRECTIONS
from lob_jax.models.inputs import Role, fields_read
from lob_jax.models.pointer import Features, next_logits
from lob_jax.models.transformer import LOBTransformer
from lob_jax.training.step.shift import Batch, in_rows, shift

Scores = dict[str, Any]
BLOCK_HORIZONS = 10  # length of a block of the bootstrap, in horizons: labels overlap over two


def evaluate_outlook(
    config: ModelConfig,
    params: Any,
    batches: Iterable[Batch],
    *,
    source: RecordSource,
    train: RecordSource,
    outlooks: Outlooks,
) -> list[Scores]:
    """Score the predictions of the mid price at each horizon, on the events whose record determines the labels.

    Args:
      config, params: the model, with `heads.outlook_events`.
      batches: evaluation windows with labels.
      source: the records of the windows.
      train: records of the training split, whose frequencies and mean are baselines.
      outlooks: the labels, with thresholds of the training split.

    Returns:
      For each horizon, plain values as in JSON: horizon_events, flat (the threshold), direction ("model" and
      "training_frequencies", see `direction_scores`), and volatility ("model", "last_realised", which is that of as
      many events before, and "training_mean", see `log_volatility_scores`); with 95 % intervals.

    Raises:
      InputError: no scored event has labels.
    """
    found = [_outlook_of(config, params, batch) for batch in batches]
    rows = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    result = []
    for k, (horizon, flat) in enumerate(zip(outlooks.horizons, outlooks.flat, strict=True)):
        known = rows["direction"][:, k] != NO_LABEL
        label, volatility = rows["direction"][known, k], rows["log_volatility"][known, k]
        past = _past_volatility(source, rows["record"][known], rows["event"][known], horizon)
        prior, mean = _of_training(train, outlooks, k)
        block = blocks_of(rows["record"][known], rows["event"][known], length=BLOCK_HORIZONS * horizon)
        by_frequency = np.broadcast_to(prior, (len(label), DIRECTIONS))
        result.append(
            {
                "horizon_events": horizon,
                "flat": flat,
                "direction": {
                    name: direction_scores(p, label, prior=prior, block=block)
                    for name, p in (("model", rows["probability"][known, k]), ("training_frequencies", by_frequency))
                },
                "volatility": {
                    name: log_volatility_scores(forecast, volatility, mean=mean, block=block)
                    for name, forecast in (
                        ("model", rows["forecast"][known, k]),
                        ("last_realised", past),
                        ("training_mean", np.full(len(label), mean)),
                    )
                },
            }
        )
    return result


def _outlook_of(config: ModelConfig, params: Any, batch: Batch) -> dict[str, np.ndarray]:
    """Return labels and predictions at the labelled tokens of a batch, where the next token is scored."""
    batch = in_rows(batch)
    inputs = {name: batch[name] for name in fields_read(config, Role.STREAM, Role.BESIDE)}
    log_p_BTK3, forecast_BTK = (np.asarray(part, np.float64) for part in _outlook(inputs, params, config=config))
    direction_BTK = np.asarray(batch["direction"])[:, :-1]
    row, at = np.nonzero(np.asarray(batch["scored"])[:, 1:] & (direction_BTK != NO_LABEL).any(-1))
    return {
        "record": np.asarray(batch["record"])[row],
        "event": np.asarray(batch["event"])[row, at],
        "direction": direction_BTK[row, at],
        "log_volatility": np.asarray(batch["log_volatility"], np.float64)[row, at],
        "probability": np.exp(log_p_BTK3[row, at]),
        "forecast": forecast_BTK[row, at],
    }


@functools.partial(jax.jit, static_argnames="config")
def _outlook(batch: Batch, params: Any, *, config: ModelConfig) -> tuple[jax.Array, jax.Array]:
    """Return log probabilities [B, T, K, 3] and log volatilities [B, T, K]."""
    tokens_BT, conditioning, _, _ = shift(batch)
    outlook = apply(LOBTransformer(config), {"params": params}, tokens_BT, conditioning, method="outlook")
    return jax.nn.log_softmax(outlook.direction_BTK3), outlook.log_volatility_BTK


def _past_volatility(source: RecordSource, record: np.ndarray, event: np.ndarray, horizon: int) -> np.ndarray:
    """Return the log volatility of the last `horizon` events up to some events, float64 [N].

    A label needs as many events before it in its record, so all of them are known.
    """
    past = np.zeros(len(record))
    for index in np.unique(record):
        about = source[int(index)]
        future = log_volatility(mids(about), horizon, record_instrument(about).tick)
        past[record == index] = future[event[record == index] + 1 - horizon]  # row i + 1 is the book after event i
    return past


def _of_training(train: RecordSource, outlooks: Outlooks, k: int) -> tuple[np.ndarray, float]:
    """Return the frequencies of the directions at horizon k in the training split, and the mean log volatility."""
    counts, total = np.ones(DIRECTIONS), 0.0
    for record in sampled_records(train):
        direction, volatility = (labels[int(record["lead_events"]) + 1 :, k] for labels in outlooks.of(record))
        known = direction != NO_LABEL
        counts += np.bincount(direction[known], minlength=DIRECTIONS)
        total += float(volatility[known].sum(dtype=np.float64))
    return counts / counts.sum(), total / max(float(counts.sum()) - DIRECTIONS, 1.0)


def evaluate_ahead(
    config: ModelConfig, params: Any, batches: Iterable[Batch], *, token_counts: np.ndarray
) -> list[Scores]:
    """Score the predictions of the tokens 1, 2, ... ahead, all on the same tokens.

    Args:
      config, params: the model, with `heads.next_tokens` above 1.
      batches: evaluation windows. A token is scored if its window has as many tokens before it as the farthest head
        looks ahead.
      token_counts: int [V], counts in the training split, whose frequencies are the baseline at every distance.

    Returns:
      For each distance, plain values as in JSON: tokens_ahead, tokens, and for "model" and "zero_order" bits_per_token
      and token_accuracy.

    Raises:
      InputError: there is nothing to score.
    """
    shares = (token_counts + 1) / (token_counts + 1).sum()
    nats_V, likeliest = -np.log(shares), int(shares.argmax())
    ahead = config.heads.next_tokens
    sums, of_zero, tokens = np.zeros((ahead, 2)), np.zeros(2), 0
    for batch in batches:
        batch = in_rows(batch)
        inputs = {name: batch[name] for name in fields_read(config, Role.STREAM, Role.BESIDE)}
        features_BTKD, targets_BT = _features(inputs, params, config=config)
        scored_BT = np.array(batch["scored"])[:, 1:]
        scored_BT[:, : ahead - 1] = False
        for at_BP, inside_BP in scored_positions(scored_BT):
            found = _score_ahead(features_BTKD, targets_BT, params, at_BP, config=config)
            sums += np.stack([np.where(inside_BP, np.asarray(part), 0).sum((1, 2)) for part in found], axis=1)
        target = np.asarray(batch["tokens"])[:, 1:][scored_BT]
        of_zero += nats_V[target].sum(), (target == likeliest).sum()
        tokens += len(target)
    if not tokens:
        raise InputError(
            "there is no token to predict from a distance",
            where="config.model.heads.next_tokens",
            expected=f"windows of more than {ahead} tokens",
            was="none",
            remedy="evaluate on a split with more events",
        )

    def means(nats_and_right: np.ndarray) -> dict[str, float]:
        nats, right = (nats_and_right / tokens).tolist()
        return {"bits_per_token": nats / math.log(2), "token_accuracy": right}

    return [
        {"tokens_ahead": k + 1, "tokens": tokens, "model": means(sums[k]), "zero_order": means(of_zero)}
        for k in range(ahead)
    ]


@functools.partial(jax.jit, static_argnames="config")
def _features(batch: Batch, params: Any, *, config: ModelConfig) -> tuple[jax.Array, jax.Array]:
    """Return the inputs of the output projection for the tokens 1 to K ahead, [B, T, K, D], and the targets [B, T]."""
    tokens_BT, conditioning, targets_BT, _ = shift(batch)
    model, variables = LOBTransformer(config), {"params": params}
    x_BTD, _ = apply(model, variables, tokens_BT, conditioning, method="stream")
    next_BTD = apply(model, variables, x_BTD, conditioning, method="next_features").x_BTD
    ahead_BTKD = apply(model, variables, x_BTD, method="ahead_features")
    return jnp.concatenate([next_BTD[:, :, None], ahead_BTKD], axis=2), targets_BT


@functools.partial(jax.jit, static_argnames="config")
def _score_ahead(
    features_BTKD: jax.Array, targets_BT: jax.Array, params: Any, at_BP: jax.Array, *, config: ModelConfig
) -> tuple[jax.Array, jax.Array]:
    """Return nll in nats and whether the likeliest token came, [K, B, P] each, of the targets at some positions."""
    projection = apply(LOBTransformer(config), {"params": params}, method="projection")
    target_BP = jnp.take_along_axis(targets_BT, at_BP, axis=1)

    def score(k: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Score head k, which reads a target's position from k tokens before its last input."""
        before_BP = jnp.maximum(at_BP - k, 0)
        features_BTD = jax.lax.dynamic_index_in_dim(features_BTKD, k, axis=2, keepdims=False)
        features_BPD = jnp.take_along_axis(features_BTD, before_BP[..., None], axis=1)
        logits_BPV = next_logits(Features(features_BPD), projection)
        of_target_BP = jnp.take_along_axis(logits_BPV, target_BP[..., None], axis=-1)[..., 0]
        right_BP = jnp.argmax(logits_BPV, axis=-1) == target_BP
        return jax.nn.logsumexp(logits_BPV, axis=-1) - of_target_BP, right_BP

    return jax.lax.map(score, jnp.arange(features_BTKD.shape[2]))  # one head's logits in memory at a time
