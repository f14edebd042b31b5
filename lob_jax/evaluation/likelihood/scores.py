"""Score tokens with a model: their log probabilities, and its predictions, as they are, in the grammar, in the book."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.data.records.records import Outline
from lob_jax.errors import InputError
from lob_jax.models.apply import apply
from lob_jax.models.config import ModelConfig
from lob_jax.models.inputs import Conditioning, Role, names_of
from lob_jax.models.masking import Masks, Places, log_probabilities, places_of, unpacked
from lob_jax.models.pointer import Features, next_logits
from lob_jax.models.transformer import LOBTransformer
from lob_jax.tokens.grammar import Automaton
from lob_jax.tokens.vocabulary import CLASS_SIZE, FIELD_HEAD, VOCAB_SIZE
from lob_jax.training.step.shift import Batch, in_rows, shift

Apply = Callable[[Any, jax.Array, Conditioning], jax.Array]  # (params, tokens_BT, conditioning) -> logits_BTV
ToFeatures = Callable[[Any, jax.Array, Conditioning], Features]  # (params, tokens_BT, conditioning), [B, T, ...]
Project = Callable[[Any, Features], jax.Array]  # (params, features of K positions) -> logits_BKV
POSITIONS = 128  # positions of a window whose logits are in memory at once
N_CLASSES = VOCAB_SIZE // CLASS_SIZE
PLACES = names_of(Role.PLACE)


class Network(NamedTuple):
    """A model in two steps, so that logits are computed only where a token is scored.

    Attributes:
      features: from parameters and inputs to what logits are computed from.
      logits: from parameters and the features of K positions to logits_BKV.
    """

    features: ToFeatures
    logits: Project


@dataclasses.dataclass(frozen=True, eq=False)
class InGrammar:
    """What a grammar says of the scored tokens, and the scores of a model that is restricted to it.

    Attributes:
      nll: float64 [N], nats, minus the log probability of the token among those that the grammar allows.
      predicted: int64 [N], the likeliest token among them.
      outside: float64 [N], the probability of all other tokens, which the restriction removes.
      field: int8 [N], the field of the token as known before it, see `Automaton.state_field`.
      head: int64 [H], the scored tokens before which a head was certain to come.
      head_probability: float32 [H, C], the probability of each class (`token // 1000`) there, as the model predicts.
    """

    nll: np.ndarray
    predicted: np.ndarray
    outside: np.ndarray
    field: np.ndarray
    head: np.ndarray
    head_probability: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class InBook:
    """The scores of a model that is restricted to the book, see `lob_jax.models.masking`.

    Attributes:
      nll: float64 [N], nats, minus the log probability of the token.
      predicted: int64 [N], the likeliest token.
      outside: float64 [N], the probability within the grammar of the tokens that the book forbids.
    """

    nll: np.ndarray
    predicted: np.ndarray
    outside: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class TokenScores:
    """Scored tokens, ordered by record and by position in the record.

    Attributes:
      record: int64 [N], index of the record.
      position: int64 [N], index of the token in its record.
      nll: float64 [N], nats, minus the log probability of the token as the model predicts.
      predicted: int64 [N], the likeliest token.
      confidence: float64 [N], the probability of the likeliest token.
      grammar: the same within the grammar; None if the scores were computed without one.
      book: the same within the book; None if windows have no token sets.
    """

    record: np.ndarray
    position: np.ndarray
    nll: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    grammar: InGrammar | None = None
    book: InBook | None = None

    def __len__(self) -> int:
        return len(self.record)


class Rules(NamedTuple):
    """Over which tokens distributions are normalised.

    Attributes:
      grammar: the automaton of the tokens.
      masks: the masks of the grammar.
      mask: that of the model, see `ModelConfig.mask`.
    """

    grammar: Automaton
    masks: Masks
    mask: str = "none"


@functools.lru_cache
def model_apply(config: ModelConfig) -> Apply:
    """Return the function from parameters and inputs to logits.

    It is the same object for the same configuration: jit compiles once per function object.
    """
    model = LOBTransformer(config)

    def logits_of(params: Any, tokens_BT: jax.Array, conditioning: Conditioning) -> jax.Array:
        return apply(model, {"params": params}, tokens_BT, conditioning)

    return logits_of


@functools.lru_cache
def model_network(config: ModelConfig) -> Network:
    """Return a model in two steps; the same functions for the same configuration, see `model_apply`."""
    model = LOBTransformer(config)

    def features_of(params: Any, tokens_BT: jax.Array, conditioning: Conditioning) -> Features:
        return apply(model, {"params": params}, tokens_BT, conditioning, method="features")[0]

    def logits_of(params: Any, features: Features) -> jax.Array:
        return next_logits(features, apply(model, {"params": params}, method="projection"))

    return Network(features_of, logits_of)


def score_windows(
    network: Network, params: Any, batches: Iterable[Batch], *, rules: Rules | None = None
) -> TokenScores:
    """Score the tokens of evaluation windows, in one forward pass.

    Args:
      network: the model; compiled once per function object and shape of batch.
      params: the parameters of the model.
      batches: windows with a leading batch axis, see `data.windows.pipeline.batches`.
      rules: what to restrict the predictions to; None for a model without a mask, to score them only as they are. With
        rules, windows need the array "state", and those that have "kind" and "allowed" are also scored in the book.

    Raises:
      InputError: a token was scored twice.
    """
    masks = None if rules is None else jax.tree.map(jnp.asarray, rules.masks)
    parts: list[dict[str, np.ndarray]] = []
    for batch in batches:
        batch = in_rows(batch)
        inputs = {name: batch[name] for name in names_of(Role.STREAM, Role.BESIDE) if name in batch}
        features, targets_BT = _features(inputs, params, features=network.features)
        for at_BK, inside_BK in scored_positions(np.asarray(batch["scored"])[:, 1:]):
            row, column = np.nonzero(inside_BK)
            where = {
                "record": np.asarray(batch["record"])[row].astype(np.int64),
                "position": np.asarray(batch["position"])[row].astype(np.int64) + at_BK[row, column] + 1,
            }
            known = {} if rules is None else {name: _taken(batch[name], at_BK) for name in PLACES if name in batch}
            if rules is not None:
                where["state"] = known["state"][row, column]
            how = {"logits": network.logits, "mask": "none" if rules is None else rules.mask}
            found = _score(features, targets_BT, params, at_BK, known, masks, **how)
            parts.append(where | {name: np.asarray(score)[row, column] for name, score in found.items()})
    return _joined(parts, rules)


def scored_positions(scored_BT: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Yield the scored positions of windows, POSITIONS of each at a time: at_BK int32, and which of them count."""
    K = min(POSITIONS, scored_BT.shape[1])
    order_BT = np.argsort(~scored_BT, axis=1, kind="stable").astype(np.int32)  # the scored ones first
    count_B = scored_BT.sum(1)
    for first in range(0, int(count_B.max(initial=0)), K):
        # Filled up with positions that do not count, since each number of them would be compiled again.
        at_BK = order_BT[:, np.minimum(np.arange(first, first + K), scored_BT.shape[1] - 1)]
        yield at_BK, np.arange(first, first + K) < count_B[:, None]


