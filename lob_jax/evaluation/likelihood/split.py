"""The likelihood of a split under a model and baselines, with confidence intervals of all figures."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from lob_jax.counts.in_book import limits_of
from lob_jax.data.records.builder import PreparedRecords
from lob_jax.evaluation.baseline import Baseline
from lob_jax.evaluation.likelihood.bootstrap import LEVEL, RESAMPLES, Blocks
from lob_jax.evaluation.likelihood.calibration import calibration
from lob_jax.evaluation.likelihood.events import (
    EventCounts,
    count_events,
    differences,
    draw_blocks,
    figures,
    intervals,
    resampled_figures,
)
from lob_jax.evaluation.likelihood.scores import InBook, InGrammar, TokenScores
from lob_jax.evaluation.metric import METRICS, Scored
from lob_jax.evaluation.metrics.bits import PARTS
from lob_jax.tokens.sets.token_sets import TokenSets
from lob_jax.tokens.tokenizer import Tokenizer
from lob_jax.tokens.vocabulary import field_of

SEED = 0  # of the resamples
Targets = list[tuple[np.ndarray, np.ndarray]]  # the scored tokens of each record, and their fields
SetsOf = Callable[[int], TokenSets]  # of the tokens of a record, by its index


def likelihood(
    source: PreparedRecords,
    scores: TokenScores,
    baselines: Mapping[str, Baseline],
    *,
    sets: SetsOf,
    tokenizer: Tokenizer,
    escape_FK: np.ndarray,
    on_nats: Callable[[np.ndarray], None] | None = None,
) -> dict[str, Any]:
    """Return the likelihood of a split under a model and baselines.

    Args:
      source: the records of the split.
      scores: the model's scores of all of their tokens, with a grammar and with a book.
      baselines: the fitted baselines, by name.
      sets: returns the token sets of a record, by its index: those of the windows that the model was scored on, which
        need not be found again.
      tokenizer: the tokenizer of the records.
      escape_FK: the escape shares of the training split, see `share_table`.
      on_nats: called with the code length of each event under the model as it predicts, float64 [E], nats.

    Returns:
      Plain values as in JSON:
      likelihood: figures by "model" (as the network predicts), "model_grammar" (restricted to what the grammar allows,
        and renormalised) and the names of the baselines: those of `LOBMetrics.compute`, and under "intervals" the
        confidence interval of each; "model" also has "outside_grammar", the mean probability that the restriction
        removes from a token's prediction;
      in_book: the figures of "model" and the baselines when all of them are restricted to
        the same sets of tokens, see `lob_jax.models.masking`; "model" also has "outside_book", the mean probability
        within the grammar that the restriction takes from a token's prediction, and "escapes", the share of tokens that
        are outside their sets;
      differences: [value, low, high] of each figure, for each of the model's two sets minus each baseline, and under
        "in_book" for both in the book;
      calibration: see `calibration.calibration`, of "model";
      bootstrap: how the intervals were computed.
    """
    assert scores.grammar is not None and scores.book is not None, "a split is scored with its grammar and its books"
    time_digits = tokenizer.vocabulary.time_digits
    targets = targets_of(source, scores)
    counts = {
        "model": counts_of(scores, targets, time_digits=time_digits),
        "model_grammar": counts_of(scores.grammar, targets, time_digits=time_digits),
        **{name: _baseline_counts(source, one, time_digits=time_digits) for name, one in baselines.items()},
    }
    how = {"sets": sets, "tokenizer": tokenizer, "escape_FK": escape_FK}
    restricted, escapes = _in_book(source, scores.book, baselines, targets, **how)
    if on_nats:
        on_nats(counts["model"].nats())
    blocks = draw_blocks([*counts.values(), *restricted.values()], resamples=RESAMPLES, seed=SEED)
    bars, bars_in_book = (_bars(one, blocks) for one in (counts, restricted))
    told = {name: _told(bar, tokenizer) for name, bar in bars.items()}
    told["model"]["outside_grammar"] = float(scores.grammar.outside.mean())
    compared = {name: _against(bars[name], bars, baselines, tokenizer) for name in ("model", "model_grammar")}
    compared["in_book"] = _against(bars_in_book["model"], bars_in_book, baselines, tokenizer)
    in_book = {name: _told(bar, tokenizer) for name, bar in bars_in_book.items()}
    in_book["model"] |= {"outside_book": float(scores.book.outside.mean()), "escapes": escapes}
    return {
        "likelihood": told,
        "in_book": in_book,
        "differences": compared,
        "calibration": {"model": calibration(scores, np.concatenate([tokens for tokens, _ in targets]))},
        "bootstrap": {
            "method": "circular blocks of events",
            "block_events": blocks.length,
            "resamples": RESAMPLES,
            "level": LEVEL,
        },
    }


class _Bar(NamedTuple):
    """The figures of a model, and their values in each resample."""

    found: dict[str, Any]
    resampled: dict[str, np.ndarray]


def _bars(counts: Mapping[str, EventCounts], blocks: Blocks) -> dict[str, _Bar]:
    return {name: _Bar(figures(one), resampled_figures(one, blocks)) for name, one in counts.items()}


def _told(bar: _Bar, tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the figures of a bar that are meaningful for a tokenizer, with their intervals."""
    return _meaning(bar.found, tokenizer) | {"intervals": _meaning(intervals(bar.resampled), tokenizer)}


