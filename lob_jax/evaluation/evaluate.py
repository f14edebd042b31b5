"""Evaluate a model and baselines on prepared records."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from lob_jax.data.records.builder import VOCABULARY, PreparedRecords, open_records
from lob_jax.data.records.escapes import training_escapes
from lob_jax.data.records.manifest import load_manifest
from lob_jax.data.records.records import RecordSource
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.data.windows.known import NOTHING, Beside
from lob_jax.data.windows.pairs import PairedDataset
from lob_jax.data.windows.pipeline import batches
from lob_jax.evaluation.baseline import Fitting, fit_baselines
from lob_jax.evaluation.direction.blocks import blocks_of
from lob_jax.evaluation.direction.moves import predict_moves, record_moves
from lob_jax.evaluation.direction.scores import direction_scores
from lob_jax.evaluation.direction.state_table import StateTable, fit_state_table, labels_of, table_probability
from lob_jax.evaluation.heads import evaluate_ahead, evaluate_outlook
from lob_jax.evaluation.leakage import digest_of_baseline, digest_of_table
from lob_jax.evaluation.likelihood.compressors import compressed_bits
from lob_jax.evaluation.likelihood.scores import Rules, TokenScores, check_scored_once, model_network, score_windows
from lob_jax.evaluation.likelihood.split import likelihood
from lob_jax.models.attention.kind import is_mask
from lob_jax.models.config import ModelConfig
from lob_jax.models.inputs import Role, names_of
from lob_jax.models.masking import Masks, make_masks
from lob_jax.tokens.registry import tokenizer_for
from lob_jax.tokens.tokenizer import Ability, Tokenizer
from lob_jax.tokens.vocabulary import Vocabulary
from lob_jax.training.step.shift import Batch

DIRECTION_BLOCK = 50  # events per block of the bootstrap, whose predictions depend on each other


def evaluate(
    config: ModelConfig,
    params: Any,
    folder: pathlib.Path,
    *,
    split: str = "test",
    batch_size: int,
    direction_events: int,
    ngram_orders: Sequence[int],
    beside: Beside = NOTHING,
    on_nats: Callable[[np.ndarray], None] | None = None,
) -> dict[str, Any]:
    """Evaluate a model and the baselines on the same tokens of one split.

    Args:
      config, params: the model.
      folder: prepared records; the baselines are fitted on the training split and chosen on the validation split.
      split: the split to evaluate.
      batch_size: windows per forward pass.
      direction_events: number of events, the first of the split, whose price direction is predicted; 0 for none.
      ngram_orders: candidate context lengths of the n-gram model.
      beside: what the model reads in addition to tokens, clock buckets and book.
      on_nats: see `likelihood`.

    Returns:
      Plain values as in JSON: split, context, what `likelihood` returns, what each baseline chose on validation data,
      by its name, compressors (bits per event, see `compressed_bits`) if records give their events back, heads if the
      model has further heads that predict (see `evaluate_heads`), direction (scores by "model" and "state_table") or
      direction_left_out, the reason why this model does not predict it; and fitted, digests of the baselines and the
      state table, see `lob_jax.evaluation.leakage`.

    Raises:
      InputError: there are no such records, or they were made for a shorter context.
    """
    folder = pathlib.Path(folder)
    tokenizer = tokenizer_for(Vocabulary.load(folder / VOCABULARY))
    source = open_records(folder, split)
    escape_FK = training_escapes(load_manifest(folder))
    how = {"tokenizer": tokenizer, "escape_FK": escape_FK}
    windows = open_windows(config, source, evaluation=True, beside=with_places(beside, tokenizer))
    scores = score_split(config, params, source, windows, batch_size=batch_size, **how)
    train, validation = (open_records(folder, name) for name in ("train", "validation"))
    given = Fitting(train, validation, tokenizer=tokenizer, ngram_orders=ngram_orders)
    baselines = fit_baselines(given)
    result: dict[str, Any] = {
        "split": split,
        "context": config.max_seq_length,
        **likelihood(source, scores, baselines, sets=windows.sets, on_nats=on_nats, **how),
        **{name: baseline.summary() for name, baseline in baselines.items()},
        "fitted": {name: digest_of_baseline(baseline, validation) for name, baseline in baselines.items()},
    }
    if Ability.EVENTS not in tokenizer.lacks:
        result["compressors"] = compressed_bits(train, source, tokenizer)
    heads = evaluate_heads(config, params, folder, split=split, batch_size=batch_size, beside=beside)
    if heads:
        result["heads"] = heads
    reason = tokenizer.lacks.get(Ability.DIRECTION) or why_no_branches(config)
    if direction_events and reason is not None:
        result["direction_left_out"] = reason
    elif direction_events:
        table = fit_state_table([record_moves(train[index], tokenizer) for index in range(len(train))])
        result["fitted"]["state_table"] = digest_of_table(table)
        result["direction"] = evaluate_direction(
            config,
            params,
            folder,
            split=split,
            tokenizer=tokenizer,
            table=table,
            events=direction_events,
            beside=beside,
            masks=make_masks(tokenizer.grammar, escape_FK),
        )
    return result


def why_no_branches(config: ModelConfig) -> str | None:
    """Return why a model cannot be evaluated on side branches, which price direction needs; None if it can."""
    if config.attention.cross_asset:
        return "attention across assets reads complete windows only"
    if not is_mask(config.attention.kind):
        return f"{config.attention.kind} attention has no mask"
    return None


def score_split(
    config: ModelConfig,
    params: Any,
    source: PreparedRecords,
    windows: TokenBookDataset | PairedDataset,
    *,
    batch_size: int,
    tokenizer: Tokenizer,
    escape_FK: np.ndarray,
) -> TokenScores:
    """Score every token of a split once, except the leads, with at least half a context before each.

    Args:
      config, params: the model.
      source: the records of the split.
      windows: its evaluation windows, with arrays of places, see `with_places`.
      batch_size: windows per forward pass.
      tokenizer: the tokenizer of the records.
      escape_FK: the escape shares of the training split, see `share_table`.
    """
    read = batches(windows, batch_size=batch_size, seed=0, epochs=1, shuffle=False)
    rules = Rules(tokenizer.grammar, make_masks(tokenizer.grammar, escape_FK), config.mask)
    scores = score_windows(model_network(config), params, read, rules=rules)
    check_scored_once(scores, source.outlines)
    return scores


def with_places(beside: Beside, tokenizer: Tokenizer) -> Beside:
    """Return arrays of windows with those of their places, of the grammar and of the book."""
    names = (*beside.names, *names_of(Role.PLACE))
    return dataclasses.replace(beside, names=tuple(dict.fromkeys(names)), tokenizer=tokenizer)


def without_places(beside: Beside) -> Beside:
    """Return arrays of windows without those of their places, for what only reads the network's inputs."""
    return dataclasses.replace(beside, names=tuple(name for name in beside.names if name not in names_of(Role.PLACE)))


