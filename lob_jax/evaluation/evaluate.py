"""Evaluate a model and baselines on prepared records, and show the results as a table."""

import itertools
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.table import Table

from lob_jax.data.records.builder import VOCABULARY, PreparedRecords, open_records
from lob_jax.data.records.records import RecordSource
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.data.windows.known import NOTHING, Beside
from lob_jax.data.windows.pairs import PairedDataset
from lob_jax.data.windows.pipeline import batches
from lob_jax.evaluation.baselines.ngram import NgramModel, fit_ngram, fit_zero_order
from lob_jax.evaluation.direction.blocks import blocks_of
from lob_jax.evaluation.direction.moves import predict_moves, record_moves
from lob_jax.evaluation.direction.scores import direction_scores
from lob_jax.evaluation.direction.state_table import fit_state_table, labels_of, table_probability
from lob_jax.evaluation.likelihood.metrics import LOBMetrics
from lob_jax.evaluation.likelihood.scores import TokenScores, check_scored_once, model_apply, score_windows
from lob_jax.evaluation.metric import METRICS, rows
from lob_jax.models.attention.kind import is_mask
from lob_jax.models.config import ModelConfig
from lob_jax.tokens.load import tokenizer_for
from lob_jax.tokens.tokenizer import Ability, Tokenizer
from lob_jax.tokens.vocabulary import Vocabulary, field_of

TITLES = {"model": "model", "zero_order": "zero-order", "ngram": "n-gram", "state_table": "state table"}
DIRECTION_ROWS = (
    ("balanced accuracy", "balanced_accuracy", ".2%"),
    ("accuracy", "accuracy", ".2%"),
    ("macro F1", "macro_f1", ".4f"),
    ("weighted F1", "weighted_f1", ".4f"),
    ("MCC", "mcc", ".4f"),
    ("Cohen's kappa", "kappa", ".4f"),
    ("log loss, nats", "log_loss", ".4f"),
    ("Brier score", "brier", ".4f"),
    ("ECE", "ece", ".4f"),
)
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

    Returns:
      Plain values as in JSON: split, context, likelihood (metrics by "model", "zero_order", "ngram", see
      `LOBMetrics.compute`), ngram (what was chosen on validation data), and direction (scores by "model" and
      "state_table") or direction_left_out, the reason why this model does not predict it.

    Raises:
      InputError: there are no such records, or they were made for a shorter context.
    """
    folder = pathlib.Path(folder)
    tokenizer = tokenizer_for(Vocabulary.load(folder / VOCABULARY))
    source = open_records(folder, split)
    scores = score_split(config, params, source, batch_size=batch_size, beside=beside)
    train, validation = (token_streams(open_records(folder, name)) for name in ("train", "validation"))
    zero = fit_zero_order(train=train, validation=validation, grammar=tokenizer.grammar)
    ngram = fit_ngram(train=train, validation=validation, grammar=tokenizer.grammar, orders=ngram_orders)
    result: dict[str, Any] = {
        "split": split,
        "context": config.max_seq_length,
        "likelihood": {
            "model": _metrics(source, scores, time_digits=tokenizer.vocabulary.time_digits),
            "zero_order": _baseline_metrics(source, zero, time_digits=tokenizer.vocabulary.time_digits),
            "ngram": _baseline_metrics(source, ngram, time_digits=tokenizer.vocabulary.time_digits),
        },
        "ngram": ngram.summary(),
    }
    result["likelihood"] = {name: _meaning(found, tokenizer) for name, found in result["likelihood"].items()}
    reason = tokenizer.lacks.get(Ability.DIRECTION) or why_no_branches(config)
    if direction_events and reason is not None:
        result["direction_left_out"] = reason
    elif direction_events:
        result["direction"] = evaluate_direction(
            config, params, folder, split=split, tokenizer=tokenizer, events=direction_events, beside=beside
        )
    return result


def _meaning(metrics: dict[str, Any], tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the metrics that are meaningful for a tokenizer."""
    needs = {name: ability for _, metric in METRICS.items() for name, ability in metric.needs.items()}
    return {name: value for name, value in metrics.items() if needs.get(name) not in tokenizer.lacks}


def why_no_branches(config: ModelConfig) -> str | None:
    """Return why a model cannot be evaluated on side branches, which price direction needs; None if it can."""
    if config.attention.cross_asset:
        return "attention across assets reads complete windows only"
    if not is_mask(config.attention.kind):
        return f"{config.attention.kind} attention has no mask"
    return None


def score_split(
    config: ModelConfig, params: Any, source: PreparedRecords, *, batch_size: int, beside: Beside = NOTHING
) -> TokenScores:
    """Score every token of a split once, except the leads, with at least half a context before each."""
    dataset = open_windows(config, source, evaluation=True, beside=beside)
    windows = batches(dataset, batch_size=batch_size, seed=0, epochs=1, shuffle=False)
    scores = score_windows(model_apply(config), params, windows)
    check_scored_once(scores, source.outlines)
    return scores


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