def _against(bar: _Bar, bars: Mapping[str, _Bar], baselines: Iterable[str], tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the differences of a bar from those of the baselines."""
    return {
        name: _meaning(differences(bar.found, bars[name].found, bar.resampled, bars[name].resampled), tokenizer)
        for name in baselines
    }


def _in_book(
    source: PreparedRecords,
    scores: InBook,
    baselines: Mapping[str, Baseline],
    targets: Targets,
    *,
    sets: SetsOf,
    tokenizer: Tokenizer,
    escape_FK: np.ndarray,
) -> tuple[dict[str, EventCounts], float]:
    """Return the counts of the model and the baselines in the book, and the share of tokens outside their sets."""
    time_digits, escaped, tokens = tokenizer.vocabulary.time_digits, 0, 0
    parts: dict[str, list[Scored]] = {name: [] for name in baselines}
    for index, about in enumerate(source.outlines):
        record, own = source[index], slice(about.lead_tokens, None)
        target, found = record["tokens"][:-1].astype(np.int64), sets(index)
        limits, field = limits_of(target, found, tokenizer.grammar, escape_FK), field_of(target).astype(np.int64)
        escaped, tokens = escaped + int((found.outside[own] > 0).sum()), tokens + len(target[own])
        for name, baseline in baselines.items():
            log_p, predicted = baseline.within(record, limits)
            parts[name].append(Scored(predicted[own], target[own], -log_p[own], field[own], time_digits))
    of_model = counts_of(scores, targets, time_digits=time_digits)
    return {"model": of_model, **{name: count_events(part) for name, part in parts.items()}}, escaped / max(tokens, 1)


def _meaning(metrics: dict[str, Any], tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the metrics that are meaningful for a tokenizer."""
    needs = {name: ability for _, metric in METRICS.items() for name, ability in metric.needs.items()}
    without = () if tokenizer.vocabulary.has_ranks else ("rank",)
    without = tuple(PARTS) if needs["bits_by_part"] in tokenizer.lacks else without

    def kept(figures: dict[str, Any]) -> dict[str, Any]:
        return {
            name: kept(value) if isinstance(value, dict) else value
            for name, value in figures.items()
            if needs.get(name) not in tokenizer.lacks and name not in without
        }

    return kept(metrics)


def targets_of(source: PreparedRecords, scores: TokenScores) -> Targets:
    """Return the scored tokens of each record and their fields, int64 [N] each."""
    edges, found = np.searchsorted(scores.record, np.arange(len(source) + 1)), []
    for index, (first, last) in enumerate(itertools.pairwise(edges)):
        tokens, at = source[index]["tokens"][:-1], scores.position[first:last]
        found.append((tokens[at].astype(np.int64), field_of(tokens)[at].astype(np.int64)))
    return found


def counts_of(scores: TokenScores | InGrammar | InBook, targets: Targets, *, time_digits: int | None) -> EventCounts:
    """Return the counts of a model's scores, as it predicts, within the grammar or in the book."""
    edges = np.cumsum([0, *(len(tokens) for tokens, _ in targets)])
    rows = [slice(*edge) for edge in itertools.pairwise(edges)]
    return count_events(
        [
            Scored(scores.predicted[at], tokens, scores.nll[at], field, time_digits)
            for at, (tokens, field) in zip(rows, targets, strict=True)
        ]
    )


def _baseline_counts(source: PreparedRecords, baseline: Baseline, *, time_digits: int | None) -> EventCounts:
    parts = []
    for index, about in enumerate(source.outlines):
        record, own = source[index], slice(about.lead_tokens, None)
        target, field = record["tokens"][:-1].astype(np.int64), field_of(record["tokens"][:-1]).astype(np.int64)
        predicted, nll = baseline.predict(record), -baseline.log_prob(record)
        parts.append(Scored(predicted[own], target[own], nll[own], field[own], time_digits))
    return count_events(parts)
