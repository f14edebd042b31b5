"""Score the events of a day where JAX does not exist, as `lob_jax.runs.scoring.score` does with a run."""

from collections.abc import Callable

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.data.labels.regimes import Regimes
from lob_jax.data.records.escapes import record_sets
from lob_jax.data.records.records import day_record
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.data.windows.known import MAKERS, Beside
from lob_jax.evaluation.likelihood.allowed import Allowed, write_log_likelihoods
from lob_jax.evaluation.likelihood.event_scores import EventScores, check_scores, event_scores
from lob_jax.events.halts import OPEN
from lob_jax.export.contents import Contents
from lob_jax.models.inputs import Role, fields_held, fields_read
from lob_jax.tokens.registry import tokenizer_for
from lob_jax.tokens.sets.shares import share_table
from lob_jax.tokens.sets.token_sets import TokenSets
from lob_jax.tokens.states import kinds_along, states_along
from lob_jax.tokens.tokenizer import Tokenizer

Forward = Callable[[dict[str, np.ndarray]], np.ndarray]  # inputs [B, T, ...] by name -> logits, float32 [B, T, V]


def score(contents: Contents, day: MarketDay, forward: Forward, *, closed: int = OPEN) -> EventScores:
    """Return the log-likelihood of each event of a day under a model, up to rounding that of its run.

    Each token is scored once, with at least half a context before it, except for the first tokens of the day. If the
    tokenizer rounds times, the rounded times are scored.

    Args:
      contents: the model, and what generation needs, such as `bundle.contents`.
      day: a day with at least one event; `day.part(...)` selects a part of it.
      forward: the network, see `lob_jax.export.generate.open_forward`; it is called with one window at a time.
      closed: what is closed before the day's first event, see `lob_jax.events.halts`.

    Raises:
      InputError: the model has no such likelihood, or the tokenizer cannot encode an event.
    """
    model = contents.model
    check_scores(model, day)
    tokenizer = tokenizer_for(contents.vocabulary)
    beside = beside_of(contents, tokenizer)
    how = {"book_levels": contents.settings.book_levels, "closed": closed, "flow": beside.blank_flow}
    record = day_record(day, 0, len(day.events), tokenizer, **how)
    context = {"context": model.max_seq_length, "time_buckets": model.time_buckets}
    windows = TokenBookDataset([record], **context, evaluation=True, beside=beside)
    tokens, sets = record["tokens"][:-1], record_sets(record, tokenizer)
    allowed, tokens_T = _allowed(contents, tokenizer, tokens, sets), tokens.astype(np.int64)
    found_T = np.full(len(tokens), np.nan)
    names = ("tokens", *fields_read(model, Role.BESIDE))
    for index in range(len(windows)):
        window = windows[index]
        at = np.flatnonzero(window["scored"])
        # A causal model needs nothing behind the last token that is scored.
        logits_TV = forward({name: window[name][None, : at[-1]] for name in names})[0]
        write_log_likelihoods(allowed, tokens_T, window["position"] + at, logits_TV[at - 1], found_T)
    return event_scores(tokens, found_T, sets.outside, events=len(day.events))


def beside_of(contents: Contents, tokenizer: Tokenizer) -> Beside:
    """Return what a model reads in addition to tokens, with the thresholds of its training split."""
    settings, regimes = contents.settings, contents.settings.regimes
    return Beside(
        names=tuple(name for name in fields_held(contents.model, Role.BESIDE) if name in MAKERS),
        regimes=None if regimes is None else Regimes(regimes.volatility_edges, regimes.spread_edges),
        prefix=contents.model.regime == "prefix",
        symbols=settings.symbols,
        tokenizer=tokenizer,
    )


def _allowed(contents: Contents, tokenizer: Tokenizer, tokens: np.ndarray, sets: TokenSets) -> Allowed:
    """Return over which tokens the model normalises in the place of each token."""
    grammar, mask = tokenizer.grammar, contents.model.mask
    state_T = states_along(grammar, tokens)[:-1]
    if mask == "none":
        everything_1V = np.ones((1, contents.model.vocab_size), np.bool_)
        grammar_SV, state_T = everything_1V, np.zeros_like(state_T)
    else:
        grammar_SV = grammar.allowed
    return Allowed(
        # Compiled once for arrays that may be written, as those of a grammar may not.
        grammar_SV=np.require(grammar_SV, None, ["C", "W"]),
        state_T=state_T,
        by_book=int(mask == "book"),
        kind_T=kinds_along(tokens)[:-1],
        escape_SKC=share_table(grammar, contents.escapes),
        offset=sets.offset,
        first=sets.first,
        last=sets.last,
    )
