"""The baselines: zero-order and interpolated n-gram models of exact tokens, fitted on the training split.

Each decision (see contexts.py) has a chain of contexts, each one item longer than the one before. Let n(h, c) be the
count of code c in context h, and h' the context one item shorter. The recursion is modified absolute discounting (Chen
and Goodman, 1999, section 3), whose discount D depends on whether a count is 1, 2 or more. In addition a fixed share w
of the probability goes to h' (Jelinek and Mercer, 1980): markets drift, so even many counts do not make a context
certain:

  P(c | h) = (1 - w) * [(n(h, c) - D(n(h, c))) / n(h) + P(c | h') * sum over the codes seen in h of D / n(h)]
             + w * P(c | h').

The shortest context knows only the set of allowed codes, and falls back to the uniform distribution over them. So every
allowed code has a positive probability, and the probabilities of the allowed codes sum to one. The chain of each
decision, D and w of each length, and the lengths to use are chosen on validation data.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

from lob_jax.counts import contexts as c
from lob_jax.counts.contexts import CodeSets, Samples, Stream, all_samples, positions_of, samples_at
from lob_jax.counts.in_book import Asked, Limits, score_within
from lob_jax.counts.levels import DISCOUNTS, SHARES, Level, Smoothing, find
from lob_jax.counts.tables import LONGEST, Tables, build_tables
from lob_jax.errors import InputError
from lob_jax.tokens.grammar import Automaton


@dataclasses.dataclass(frozen=True, eq=False)
class Chain:
    """One decision's fitted model.

    Attributes:
      scheme: a name in `contexts.SCHEMES`.
      levels: (context length, counts, smoothing) in ascending order, without lengths that did not help on validation.
      best: for each level, the likeliest code of each context and its probability.
      validation_nll: nats per decision.
    """

    scheme: str
    levels: tuple[tuple[int, Level, Smoothing], ...]
    best: tuple[tuple[np.ndarray, np.ndarray], ...]
    validation_nll: float

    def probability(self, samples: Samples) -> np.ndarray:
        """Return the probability of what came, float64 [N]."""
        p = samples.base
        for length, level, smoothing in self.levels:
            p = level.interpolate(*level.look_up(samples.context[self.scheme][length], samples.symbol), p, smoothing)
        return p

    def likeliest(self, samples: Samples) -> tuple[np.ndarray, np.ndarray]:
        """Return the likeliest code and its probability; where no context was seen, the sample's symbol and base."""
        symbol, p = samples.symbol, samples.base
        for (length, level, _), (best_symbol, best_p) in zip(self.levels, self.best, strict=True):
            index = find(level.context, samples.context[self.scheme][length])
            symbol, p = np.where(index >= 0, best_symbol[index], symbol), np.where(index >= 0, best_p[index], p)
        return symbol, p


