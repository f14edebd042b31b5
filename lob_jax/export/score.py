"""Score the events of a day where JAX does not exist, as `lob_jax.runs.scoring.score` does with a run."""

from collections.abc import Callable

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.data.labels.regimes import Regimes
from lob_jax.data.records.escapes import record_sets
from lob_jax.data.records.records import day_record
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.data.windows.known import MAKERS, Beside
from lob_jax.evaluation.likelihood.allowed import CLASSES, Allowed, write_factors, write_log_likelihoods
from lob_jax.evaluation.likelihood.event_scores import EventScores, check_scores, event_scores
from lob_jax.evaluation.likelihood.kinds import heads_of, kind_scores, new_found, write_kinds
from lob_jax.events.halts import OPEN
from lob_jax.export.contents import Contents
from lob_jax.models.inputs import Role, fields_held, fields_read
from lob_jax.tokens.registry import tokenizer_for
from lob_jax.tokens.sets.shares import share_table
from lob_jax.tokens.sets.token_sets import TokenSets
from lob_jax.tokens.states import kinds_along, states_along
from lob_jax.tokens.tokenizer import Tokenizer
from lob_jax.tokens.vocabulary import event_index

Forward = Callable[[dict[str, np.ndarray]], np.ndarray]  # inputs [B, T, ...] by name -> logits, float32 [B, T, V]


def score(contents: Contents, day: MarketDay, forward: Forward, *, closed: int = OPEN, first: int = 0) -> EventScores:
    """Return the log-likelihood of each event of a day under a model, up to rounding that of its run.

    Each token is scored once, with at least half a context before it, except for the first tokens of the day. If the
    tokenizer rounds times, the rounded times are scored. In addition there is what the model said of the kind and side
    of each event.

    Args:
      contents: the model, and what generation needs, such as `bundle.contents`.
      day: a day with at least one event; `day.part(...)` selects a part of it.
      forward: the network, see `lob_jax.export.generate.open_forward`; it is called with one window at a time.
      closed: what is closed before the day's first event, see `lob_jax.events.halts`.
      first: the first event that is scored; those before it are only read. Windows follow from it: where a day has more
        tokens than a context, the same event may have another context before it than without `first`.

    Raises:
      InputError: the model has no such likelihood, there is nothing to score, or the tokenizer cannot encode an event.
    """
    model = contents.model
    check_scores(model, day, first=first)
    tokenizer = tokenizer_for(contents.vocabulary)
    beside = beside_of(contents, tokenizer)
    how = {"book_levels": contents.settings.book_levels, "closed": closed, "flow": beside.blank_flow}
    record = day_record(day, 0, len(day.events), tokenizer, **how)
    tokens, sets = record["tokens"][:-1], record_sets(record, tokenizer)
    context = {"context": model.max_seq_length, "time_buckets": model.time_buckets}
    led = {**record, "lead_events": np.int64(first)}
    windows = TokenBookDataset([led], **context, evaluation=True, beside=beside)
    scored = _Scored(contents, tokenizer, tokens, sets, first=first)
    names = ("tokens", *fields_read(model, Role.BESIDE))
    for index in range(len(windows)):
        window = windows[index]
        at = np.flatnonzero(window["scored"])
        # A causal model needs nothing behind the last token that is scored.
        logits_TV = forward({name: window[name][None, : at[-1]] for name in names})[0]
        scored.take(window["position"] + at, logits_TV[at - 1])
    return scored.result()


class _Scored:
    """The scores of the tokens of a day, from an event on, place by place."""

    def __init__(
        self, contents: Contents, tokenizer: Tokenizer, tokens: np.ndarray, sets: TokenSets, *, first: int
    ) -> None:
        event_T = event_index(tokens).astype(np.int64)
        begins_T = np.diff(event_T, prepend=-1) > 0
        self._tokens, self._outside, self._from = tokens, sets.outside, int(np.searchsorted(event_T, first))
        self._tokens_T, self._allowed = tokens.astype(np.int64), _allowed(contents, tokenizer, tokens, sets)
        self._event_T = np.where(begins_T, event_T - first, -1)  # below 0 where no event begins that is scored
        self._heads, self._found_T = heads_of(tokenizer.name), np.full(len(tokens), np.nan)
        self._kinds = new_found(int(event_T[-1]) + 1 - first, self._heads)

    def take(self, place_N: np.ndarray, logits_NV: np.ndarray) -> None:
        """Score the tokens in some places, given the logits there."""
        factor_N2C = np.zeros((len(place_N), 2, CLASSES))
        write_factors(self._allowed, place_N, logits_NV, factor_N2C)
        write_log_likelihoods(self._allowed, self._tokens_T, place_N, logits_NV, factor_N2C, self._found_T)
        begins = self._event_T[place_N]
        write_kinds(self._allowed, self._heads, begins, place_N, logits_NV, factor_N2C, self._kinds)

    def result(self) -> EventScores:
        """Return the scores."""
        kinds = kind_scores(self._heads, self._kinds, self._tokens_T[self._event_T >= 0])
        rest = slice(self._from, None)
        return event_scores(
            self._tokens[rest], self._found_T[rest], self._outside[rest], events=len(kinds.came), kinds=kinds
        )


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
    return Allowed(
        # Compiled once for arrays that may be written, as those of a grammar may not.
        grammar_SV=np.require(grammar.allowed, None, ["C", "W"]),
        state_T=states_along(grammar, tokens)[:-1],
        by_grammar=int(mask != "none"),
        by_book=int(mask == "book"),
        kind_T=kinds_along(tokens)[:-1],
        escape_SKC=share_table(grammar, contents.escapes),
        offset=sets.offset,
        first=sets.first,
        last=sets.last,
    )