def _taken(array_BT: np.ndarray, at_BK: np.ndarray) -> np.ndarray:
    """Return what is known at some positions of windows."""
    return np.asarray(array_BT)[np.arange(len(at_BK))[:, None], at_BK]


def _joined(parts: list[dict[str, np.ndarray]], rules: Rules | None) -> TokenScores:
    """Return the scores of all batches in order, without repetition."""
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.lexsort((found["position"], found["record"]))  # windows overlap and may come in any order
    twice = np.flatnonzero((np.diff(found["record"][order]) == 0) & (np.diff(found["position"][order]) == 0))
    if twice.size:
        first = order[twice[0]]
        raise _miscounted(found["record"][first], found["position"][first], was="scored twice or more")
    found = {name: column[order] for name, column in found.items()}
    real, whole = (lambda name: found[name].astype(np.float64)), (lambda name: found[name].astype(np.int64))
    grammar = None
    if rules is not None:
        field = rules.grammar.state_field[found["state"]]
        head = np.flatnonzero(field == FIELD_HEAD)
        grammar = InGrammar(
            nll=real("nll_allowed"),
            predicted=whole("predicted_allowed"),
            outside=real("outside"),
            field=field,
            head=head,
            head_probability=found["classes"][head],
        )
    book = None
    if "nll_book" in found:
        book = InBook(nll=real("nll_book"), predicted=whole("predicted_book"), outside=real("outside_book"))
    return TokenScores(
        record=found["record"],
        position=found["position"],
        nll=real("nll"),
        predicted=whole("predicted"),
        confidence=real("confidence"),
        grammar=grammar,
        book=book,
    )


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


@functools.partial(jax.jit, static_argnames="features")
def _features(batch: Batch, params: Any, *, features: ToFeatures) -> tuple[Features, jax.Array]:
    """Return what logits are computed from, and the targets [B, T]."""
    tokens_BT, conditioning, targets_BT, _ = shift(batch)
    return features(params, tokens_BT, conditioning), targets_BT