@dataclasses.dataclass(frozen=True, eq=False)
class NgramModel:
    """A fitted model of token streams.

    Attributes:
      sets: allowed codes of the grammar.
      chains: the model of each decision.
      tables: the counts of the chains, in the same order.
    """

    sets: CodeSets
    chains: dict[int, Chain]
    tables: Tables

    def log_prob(self, tokens: np.ndarray) -> np.ndarray:
        """Return the log probability of each token of one record without EOS, float64 [T], nats.

        Raises:
          InputError: a token that the grammar does not allow.
        """
        stream = Stream(tokens, self.sets)
        log_p = np.zeros(len(stream.tokens))
        for decision, chain in self.chains.items():
            at = positions_of(stream, self.sets, decision)
            log_p[at] += np.log(chain.probability(samples_at(stream, self.sets, decision, at=at, only=chain.scheme)))
        return log_p

    def predict(self, tokens: np.ndarray) -> np.ndarray:
        """Return the likeliest token at each position of one record, given the tokens before it, int64 [T]."""
        stream = Stream(tokens, self.sets)
        state, go_on = stream.state, self._go_on(stream)
        digits, p_digits = self.sets.first_digits[state], np.zeros(len(state))
        others, p_others = self.sets.first_others[state], np.zeros(len(state))
        for decision, chain in self._of_codes():
            code, p = (digits, p_digits) if decision in c.DIGITS_OF else (others, p_others)
            at = _asked_at(stream, self.sets, decision)
            samples = samples_at(stream, self.sets, decision, at=at, only=chain.scheme, as_if=code[at])
            code[at], p[at] = chain.likeliest(samples)
        return np.where(go_on * p_digits > (1 - go_on) * p_others, digits, others)

    def within(self, tokens: np.ndarray, limits: Limits) -> tuple[np.ndarray, np.ndarray]:
        """Return the log probability of each token and the likeliest one, restricted to the book."""
        return self._within(tokens, limits, np.zeros(0, np.int64))[:2]

    def distributions(self, tokens: np.ndarray, positions: np.ndarray, limits: Limits) -> np.ndarray:
        """Return the probability of every token at some positions, ascending [R], restricted to the book, [R, V]."""
        return self._within(tokens, limits, np.asarray(positions, np.int64))[2]

    def _within(
        self, tokens: np.ndarray, limits: Limits, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        stream, number = Stream(tokens, self.sets), {decision: n for n, decision in enumerate(self.chains)}
        digits, others = (Asked.nothing(len(stream.tokens), LONGEST + 1) for _ in range(2))
        for decision, chain in self._of_codes():
            asked, at = digits if decision in c.DIGITS_OF else others, _asked_at(stream, self.sets, decision)
            samples = samples_at(stream, self.sets, decision, at=at, only=chain.scheme)
            hashes = samples.context[chain.scheme].T
            asked.chain[at], asked.hashes[at, : hashes.shape[1]] = number[decision], hashes
        go_on, transition = self._go_on(stream), self.sets.transition
        return score_within(self.tables, transition, stream.state, stream.tokens, go_on, digits, others, limits, rows)

    def _of_codes(self) -> list[tuple[int, Chain]]:
        """Return the decisions on codes, and their chains."""
        return [(decision, chain) for decision, chain in self.chains.items() if decision not in c.END_OF]

    def _go_on(self, stream: Stream) -> np.ndarray:
        """Return the probability that a group of digits comes, float64 [T]."""
        go_on = (self.sets.n_digits[stream.state] > 0).astype(np.float64)
        for decision in c.END_OF.tolist():
            chain, at = self.chains[decision], _asked_at(stream, self.sets, decision)
            go_on[at] = chain.probability(samples_at(stream, self.sets, decision, at=at, only=chain.scheme, as_if=1))
        return go_on

    def summary(self) -> dict[str, dict[str, object]]:
        """Return what was chosen on validation data for each decision, as plain values."""
        return {
            c.DECISIONS[decision]: {
                "contexts": chain.scheme,
                "lengths": [length for length, _, _ in chain.levels],
                "smoothing": [[round(part, 3) for part in smoothing] for _, _, smoothing in chain.levels],
                "validation_bits": round(chain.validation_nll / math.log(2), 4),
            }
            for decision, chain in sorted(self.chains.items())
        }


def fit_ngram(
    train: Sequence[tuple[np.ndarray, np.ndarray]],
    validation: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    grammar: Automaton,
    orders: Sequence[int],
    discounts: Sequence[float] = DISCOUNTS,
) -> NgramModel:
    """Fit an interpolated n-gram model.

    Args:
      train: for each record, its tokens without EOS and a bool array of those to count; the others are only context.
      validation: the same, to choose contexts and discounts; if empty, each decision uses its first contexts.
      grammar: the allowed transitions.
      orders: candidate context lengths, 1 to 5; an empty sequence gives the zero-order model.
      discounts: candidate discounts of every count, each in (0, 1].

    Raises:
      InputError: a record violates the grammar, or an order or a discount is out of range.
    """
    _check_range(orders, 1, 5, where="evaluate.ngram_orders")
    _check_range(discounts, 1e-9, 1, where="discounts")
    sets = CodeSets.of(grammar)
    train_streams = [(Stream(tokens, sets), np.asarray(counted, bool)) for tokens, counted in train]
    held_out = [(Stream(tokens, sets), np.asarray(counted, bool)) for tokens, counted in validation]
    chains, fitted = {}, []
    for decision in c.SCHEMES:
        samples, seen = all_samples(train_streams, sets, decision), all_samples(held_out, sets, decision)
        fits = [fit_chain(samples, seen, scheme, orders=orders, discounts=discounts) for scheme in samples.context]
        chain = min(fits, key=lambda fit: fit.validation_nll)
        chains[decision] = dataclasses.replace(chain, best=_best(chain, samples))
        fitted.append(((), chain.levels, samples.symbol))
    return NgramModel(sets, chains, build_tables(fitted))


def fit_zero_order(
    train: Sequence[tuple[np.ndarray, np.ndarray]],
    validation: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    grammar: Automaton,
) -> NgramModel:
    """Fit the frequencies of codes by field, restricted to the codes that the grammar allows."""
    return fit_ngram(train, validation, grammar=grammar, orders=())


def fit_chain(
    train: Samples, held_out: Samples, scheme: str, *, orders: Sequence[int], discounts: Sequence[float]
) -> Chain:
    """Fit one scheme: from the shortest context up, add each length that lowers the validation loss."""
    levels, p, best_nll = [], held_out.base, _mean_nll(held_out.base)
    for length in (0, *sorted(orders)):
        level = Level.counted(train.context[scheme][length], train.symbol)
        found = level.look_up(held_out.context[scheme][length], held_out.symbol)
        choices = _choices(level, discounts) if len(level.context) else []
        tries = [(_mean_nll(level.interpolate(*found, p, smoothing)), smoothing) for smoothing in choices]
        nll, smoothing = min(tries, key=lambda one: one[0], default=(math.inf, None))
        if smoothing is not None and (length == 0 or nll < best_nll):
            p, best_nll = level.interpolate(*found, p, smoothing), nll
            levels.append((length, level, smoothing))
    return Chain(scheme=scheme, levels=tuple(levels), best=(), validation_nll=best_nll)


def _choices(level: Level, discounts: Sequence[float]) -> list[Smoothing]:
    """Return the smoothings to try. `min` keeps the first of equals, so a middling one leads: it is used if there is no
    validation data."""
    flat = [(d, d, d) for d in sorted(discounts, key=lambda d: abs(d - 0.5))]
    estimated = level.estimated_discounts()
    tried = [*flat, estimated] if estimated else flat
    return [Smoothing(*off, share) for off, share in itertools.product(tried, SHARES)]


def _best(chain: Chain, train: Samples) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Return each level's likeliest code and its probability, by context.

    It is either a code seen in the context, or the likeliest code of the context one length shorter: any other unseen
    code has the same factor times a smaller probability.
    """
    best: list[tuple[np.ndarray, np.ndarray]] = []
    p, lower = train.base, None
    for length, level, smoothing in chain.levels:
        context = train.context[chain.scheme][length]
        p = level.interpolate(*level.look_up(context, train.symbol), p, smoothing)
        order = np.lexsort((-p[level.sample], level.of_pair))
        first = order[np.searchsorted(level.of_pair[order], np.arange(len(level.context)))]
        symbol, top = train.symbol[level.sample[first]], p[level.sample[first]]
        if lower is not None:
            shorter, (lower_symbol, lower_p) = lower
            index = np.searchsorted(shorter[0], shorter[1][level.sample[first]])
            from_lower = level.given_up(np.arange(len(level.context)), smoothing) * lower_p[index]
            symbol = np.where(from_lower > top, lower_symbol[index], symbol)
            top = np.maximum(from_lower, top)
        best.append((symbol, top))
        lower = ((level.context, context), best[-1])
    return tuple(best)


def _asked_at(stream: Stream, sets: CodeSets, decision: int) -> np.ndarray:
    """Return the positions at which a decision may have to be made, whatever came."""
    digits, others = sets.n_digits[stream.state] > 0, sets.n_others[stream.state] > 0
    if decision in c.END_OF:
        return np.flatnonzero(digits & others & (c.END_OF[stream.lead_kind] == decision))
    if decision in c.DIGITS_OF:
        return np.flatnonzero(digits & (c.DIGITS_OF[stream.lead_kind] == decision))
    return np.flatnonzero(others & (sets.other_decision[stream.state] == decision))


def _mean_nll(p: np.ndarray) -> float:
    return float(-np.log(p).mean()) if len(p) else 0.0


def _check_range(values: Sequence[float], low: float, high: float, *, where: str) -> None:
    for value in values:
        if not low <= value <= high:
            raise InputError(
                "an n-gram setting is out of range",
                where=where,
                expected=f"{low}..{high}",
                was=value,
                remedy="leave it out, or choose a value in the range",
            )
