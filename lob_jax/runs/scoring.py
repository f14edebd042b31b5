"""Evaluate a run's model on a split, and compute the log-likelihood of each event of a day."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.data.records.escapes import training_escapes
from lob_jax.data.records.manifest import load_manifest
from lob_jax.data.records.records import day_record, outline
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.data.windows.pipeline import batches
from lob_jax.errors import InputError
from lob_jax.evaluation.evaluate import evaluate as run_evaluation
from lob_jax.evaluation.evaluate import with_places
from lob_jax.evaluation.likelihood.hidden import evaluate_hidden
from lob_jax.evaluation.likelihood.scores import Rules, check_scored_once, model_network, score_windows
from lob_jax.models.masking import make_masks
from lob_jax.runs.leakage import audit
from lob_jax.runs.load import Run
from lob_jax.runs.training import windows_of
from lob_jax.tokens.vocabulary import event_index


def evaluate(run: Run, *, split: str = "test", on_nats: Callable[[np.ndarray], None] | None = None) -> dict[str, Any]:
    """Evaluate a run on one of its splits, next to baselines fitted on its training split.

    Args:
      run: a trained run.
      split: the split to evaluate.
      on_nats: called with the code length of each event under a causal model, float64 [E], nats.

    Returns:
      Plain values as in JSON, see `lob_jax.evaluation.evaluate.evaluate`; for a model of masked tokens, see
      `lob_jax.evaluation.likelihood.hidden.evaluate_hidden`. In addition "audit", the findings of the quick checks of
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
    return {**result, "audit": [dataclasses.asdict(finding) for finding in audit(run)]}


@dataclasses.dataclass(frozen=True, eq=False)
class EventScores:
    """Log-likelihoods of the events of a day under a model, each given the events before it.

    Attributes:
      log_likelihood: float64 [E], nats: the sum over the tokens of each event.
      tokens: uint16 [T], the scored tokens.
      token_log_likelihood: float64 [T], nats.
      token_event: int64 [T], index of the event that each token belongs to.
    """

    log_likelihood: np.ndarray
    tokens: np.ndarray
    token_log_likelihood: np.ndarray
    token_event: np.ndarray


def score(run: Run, day: MarketDay) -> EventScores:
    """Return the log-likelihood of each event of a day under a run's model.

    Each token is scored once, with at least half a context before it, except for the first tokens of the day. If the
    run's tokenizer rounds times, the rounded times are scored.

    Args:
      run: a trained run.
      day: a day with at least one event; `day.part(...)` selects a part of it.

    Raises:
      InputError: the model has no such likelihood, or the tokenizer cannot encode an event.
    """
    _check_scores(run, day)
    levels = run.config.data.book_levels
    record = day_record(day, 0, len(day.events), run.tokenizer, book_levels=levels, flow=run.beside.blank_flow)
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
    tokens = record["tokens"][:-1]
    event = event_index(tokens).astype(np.int64)
    total = np.bincount(event, weights=-scores.nll, minlength=len(day.events))
    return EventScores(total, tokens, -scores.nll, event)


def rules_of(run: Run) -> Rules | None:
    """Return over which tokens the run's model normalises; None for all."""
    if run.model.mask == "none":
        return None
    masks = make_masks(run.tokenizer.grammar, training_escapes(load_manifest(run.workdir / "records")))
    return Rules(run.tokenizer.grammar, masks, run.model.mask)


def _check_scores(run: Run, day: MarketDay) -> None:
    if not run.model.causal or run.model.attention.cross_asset:
        hidden = "a model of masked tokens" if not run.model.causal else "a model that attends to another instrument"
        raise InputError(
            "this model does not score the events of one day",
            where="score",
            expected="a causal model of one instrument at a time",
            was=hidden,
            remedy="use evaluate(run), which tests every model on the run's own records",
        )
    if not len(day.events):
        raise InputError(
            "there is nothing to score",
            where="score",
            expected="at least one event",
            was="a day without events",
            remedy="pass a day with events",
        )