def open_windows(
    config: ModelConfig, source: RecordSource, *, evaluation: bool, beside: Beside
) -> TokenBookDataset | PairedDataset:
    """Return the windows of a split for a model: of one instrument, or paired for cross-asset attention."""
    kind = PairedDataset if config.attention.cross_asset else TokenBookDataset
    return kind(
        source,
        context=config.max_seq_length,
        time_buckets=config.time_buckets,
        evaluation=evaluation,
        beside=beside,
    )


def evaluate_heads(
    config: ModelConfig,
    params: Any,
    folder: pathlib.Path,
    *,
    split: str,
    batch_size: int,
    beside: Beside = NOTHING,
) -> dict[str, Any]:
    """Score the further heads of a model: "outlook" (see `evaluate_outlook`) and "ahead" (see `evaluate_ahead`)."""
    source, found = open_records(folder, split), {}

    def windows() -> Iterable[Batch]:
        dataset = open_windows(config, source, evaluation=True, beside=without_places(beside))
        return batches(dataset, batch_size=batch_size, seed=0, epochs=1, shuffle=False)

    if beside.outlooks is not None:
        train = open_records(folder, "train")
        found["outlook"] = evaluate_outlook(
            config, params, windows(), source=source, train=train, outlooks=beside.outlooks
        )
    if config.heads.next_tokens > 1:
        token_counts = np.array(load_manifest(folder)["token_counts"]["train"], np.int64)
        found["ahead"] = evaluate_ahead(config, params, windows(), token_counts=token_counts)
    return found


def evaluate_direction(
    config: ModelConfig,
    params: Any,
    folder: pathlib.Path,
    *,
    split: str,
    tokenizer: Tokenizer,
    table: StateTable,
    events: int,
    beside: Beside = NOTHING,
    masks: Masks | None = None,
) -> dict[str, Any]:
    """Score price direction on the first events of a split, for the model and for the state-table baseline."""
    source = open_records(folder, split)
    moves = [record_moves(source[index], tokenizer) for index in range(len(source))]
    beside = beside if config.mask == "none" else with_places(beside, tokenizer)
    probability, record, event = predict_moves(
        config, params, source=source, moves=moves, tokenizer=tokenizer, events=events, beside=beside, masks=masks
    )
    label = labels_of(moves, record, event)
    by_table = table_probability(table, moves, record, event)
    block = blocks_of(record, event, length=DIRECTION_BLOCK)
    return {
        "model": direction_scores(probability, label, prior=table.prior, block=block),
        "state_table": direction_scores(by_table, label, prior=table.prior, block=block),
    }
