"""Evaluate a run's model on a split, and compute the log-likelihood of each event of a day."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.data.records.escapes import record_sets, training_escapes
from lob_jax.data.records.manifest import load_manifest
from lob_jax.data.records.records import day_record, outline
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.data.windows.pipeline import batches
from lob_jax.evaluation.evaluate import evaluate as run_evaluation
from lob_jax.evaluation.evaluate import with_places
from lob_jax.evaluation.likelihood.event_scores import EventScores, check_scores, event_scores
from lob_jax.evaluation.likelihood.hidden import evaluate_hidden
from lob_jax.evaluation.likelihood.scores import Rules, check_scored_once, model_network, score_windows
from lob_jax.evaluation.robustness import robustness
from lob_jax.events.halts import OPEN
from lob_jax.models.masking import make_masks
from lob_jax.runs.leakage import audit
from lob_jax.runs.load import Run
from lob_jax.runs.training import windows_of


def evaluate(run: Run, *, split: str = "test", on_nats: Callable[[np.ndarray], None] | None = None) -> dict[str, Any]:
    """Evaluate a run on one of its splits, next to baselines fitted on its training split.

    Args:
      run: a trained run.
      split: the split to evaluate.
      on_nats: called with the code length of each event under a causal model, float64 [E], nats.

    Returns:
      Plain values as in JSON, see `lob_jax.evaluation.evaluate.evaluate`; for a model of masked tokens, see
      `lob_jax.evaluation.likelihood.hidden.evaluate_hidden`. With `config.evaluate.manipulated`, "robustness", see
      `lob_jax.evaluation.robustness.robustness`. In addition "audit", the findings of the quick checks of
      `lob_jax.runs.leakage.audit`.

    Raises:
      InputError: there is no such split, or it has nothing to score.
    """
    section, folder = run.config.evaluate, run.workdir / "records"
    if not run.model.causal:
        windows = windows_of(run.config, run.workdir, split, run.beside)
        result = evaluate_hidden(
            run.model,
            run.params,
            batches(windows, batch_size=section.batch_size, seed=0, epochs=1, shuffle=False),
            share=run.config.train.mask_share,
            events=run.config.train.mask_events,
            token_counts=np.array(load_manifest(folder)["token_counts"]["train"], np.int64),
        )
    else:
        result = run_evaluation(
            run.model,
            run.params,
            folder,
            split=split,
            batch_size=section.batch_size,
            direction_events=section.direction_events,
            ngram_orders=section.ngram_orders,
            beside=run.beside,
            on_nats=on_nats,
        )
    if section.manipulated:
        result["robustness"] = robustness(
            run.model,
            run.params,
            folder,
            patterns=section.manipulated,
            records=section.manipulated_records,
            split=split,
            batch_size=section.batch_size,
            direction_events=section.direction_events,
            beside=run.beside,
        )
    return {**result, "audit": [dataclasses.asdict(finding) for finding in audit(run)]}


def score(run: Run, day: MarketDay, *, closed: int = OPEN) -> EventScores:
    """Return the log-likelihood of each event of a day under a run's model.

    Each token is scored once, with at least half a context before it, except for the first tokens of the day. If the
    run's tokenizer rounds times, the rounded times are scored.

    Args:
      run: a trained run.
      day: a day with at least one event; `day.part(...)` selects a part of it.
      closed: what is closed before the day's first event, see `lob_jax.events.halts`.

    Raises:
      InputError: the model has no such likelihood, or the tokenizer cannot encode an event.
    """
    check_scores(run.model, day)
    how: dict[str, Any] = {"book_levels": run.config.data.book_levels, "closed": closed, "flow": run.beside.blank_flow}
    record = day_record(day, 0, len(day.events), run.tokenizer, **how)
    dataset = TokenBookDataset(
        [record],
        context=run.model.max_seq_length,
        time_buckets=run.model.time_buckets,
        evaluation=True,
        beside=with_places(run.beside, run.tokenizer) if run.model.mask != "none" else run.beside,
    )
    windows = batches(dataset, batch_size=run.config.evaluate.batch_size, seed=0, epochs=1, shuffle=False)
    scores = score_windows(model_network(run.model), run.params, windows, rules=rules_of(run))
    check_scored_once(scores, [outline(record)])
    outside = record_sets(record, run.tokenizer).outside
    return event_scores(record["tokens"][:-1], -scores.nll, outside, events=len(day.events))


def rules_of(run: Run) -> Rules | None:
    """Return over which tokens the run's model normalises; None for all."""
    if run.model.mask == "none":
        return None
    masks = make_masks(run.tokenizer.grammar, training_escapes(load_manifest(run.workdir / "records")))
    return Rules(run.tokenizer.grammar, masks, run.model.mask)
