"""The likelihood of a split under a model and baselines, with confidence intervals of all figures."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lob_jax.data.records.builder import PreparedRecords
from lob_jax.evaluation.baseline import Baseline
from lob_jax.evaluation.likelihood.bootstrap import LEVEL, RESAMPLES
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
from lob_jax.evaluation.likelihood.scores import InGrammar, TokenScores
from lob_jax.evaluation.metric import METRICS, Scored
from lob_jax.evaluation.metrics.bits import PARTS
from lob_jax.tokens.tokenizer import Tokenizer
from lob_jax.tokens.vocabulary import field_of

SEED = 0  # of the resamples
Targets = list[tuple[np.ndarray, np.ndarray]]  # the scored tokens of each record, and their fields


def likelihood(
    source: PreparedRecords,
    scores: TokenScores,
    baselines: Mapping[str, Baseline],
    *,
    tokenizer: Tokenizer,
    on_nats: Callable[[np.ndarray], None] | None = None,
) -> dict[str, Any]:
    """Return the likelihood of a split under a model and baselines.

    Args:
      source: the records of the split.
      scores: the model's scores of all of their tokens, with a grammar.
      baselines: the fitted baselines, by name.
      tokenizer: the tokenizer of the records.
      on_nats: called with the code length of each event under the model as it predicts, float64 [E], nats.

    Returns:
      Plain values as in JSON:
      likelihood: figures by "model" (as the network predicts), "model_grammar" (restricted to what the grammar allows,
        and renormalised) and the names of the baselines: those of `LOBMetrics.compute`, and under "intervals" the
        confidence interval of each; "model" also has "outside_grammar", the mean probability that the restriction
        removes from a token's prediction;
      differences: [value, low, high] of each figure, for each of the model's two sets minus each baseline;
      calibration: see `calibration.calibration`, of "model";
      bootstrap: how the intervals were computed.
    """
    assert scores.grammar is not None, "a split is scored with its grammar"
    time_digits = tokenizer.vocabulary.time_digits
    targets = targets_of(source, scores)
    counts = {
        "model": _counts(scores, targets, time_digits=time_digits),
        "model_grammar": _counts(scores.grammar, targets, time_digits=time_digits),
        **{name: _baseline_counts(source, one, time_digits=time_digits) for name, one in baselines.items()},
    }
    if on_nats:
        on_nats(counts["model"].nats())
    blocks = draw_blocks(list(counts.values()), resamples=RESAMPLES, seed=SEED)
    resampled = {name: resampled_figures(one, blocks) for name, one in counts.items()}
    found = {name: figures(one) for name, one in counts.items()}
    return {
        "likelihood": {
            name: _meaning(one, tokenizer)
            | ({"outside_grammar": float(scores.grammar.outside.mean())} if name == "model" else {})
            | {"intervals": _meaning(intervals(resampled[name]), tokenizer)}
            for name, one in found.items()
        },
        "differences": {
            bar: {
                name: _meaning(differences(found[bar], found[name], resampled[bar], resampled[name]), tokenizer)
                for name in baselines
            }
            for bar in ("model", "model_grammar")
        },
        "calibration": {"model": calibration(scores, np.concatenate([tokens for tokens, _ in targets]))},
        "bootstrap": {
            "method": "circular blocks of events",
            "block_events": blocks.length,
            "resamples": RESAMPLES,
            "level": LEVEL,
        },
    }


def _meaning(metrics: dict[str, Any], tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the metrics that are meaningful for a tokenizer."""
    needs = {name: ability for _, metric in METRICS.items() for name, ability in metric.needs.items()}
    parts = PARTS if needs["bits_by_part"] in tokenizer.lacks else ()
    return {
        name: value for name, value in metrics.items() if needs.get(name) not in tokenizer.lacks and name not in parts
    }


def targets_of(source: PreparedRecords, scores: TokenScores) -> Targets:
    """Return the scored tokens of each record and their fields, int64 [N] each."""
    edges, found = np.searchsorted(scores.record, np.arange(len(source) + 1)), []
    for index, (first, last) in enumerate(itertools.pairwise(edges)):
        tokens, at = source[index]["tokens"][:-1], scores.position[first:last]
        found.append((tokens[at].astype(np.int64), field_of(tokens)[at].astype(np.int64)))
    return found


def _counts(scores: TokenScores | InGrammar, targets: Targets, *, time_digits: int | None) -> EventCounts:
    """Return the counts of a model's scores, as it predicts or within the grammar."""
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
