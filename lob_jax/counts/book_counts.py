"""`BookCounts`: a count-based model of exact tokens that knows the decoder's book.

An event is a sequence of decisions: its kind and side, its price, its size, its gap, and the further digits of these
numbers. Each decision has several chains of contexts, smoothed as in `ngram`. Some chains count codes. Others count
where the book or the recent past has the price or the size that came (see `View`): at the third best level, two ticks
from the last event of this side, in the second order from the back of the queue. What such a chain leaves to other
values goes to the chains of codes. In addition, each order of a side has a share in the next CANCEL or DELETE, by how
often orders of its level, place, age and size are removed, see `weigh_orders`.

The counts are of the training split. The shares of the chains are fitted on the validation split by expectation
maximisation (Jelinek and Mercer, 1980), given the event's kind and side, and then frozen. Every token that the grammar
allows has a positive probability, also where it contradicts the book.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from lob_jax.counts import schemes
from lob_jax.counts.candidates import N_WEIGHTS, View
from lob_jax.counts.contexts import CodeSets
from lob_jax.counts.decisions import CODE_CLASS, Prepared, Rows, samples_of
from lob_jax.counts.in_book import NO_LIMITS, Limits
from lob_jax.counts.levels import DISCOUNTS
from lob_jax.counts.mixture import N_ACTIONS, Mixture, Model
from lob_jax.counts.ngram import Chain, fit_chain
from lob_jax.counts.observe import tally_orders
from lob_jax.counts.schemes import Decide
from lob_jax.counts.score import Measured, measure, score
from lob_jax.counts.tables import build_tables
from lob_jax.counts.watch import Item
from lob_jax.data.records.records import Record, RecordSource
from lob_jax.errors import InputError
from lob_jax.tokens.tokenizer import Ability, Tokenizer

MIXED = {"action": Decide.ACTION, "price": Decide.PRICE, "size": Decide.SIZE, "gap": Decide.CLASS, "fine": Decide.FINE}
EM_ROUNDS = 50
RATE_ROUNDS = 4
NO_ROWS = np.zeros(0, np.int64)


@dataclasses.dataclass(frozen=True, eq=False)
class FittedChain:
    """A chain, the decision that it is for, and the items that its contexts add."""

    decision: int
    items: tuple[Item, ...]
    chain: Chain
    symbol: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class BookCounts:
    """A fitted model of records of exact tokens.

    Attributes:
      model: what the compiled loops read.
      tokenizer: of the records.
      sets: allowed codes of its grammar.
      chosen: what `summary` returns.
    """

    model: Model
    tokenizer: Tokenizer
    sets: CodeSets
    chosen: dict[str, Any]

    def log_prob(self, record: Record) -> np.ndarray:
        """Return the log probability of each token of a record without EOS, float64 [T], nats."""
        return self._score(record, NO_ROWS, dense=False)[0]

    def predict(self, record: Record) -> np.ndarray:
        """Return the likeliest token at each position of a record, given the tokens before it, int64 [T]."""
        return self._score(record, NO_ROWS, dense=True)[1]

    def within(self, record: Record, limits: Limits) -> tuple[np.ndarray, np.ndarray]:
        """Return the log probability of each token and the likeliest one, restricted to the book."""
        return self._score(record, NO_ROWS, dense=True, limits=limits)[:2]

    def distributions(self, record: Record, positions: np.ndarray, *, limits: Limits = NO_LIMITS) -> np.ndarray:
        """Return the probability of every token at some positions of a record, float64 [R, V].

        Args:
          record: the record.
          positions: int64 [R], ascending.
          limits: the sets in the places of the record's tokens, to restrict the distributions to; NO_LIMITS for none.
        """
        return self._score(record, np.asarray(positions, np.int64), dense=True, limits=limits)[2]

    def summary(self) -> dict[str, Any]:
        """Return what was chosen on validation data for each decision, as plain values."""
        return self.chosen

    def _score(
        self, record: Record, rows: np.ndarray, *, dense: bool, limits: Limits = NO_LIMITS
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        one = Prepared.of(record, self.tokenizer, self.sets)
        return score(self.model, *one.fresh(), one.steps, one.tokens, one.tick, self.sets.start, dense, rows, limits)


def fit_book_counts(train: RecordSource, validation: RecordSource, tokenizer: Tokenizer) -> BookCounts:
    """Fit the model.

    Args:
      train: records to count; the events of their leads are context only.
      validation: records to choose smoothing and to fit shares on, in the same way.
      tokenizer: of the records.

    Raises:
      InputError: the tokens do not give back their events, so that there is no book; or they have ranks.
    """
    if Ability.EVENTS in tokenizer.lacks:
        raise InputError(
            "these tokens give no book to count in",
            where="fit_book_counts",
            expected="tokens that " + Ability.EVENTS.value,
            was=tokenizer.lacks[Ability.EVENTS],
            remedy="leave this baseline out, or prepare records of exact tokens",
        )
    if tokenizer.vocabulary.has_ranks:
        raise InputError(
            "this model does not predict which of several orders a removal takes from",
            where="fit_book_counts",
            expected="tokens without ranks",
            was=f"tokens.references={tokenizer.vocabulary.references}",
            remedy="leave this baseline out, or prepare records with --config.tokens.references=newest",
        )
    sets = CodeSets.of(tokenizer.grammar)
    trained, held = (
        [Prepared.of(source[k], tokenizer, sets) for k in range(len(source))] for source in (train, validation)
    )
    rows, seen = Rows.of(trained, sets), Rows.of(held, sets)
    chains = _fit_chains(rows, seen, sets)
    model = _unmixed(chains, fit_rates(trained), sets, tokenizer)
    bits = _fit_shares(model, held, seen)
    return BookCounts(model, tokenizer, sets, _summary(model, chains, bits))


def _fit_chains(rows: Rows, seen: Rows, sets: CodeSets) -> list[FittedChain]:
    """Fit the chains of all decisions, one after the other."""
    fitted = []
    for decision, items in schemes.all_chains():
        samples, held = (samples_of(one, sets, decision, items) for one in (rows, seen))
        chain = fit_chain(samples, held, "", orders=range(1, len(items) + 1), discounts=DISCOUNTS)
        fitted.append(FittedChain(decision, items, chain, samples.symbol))
    return fitted


def _unmixed(chains: list[FittedChain], rates: np.ndarray, sets: CodeSets, tokenizer: Tokenizer) -> Model:
    """Return the model with equal shares."""
    numbers = {
        decision: [n for n, one in enumerate(chains) if one.decision == decision]
        for decision in range(Decide.GROUP + 1)
    }

    def mixture(decision: int, views: list[View]) -> Mixture:
        own = np.array(numbers[decision], np.int64)
        slots = [(int(view), n) for view in views for n in numbers[Decide.VIEW + view]]
        ways = 2 + len(slots)
        return Mixture(
            chain=own,
            share=np.full((N_ACTIONS, len(own)), 1 / len(own)),
            views=np.array(slots, np.int64).reshape(-1, 2),
            use=np.full((N_ACTIONS, ways), 1 / ways),
        )

    return Model(
        tables=build_tables([(one.items, one.chain.levels, one.symbol) for one in chains]),
        action=mixture(Decide.ACTION, []),
        price=mixture(Decide.PRICE, [view for view in View if view != View.QUEUE]),
        size=mixture(Decide.SIZE, [View.QUEUE]),
        gap=mixture(Decide.CLASS, []),
        fine=mixture(Decide.FINE, []),
        end=numbers[Decide.END][0],
        group=numbers[Decide.GROUP][0],
        rates=rates,
        transition=np.array(tokenizer.grammar.transition),
        choices=np.stack([sets.n_digits, sets.n_others], axis=1).astype(np.int64),
        code_class=CODE_CLASS.astype(np.int64),
    )


def fit_rates(records: list[Prepared]) -> np.ndarray:
    """Return how often orders of each class are cancelled and deleted, relative to each other, float64 [2, N_WEIGHTS].

    The removals are draws with probability proportional to the rates; their likelihood is maximised by the iteration of
    Hunter (2004, MM algorithms for generalized Bradley-Terry models), with half a count added to each class.
    """
    rates = np.ones((2, N_WEIGHTS))
    for _ in range(RATE_ROUNDS):
        tally = np.zeros((2, 2, N_WEIGHTS))
        for one in records:
            tally_orders(*one.fresh(), one.steps, one.counted, rates, tally)
        rates *= (tally[:, 0] + 0.5) / (tally[:, 1] + 0.5)
    return rates


def _fit_shares(model: Model, held: list[Prepared], seen: Rows) -> dict[str, float]:
    """Fit all shares, in place; return the bits per event of each decision without further digits."""
    found = [measure(model, *one.fresh(), one.steps, one.tokens, one.states, one.tick) for one in held]
    if not found:
        return dict.fromkeys(MIXED, 0.0)
    counted = np.concatenate([one.counted for one in held])
    measured = Measured(*(np.concatenate(parts, axis=1)[:, counted] for parts in zip(*found, strict=True)))
    buckets = {"action": seen.items[:, Item.ACTION_1] + 1}  # the action to come is what is asked for
    bits = {}
    for k, name in enumerate(MIXED):
        mixture, bucket = getattr(model, name), buckets.get(name, seen.action)
        p = measured.chain[k][:, : len(mixture.chain)]
        mixture.share[:] = fit_mixture(p, bucket)
        mixed = (p * mixture.share[bucket]).sum(1)
        bits[name] = float(-np.log2(mixed).mean())
        if len(mixture.views):
            n, digits = mixture.use.shape[1], measured.digits[k - 1]
            view = measured.view[k - 1][:, :n]
            ways = np.where(view[..., 1] < 0, 1.0, view[..., 0] + view[..., 1] * (mixed * digits)[:, None])
            mixture.use[:] = fit_mixture(ways, bucket)
            bits[name] = float(-np.log2((ways * mixture.use[bucket]).sum(1)).mean())
    return bits


def fit_mixture(p: np.ndarray, bucket: np.ndarray, *, rounds: int = EM_ROUNDS) -> np.ndarray:
    """Return shares by bucket that maximise the likelihood of what came, float64 [N_ACTIONS, M].

    Each bucket has, as if seen, M more samples that are distributed as all buckets together.

    Args:
      p: float64 [N, M], the probability of what came by each of M models.
      bucket: int64 [N].
      rounds: steps of expectation maximisation.
    """
    count, models = N_ACTIONS, p.shape[1]
    share = np.full((count, models), 1 / models)
    for _ in range(rounds if len(p) else 0):
        part = p * share[bucket]
        part /= part.sum(1, keepdims=True)
        total = np.stack([np.bincount(bucket, part[:, m], count) for m in range(models)], axis=1) + models * part.mean(
            0
        )
        share = total / total.sum(1, keepdims=True)
    return share


def _summary(model: Model, chains: list[FittedChain], bits: dict[str, float]) -> dict[str, Any]:
    names = {decision: name for name, decision in MIXED.items()} | {Decide.END: "end", Decide.GROUP: "digits"}
    result: dict[str, Any] = {name: {"chains": []} for name in names.values()} | {"views": {"chains": []}}
    for one in chains:
        view = one.decision - Decide.VIEW
        entry: dict[str, Any] = {"view": View(view).name.lower()} if one.decision not in names else {}
        entry |= {
            "contexts": [item.name.lower() for item in one.items],
            "lengths": [length for length, _, _ in one.chain.levels],
            "validation_bits": round(one.chain.validation_nll / math.log(2), 4),
        }
        result[names.get(Decide(one.decision) if one.decision in names else -1, "views")]["chains"].append(entry)
    for name in MIXED:
        result[name] |= {
            "validation_bits_per_event": round(bits[name], 4),
            "shares": getattr(model, name).share.mean(0).round(3).tolist(),
        }
    return result
