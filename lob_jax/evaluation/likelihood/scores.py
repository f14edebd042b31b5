"""Score tokens with a model: the log probability of each, and the likeliest token at its position."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.data.records.records import Outline
from lob_jax.errors import InputError
from lob_jax.models.apply import apply
from lob_jax.models.config import ModelConfig
from lob_jax.models.inputs import Conditioning, Role, names_of
from lob_jax.models.transformer import LOBTransformer
from lob_jax.training.step.shift import Batch, in_rows, shift

Apply = Callable[[Any, jax.Array, Conditioning], jax.Array]  # (params, tokens_BT, conditioning) -> logits_BTV


@dataclasses.dataclass(frozen=True, eq=False)
class TokenScores:
    """Scored tokens, ordered by record and by position in the record.

    Attributes:
      record: int64 [N], index of the record.
      position: int64 [N], index of the token in its record.
      nll: float64 [N], nats, minus the log probability of the token.
      predicted: int64 [N], the likeliest token.
    """

    record: np.ndarray
    position: np.ndarray
    nll: np.ndarray
    predicted: np.ndarray

    def __len__(self) -> int:
        return len(self.record)


@functools.lru_cache
def model_apply(config: ModelConfig) -> Apply:
    """Return the function from parameters and inputs to logits.

    It is the same object for the same configuration: jit compiles once per function object.
    """
    model = LOBTransformer(config)

    def logits_of(params: Any, tokens_BT: jax.Array, conditioning: Conditioning) -> jax.Array:
        return apply(model, {"params": params}, tokens_BT, conditioning)

    return logits_of


def score_windows(apply: Apply, params: Any, batches: Iterable[Batch]) -> TokenScores:
    """Score the tokens of evaluation windows.

    Args:
      apply: see `Apply`; compiled once per function object and shape of batch.
      params: the parameters of the model.
      batches: windows with a leading batch axis, see `data.windows.pipeline.batches`.

    Raises:
      InputError: a token was scored twice.
    """
    parts: list[tuple[np.ndarray, ...]] = []
    for batch in batches:
        batch = in_rows(batch)
        inputs = {name: batch[name] for name in names_of(Role.STREAM, Role.BESIDE) if name in batch}
        nll_BT, predicted_BT = _score(inputs, params, apply=apply)
        row, column = np.nonzero(np.asarray(batch["scored"])[:, 1:])
        parts.append(
            (
                np.asarray(batch["record"])[row].astype(np.int64),
                np.asarray(batch["position"])[row].astype(np.int64) + column + 1,
                np.asarray(nll_BT)[row, column].astype(np.float64),
                np.asarray(predicted_BT)[row, column].astype(np.int64),
            )
        )
    record, position, nll, predicted = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((position, record))  # windows overlap and may come in any order
    scores = TokenScores(record[order], position[order], nll[order], predicted[order])
    twice = np.flatnonzero((np.diff(scores.record) == 0) & (np.diff(scores.position) == 0))
    if twice.size:
        raise _miscounted(scores.record[twice[0]], scores.position[twice[0]], was="scored twice or more")
    return scores


def check_scored_once(scores: TokenScores, outlines: Sequence[Outline]) -> None:
    """Check that every token after each record's lead was scored exactly once, and no other token.

    Raises:
      InputError: names the first token that is missing, or should not have been scored.
    """
    spans = [np.arange(about.lead_tokens, about.tokens) for about in outlines]
    expected = np.stack(
        [
            np.repeat(np.arange(len(spans)), [len(span) for span in spans]),
            np.concatenate([np.zeros(0, np.int64), *spans]),
        ]
    )
    found = np.stack([scores.record, scores.position])
    common = min(expected.shape[1], found.shape[1])
    differs = (expected[:, :common] != found[:, :common]).any(0)
    if expected.shape != found.shape or differs.any():
        first = int(differs.argmax()) if differs.any() else common
        ahead = [tuple(where[:, first].tolist()) for where in (expected, found) if where.shape[1] > first]
        missing = expected.shape[1] > first and min(ahead) == ahead[0]
        raise _miscounted(*min(ahead), was="not scored" if missing else "scored")


@functools.partial(jax.jit, static_argnames="apply")
def _score(batch: Batch, params: Any, *, apply: Apply) -> tuple[jax.Array, jax.Array]:
    """Return nll_BT in nats, float32, and the likeliest tokens [B, T]."""
    tokens_BT, conditioning, targets_BT, _ = shift(batch)
    logits_BTV = apply(params, tokens_BT, conditioning).astype(jnp.float32)  # 16 bits are too few for a log-sum-exp
    target_logit_BT = jnp.take_along_axis(logits_BTV, targets_BT[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits_BTV, axis=-1) - target_logit_BT, jnp.argmax(logits_BTV, axis=-1)


def _miscounted(record: int, position: int, *, was: str) -> InputError:
    return InputError(
        "the windows do not score each token after the lead exactly once",
        where=f"record {record}, token {position}",
        expected="scored exactly once if it is after the record's lead, otherwise not at all",
        was=was,
        remedy="evaluate on windows that TokenBookDataset(evaluation=True) cut from the same records",
    )
