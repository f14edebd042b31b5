"""Evaluate a model of masked tokens, next to their frequencies."""

import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.table import Table

from lob_jax.evaluation.likelihood.scores import model_apply
from lob_jax.models.config import ModelConfig
from lob_jax.models.inputs import fields_read
from lob_jax.models.layers import example_keys
from lob_jax.tokens.vocabulary import CLASS_SIZE
from lob_jax.training.step.objectives.masked import EVALUATION_SEED, IGNORED, create_mlm_batch
from lob_jax.training.step.shift import Batch, shift

ROWS = (
    ("loss, nats per token", "loss", ".4f"),
    ("perplexity", "perplexity", ".2f"),
    ("token accuracy", "token_accuracy", ".2%"),
    ("event accuracy", "event_accuracy", ".2%"),
)


def evaluate_hidden(
    config: ModelConfig,
    params: Any,
    batches: Iterable[Batch],
    *,
    share: float,
    events: bool,
    token_counts: np.ndarray,
) -> dict[str, Any]:
    """Mask a share of the tokens of evaluation windows, the same ones in every call, and score their predictions.

    Args:
      config, params: the model.
      batches: evaluation windows; padding has example -1 and scores nothing.
      share: share of the scored tokens to mask.
      events: whether all tokens of an event are masked together, see `create_mlm_batch`.
      token_counts: int [V], counts in the training split, whose frequencies are the baseline.

    Returns:
      Plain values as in JSON: hidden (number of masked tokens), share, and for "model" and "zero_order" the loss in
      nats per masked token, its perplexity, and the accuracy of the likeliest token and of its class (`token // 1000`).
    """
    shares = (token_counts + 1) / (token_counts + 1).sum()
    frequencies = jnp.log(jnp.asarray(shares, jnp.float32))
    sums = np.zeros((2, 3))
    hidden = 0
    for batch in batches:
        inputs = {name: batch[name] for name in fields_read(config)}
        scores, count = _score(params, inputs, frequencies, config=config, share=share, events=events)
        sums += np.asarray(scores, np.float64)
        hidden += int(count)
    scored = {name: _figures(row / max(hidden, 1)) for name, row in zip(("model", "zero_order"), sums, strict=True)}
    return {"hidden": hidden, "share": share, **scored}


def _figures(means: np.ndarray) -> dict[str, float]:
    nll, token, kind = means.tolist()
    return {"loss": nll, "perplexity": float(np.exp(nll)), "token_accuracy": token, "event_accuracy": kind}


@functools.partial(jax.jit, static_argnames=("config", "share", "events"))
def _score(
    params: Any, batch: Batch, frequencies_V: jax.Array, *, config: ModelConfig, share: float, events: bool
) -> tuple[jax.Array, jax.Array]:
    """Return sums over the masked tokens [2, 3], for model and frequencies: nll, correct tokens, correct classes."""
    tokens_BT, conditioning, _, _ = shift(batch)
    # A key per window, whatever its batch: runs with other batch sizes mask the same tokens.
    keys_B = example_keys(jax.random.key(EVALUATION_SEED), batch["example"])
    shown_BT, label_BT = create_mlm_batch(
        tokens_BT,
        keys_B,
        scored_BT=batch["scored"][:, :-1],
        share=share,
        vocab_size=config.vocab_size,
        events=events,
    )
    hidden_BT = label_BT != IGNORED
    logits_BTV = model_apply(config)(params, shown_BT, conditioning)

    def sums(log_p_BTV: jax.Array) -> jax.Array:
        nll_BT = -jnp.take_along_axis(log_p_BTV, tokens_BT[..., None], axis=-1)[..., 0]
        found_BT = jnp.argmax(log_p_BTV, axis=-1)
        right_BT = found_BT == tokens_BT
        class_BT = found_BT // CLASS_SIZE == tokens_BT // CLASS_SIZE
        return jnp.stack([jnp.where(hidden_BT, x_BT, 0).sum() for x_BT in (nll_BT, right_BT, class_BT)])

    by_frequency = jnp.broadcast_to(frequencies_V, logits_BTV.shape)
    return jnp.stack([sums(jax.nn.log_softmax(logits_BTV)), sums(by_frequency)]), hidden_BT.sum()


def hidden_table(result: dict[str, Any]) -> Table:
    """Return a rich table of `evaluate_hidden`."""
    shown = Table(title=f"{result['hidden']:,} masked tokens, {result['share']:.0%} of the scored tokens")
    for heading in ("", "model", "zero-order"):
        shown.add_column(heading, justify="right" if heading else "left")
    for label, key, form in ROWS:
        shown.add_row(label, *(format(result[name][key], form) for name in ("model", "zero_order")))
    return shown