@functools.partial(jax.jit, static_argnames=("logits", "mask"))
def _score(
    features: Features,
    targets_BT: jax.Array,
    params: Any,
    at_BK: jax.Array,
    known: Mapping[str, jax.Array],
    masks: Masks | None,
    *,
    logits: Project,
    mask: str,
) -> dict[str, jax.Array]:
    """Return the scores of the tokens after some positions, by name; all [B, K], "classes" [B, K, C]."""
    features = jax.tree.map(lambda leaf: jnp.take_along_axis(leaf, at_BK[..., None], axis=1), features)
    targets_BK1 = jnp.take_along_axis(targets_BT, at_BK, axis=1)[..., None]
    logits_BKV = logits(params, features).astype(jnp.float32)  # 16 bits are too few for a log-sum-exp
    places = None if masks is None else places_of(dict(known), masks)
    in_book = {}
    if places is not None and places.book_BTW is not None:
        log_p_BKV = log_probabilities(logits_BKV, places)
        in_book = {
            "nll_book": -jnp.take_along_axis(log_p_BKV, targets_BK1, axis=-1)[..., 0],
            "predicted_book": _largest(log_p_BKV)[0],
        }
    logits_BKV = _as_predicted(logits_BKV, places, mask)
    target_BK = jnp.take_along_axis(logits_BKV, targets_BK1, axis=-1)[..., 0]
    predicted_BK, top_BK = _largest(logits_BKV)
    # One exponential serves every sum below: it is most of the work after the projection.
    share_BKV = jnp.exp(logits_BKV - top_BK[..., None])
    total_BK = share_BKV.sum(-1)
    scores = {
        "nll": top_BK + jnp.log(total_BK) - target_BK,
        "predicted": predicted_BK,
        "confidence": 1 / total_BK,
    }
    if places is None:
        return scores
    allowed_BKV = unpacked(places.grammar_BTW)
    within_BK = jnp.where(allowed_BKV, share_BKV, 0).sum(-1)
    predicted_allowed_BK, top_allowed_BK = _largest(jnp.where(allowed_BKV, logits_BKV, -jnp.inf))
    # If all that is allowed is so unlikely that its shares underflow, the likeliest one stands for their sum.
    log_within_BK = jnp.maximum(top_BK + jnp.log(within_BK), top_allowed_BK)
    if places.book_BTW is not None:
        by_book_BK = jnp.where(unpacked(places.book_BTW), share_BKV, 0).sum(-1)
        in_book["outside_book"] = jnp.where(within_BK > 0, jnp.maximum(1 - by_book_BK / within_BK, 0), 0)
    return (
        scores
        | in_book
        | {
            "nll_allowed": log_within_BK - target_BK,
            "predicted_allowed": predicted_allowed_BK,
            "outside": jnp.maximum(1 - within_BK / total_BK, 0),  # rounding may leave less than 0
            "classes": _by_class(share_BKV).sum(-1) / total_BK[..., None],
        }
    )


def _as_predicted(logits_BKV: jax.Array, places: Places | None, mask: str) -> jax.Array:
    """Return logits of the distribution that a model predicts."""
    if mask == "none":
        return logits_BKV
    assert places is not None, "a model with a mask is scored with its rules"
    return log_probabilities(logits_BKV, places if mask == "book" else Places(places.grammar_BTW))


def _by_class(x_BKV: jax.Array) -> jax.Array:
    """Return x as [B, K, classes, V / classes]; a vocabulary that is not ours is one class."""
    classes = N_CLASSES if x_BKV.shape[-1] == VOCAB_SIZE else 1
    return x_BKV.reshape(*x_BKV.shape[:-1], classes, -1)


def _largest(x_BKV: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the index of the first largest value, and the value, [B, K] each.

    The index is searched for in the class of the largest value alone: XLA vectorises a maximum on a CPU, but not an
    argmax, which over the vocabulary would take as long as the projection.
    """
    x_BKCI = _by_class(x_BKV)
    top_BKC = x_BKCI.max(-1)
    class_BK = jnp.argmax(top_BKC, axis=-1)
    x_BKI = jnp.take_along_axis(x_BKCI, class_BK[..., None, None], axis=-2)[..., 0, :]
    return class_BK * x_BKI.shape[-1] + jnp.argmax(x_BKI, axis=-1), top_BKC.max(-1)


def _miscounted(record: int, position: int, *, was: str) -> InputError:
    return InputError(
        "the windows do not score each token after the lead exactly once",
        where=f"record {record}, token {position}",
        expected="scored exactly once if it is after the record's lead, otherwise not at all",
        was=was,
        remedy="evaluate on windows that TokenBookDataset(evaluation=True) cut from the same records",
    )
