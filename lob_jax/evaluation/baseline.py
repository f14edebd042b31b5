"""The baselines that a model is compared with: their interface, and which ones there are."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from lob_jax.counts.book_counts import fit_book_counts
from lob_jax.counts.in_book import Limits
from lob_jax.counts.ngram import NgramModel, fit_ngram, fit_zero_order
from lob_jax.data.records.builder import PreparedRecords
from lob_jax.data.records.records import Record
from lob_jax.tokens.tokenizer import Ability, Tokenizer

Streams = list[tuple[np.ndarray, np.ndarray]]  # tokens of a record, and which of them count


class Baseline(Protocol):
    """A model of records that is fitted on training data, without a network.

    Its prediction of a token may depend on the record's starting book, on its corrections up to the event before, and
    on the tokens before it.
    """

    def log_prob(self, record: Record) -> np.ndarray:
        """Return the log probability of each token of a record without EOS, float64 [T], nats."""

    def predict(self, record: Record) -> np.ndarray:
        """Return the likeliest token at each position of a record without EOS, int64 [T]."""

    def within(self, record: Record, limits: Limits) -> tuple[np.ndarray, np.ndarray]:
        """Return the log probability of each token, float64 [T], and the likeliest one, int64 [T], in the book.

        The prediction of each token is restricted to the set in its place, in the way of `lob_jax.models.masking`.
        """

    def summary(self) -> dict[str, Any]:
        """Return what was chosen on validation data, as plain values."""


@dataclasses.dataclass(frozen=True, eq=False)
class Fitting:
    """What baselines are fitted to.

    Attributes:
      train: records of the training split.
      validation: records of the validation split, which hyper-parameters are chosen on.
      tokenizer: the tokenizer of the records.
      ngram_orders: candidate context lengths of the n-gram model.
    """

    train: PreparedRecords
    validation: PreparedRecords
    tokenizer: Tokenizer
    ngram_orders: Sequence[int]

    @functools.cached_property
    def train_streams(self) -> Streams:
        """Return the tokens of the training records, see `token_streams`."""
        return token_streams(self.train)

    @functools.cached_property
    def validation_streams(self) -> Streams:
        """Return the tokens of the validation records."""
        return token_streams(self.validation)


@dataclasses.dataclass(frozen=True, eq=False)
class TokenBaseline:
    """A model of tokens alone, which reads nothing else of a record."""

    model: NgramModel

    def log_prob(self, record: Record) -> np.ndarray:
        """Return the log probability of each token, see `Baseline`."""
        return self.model.log_prob(record["tokens"][:-1])

    def predict(self, record: Record) -> np.ndarray:
        """Return the likeliest token at each position, see `Baseline`."""
        return self.model.predict(record["tokens"][:-1])

    def within(self, record: Record, limits: Limits) -> tuple[np.ndarray, np.ndarray]:
        """Return the log probabilities and the likeliest tokens in the book, see `Baseline`."""
        return self.model.within(record["tokens"][:-1], limits)

    def summary(self) -> dict[str, Any]:
        """Return what was chosen on validation data."""
        return self.model.summary()


def zero_order(given: Fitting) -> Baseline:
    """Fit the frequencies of codes by field."""
    train, validation, grammar = given.train_streams, given.validation_streams, given.tokenizer.grammar
    return TokenBaseline(fit_zero_order(train=train, validation=validation, grammar=grammar))


def ngram(given: Fitting) -> Baseline:
    """Fit the interpolated n-gram model."""
    train, validation, grammar = given.train_streams, given.validation_streams, given.tokenizer.grammar
    return TokenBaseline(fit_ngram(train=train, validation=validation, grammar=grammar, orders=given.ngram_orders))


def book_counts(given: Fitting) -> Baseline:
    """Fit the count-based model that knows the decoder's book."""
    return fit_book_counts(given.train, given.validation, given.tokenizer)


BASELINES: dict[str, Callable[[Fitting], Baseline]] = {
    "zero_order": zero_order,
    "ngram": ngram,
    "book_counts": book_counts,
}
WITHOUT_RANKS = ("book_counts",)  # baselines that do not predict the ranks of `tokens.references`
NEEDS = {"book_counts": Ability.EVENTS}  # the ability of a tokenizer without which a baseline cannot be fitted


def fit_baselines(given: Fitting) -> dict[str, Baseline]:
    """Fit all baselines that there are for the tokenizer, by name."""
    lacks, left_out = given.tokenizer.lacks, WITHOUT_RANKS if given.tokenizer.vocabulary.has_ranks else ()
    return {
        name: fit(given) for name, fit in BASELINES.items() if NEEDS.get(name) not in lacks and name not in left_out
    }


def token_streams(source: PreparedRecords) -> Streams:
    """Return for each record its tokens without EOS, and a mask of those after its lead."""
    tokens = [source[index]["tokens"][:-1] for index in range(len(source))]
    leads = [about.lead_tokens for about in source.outlines]
    return [(one, np.arange(len(one)) >= lead) for one, lead in zip(tokens, leads, strict=True)]