def token_streams(source: PreparedRecords) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each record its tokens without EOS, and a mask of those after its lead."""
    tokens = [source[index]["tokens"][:-1] for index in range(len(source))]
    leads = [about.lead_tokens for about in source.outlines]
    return [(one, np.arange(len(one)) >= lead) for one, lead in zip(tokens, leads, strict=True)]


def evaluate_direction(
    config: ModelConfig,
    params: Any,
    folder: pathlib.Path,
    *,
    split: str,
    tokenizer: Tokenizer,
    events: int,
    beside: Beside = NOTHING,
) -> dict[str, Any]:
    """Score price direction on the first events of a split, for the model and for the state-table baseline."""
    source, train = open_records(folder, split), open_records(folder, "train")
    moves = [record_moves(source[index], tokenizer) for index in range(len(source))]
    table = fit_state_table([record_moves(train[index], tokenizer) for index in range(len(train))])
    probability, record, event = predict_moves(
        config, params, source=source, moves=moves, grammar=tokenizer.grammar, events=events, beside=beside
    )
    label = labels_of(moves, record, event)
    by_table = table_probability(table, moves, record, event)
    block = blocks_of(record, event, length=DIRECTION_BLOCK)
    return {
        "model": direction_scores(probability, label, prior=table.prior, block=block),
        "state_table": direction_scores(by_table, label, prior=table.prior, block=block),
    }


def _metrics(source: PreparedRecords, scores: TokenScores, *, time_digits: int | None) -> dict[str, Any]:
    metrics = LOBMetrics(time_digits=time_digits)
    edges = np.searchsorted(scores.record, np.arange(len(source) + 1))
    for index, (first, last) in enumerate(itertools.pairwise(edges)):
        tokens, at = source[index]["tokens"][:-1], scores.position[first:last]
        field = field_of(tokens)[at]
        metrics.update(scores.predicted[first:last], tokens[at], nll=scores.nll[first:last], field=field)
    return metrics.compute()


def _baseline_metrics(source: PreparedRecords, model: NgramModel, *, time_digits: int | None) -> dict[str, Any]:
    metrics = LOBMetrics(time_digits=time_digits)
    for tokens, scored in token_streams(source):
        nll = -model.log_prob(tokens)
        metrics.update(model.predict(tokens), tokens, nll=nll, field=field_of(tokens), scored=scored)
    return metrics.compute()


def table(result: dict[str, Any]) -> Table:
    """Return a rich table of an evaluation: one column per model, with direction below the likelihood."""
    likelihood = result["likelihood"]
    first = next(iter(likelihood.values()))
    shown = Table(title=f"{result['split']}: {first['events']:,} events, {first['tokens']:,} tokens")
    shown.add_column("")
    for name in likelihood:
        shown.add_column(TITLES[name], justify="right")
    for row in rows():
        values = [_figure(metrics, row.key) for metrics in likelihood.values()]
        if None not in values:
            shown.add_row(row.label, *(format(value, row.form) for value in values))
    if "direction" in result:
        _add_direction(shown, result["direction"], columns=list(likelihood))
    if "direction_left_out" in result:
        shown.caption = f"no price direction: {result['direction_left_out']}"
    return shown


def _figure(metrics: dict[str, Any], key: str) -> float | None:
    """Return a figure by its key, also from nested dicts; None if it is missing."""
    nested = (figures for figures in metrics.values() if isinstance(figures, dict))
    return next((figures[key] for figures in (metrics, *nested) if key in figures), None)


def _add_direction(shown: Table, direction: dict[str, Any], *, columns: list[str]) -> None:
    model, by_table = direction["model"], direction["state_table"]
    shown.add_section()
    blank = [""] * (len(columns) - 2)
    shown.add_row(f"direction, {model['events']:,} events", TITLES["model"], TITLES["state_table"], *blank)
    for label, key, form in DIRECTION_ROWS:
        shown.add_row(f"  {label}", *(_told(one[key], form) for one in (model, by_table)), *blank)
    corrected = (_told(one["corrected"]["balanced_accuracy"], ".2%") for one in (model, by_table))
    shown.add_row("  balanced, prior-corrected", *corrected, *blank)
    shown.add_row(
        "  floors: balanced, majority",
        *(
            f"{_told(one['balanced_floor'], '.2%')}, {_told(one['majority_accuracy'], '.2%')}"
            for one in (model, by_table)
        ),
        *blank,
    )


def _told(value: float | None, form: str) -> str:
    """Return a score as text; n/a for one that the events leave undefined."""
    return "n/a" if value is None else format(value, form)
