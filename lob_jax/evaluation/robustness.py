"""Robustness: how much worse a model predicts the real events of a market while somebody manipulates it.

Into test records a pattern is spliced again and again, see `lob_jax.data.windows.augment.manipulation`. The model reads
everything; measured are the real events alone, the same ones in the clean and in the manipulated record, from the first
event of the manipulator on. Nothing is random but what the patterns draw, from a fixed seed.
"""

import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from lob_jax.data.records.builder import VOCABULARY, open_records
from lob_jax.data.records.escapes import training_escapes
from lob_jax.data.records.flow import COLUMNS, read_flow
from lob_jax.data.records.manifest import load_manifest
from lob_jax.data.records.records import Record, day_record, evenly_spaced, read_record
from lob_jax.data.windows.augment.altered import ADDED, AlteredDay, altered
from lob_jax.data.windows.augment.manipulation.draw import Throughout
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.data.windows.known import NOTHING, Beside
from lob_jax.data.windows.pipeline import batches
from lob_jax.errors import InputError
from lob_jax.evaluation.direction.blocks import number
from lob_jax.evaluation.direction.moves import predict_moves, record_moves
from lob_jax.evaluation.direction.scores import macro_f1
from lob_jax.evaluation.direction.sums import block_sums
from lob_jax.evaluation.evaluate import why_no_branches, with_places, without_places
from lob_jax.evaluation.likelihood.bootstrap import RESAMPLES, Blocks, block_length, interval
from lob_jax.evaluation.likelihood.scores import Rules, model_network, score_windows
from lob_jax.models.config import ModelConfig
from lob_jax.models.masking import Masks, make_masks
from lob_jax.tokens.registry import tokenizer_for
from lob_jax.tokens.tokenizer import Ability, Tokenizer, require
from lob_jax.tokens.vocabulary import Vocabulary, event_index

EVERY = 100  # events of the market among which a pattern is spliced in once
DISTANCES = (0, 1, 10, 50)  # real events since the last one of the manipulator, from which groups begin
SEED = 0  # of what patterns draw, and of the resamples


@dataclasses.dataclass(frozen=True, eq=False)
class Scorer:
    """A model with what it needs to read records.

    Attributes:
      config, params: the model.
      tokenizer: the tokenizer of the records.
      beside: what the model reads in addition to tokens, clock buckets and book, without arrays of places.
      masks: the masks of the grammar.
      batch_size: windows per forward pass.
    """

    config: ModelConfig
    params: Any
    tokenizer: Tokenizer
    beside: Beside
    masks: Masks
    batch_size: int

    @property
    def read(self) -> Beside:
        """Return the arrays of windows, with those of places if the model has a mask."""
        return self.beside if self.config.mask == "none" else with_places(self.beside, self.tokenizer)

    def bits(self, records: Sequence[Record]) -> list[np.ndarray]:
        """Return the code length of each event under the model as it predicts, bits, float64 [E] of each record.

        0 for the events of a record's lead.
        """
        windows = TokenBookDataset(
            records,
            context=self.config.max_seq_length,
            time_buckets=self.config.time_buckets,
            evaluation=True,
            beside=self.read,
        )
        rules = None if self.config.mask == "none" else Rules(self.tokenizer.grammar, self.masks, self.config.mask)
        read = batches(windows, batch_size=self.batch_size, seed=0, epochs=1, shuffle=False)
        scores = score_windows(model_network(self.config), self.params, read, rules=rules)
        found = []
        for index, record in enumerate(records):
            mine, event = scores.record == index, event_index(record["tokens"][:-1])
            nats = np.bincount(event[scores.position[mine]], scores.nll[mine], minlength=int(event[-1]) + 1)
            found.append(nats / math.log(2))
        return found

    def macro_f1(self, records: Sequence[Record], asked: Sequence[np.ndarray], labels: np.ndarray) -> float | None:
        """Return the macro F1 of the price direction of some events of records, in their order, given the true ones.

        Args:
          records: the records.
          asked: of each, which events are predicted, bool [E].
          labels: int64 [N], the true directions.
        """
        moves = [record_moves(record, self.tokenizer) for record in records]
        moves = [dataclasses.replace(one, known=mine) for one, mine in zip(moves, asked, strict=True)]
        how: dict[str, Any] = {"tokenizer": self.tokenizer, "beside": self.read, "masks": self.masks}
        probability, _, _ = predict_moves(
            self.config, self.params, source=records, moves=moves, events=len(labels), **how
        )
        return number(float(macro_f1(block_sums(probability, labels, np.zeros(len(labels), int)).whole().confusion)))


def robustness(
    config: ModelConfig,
    params: Any,
    folder: pathlib.Path,
    *,
    patterns: Sequence[str],
    records: int,
    split: str = "test",
    batch_size: int,
    direction_events: int,
    beside: Beside = NOTHING,
) -> dict[str, dict[str, Any]]:
    """Measure a model on clean and on manipulated records of a split.

    Args:
      config, params: the model.
      folder: prepared records.
      patterns: names of manipulations, see `manipulation.draw.PATTERNS`.
      records: number of records, evenly spaced over the split; all if it has fewer.
      split: the split.
      batch_size: windows per forward pass.
      direction_events: most events whose price direction is predicted, in each of the two streams; 0 for none.
      beside: what the model reads in addition to tokens, clock buckets and book.

    Returns:
      Plain values as in JSON, by pattern:
      records, added: number of records, and of events that were spliced in;
      left_out, refused: events of the market that the book did not take any more, and of the manipulator, see
        `lob_jax.data.windows.augment.altered.AlteredDay`;
      events: number of real events that are measured;
      bits_clean, bits_manipulated: their bits per event; difference, the second minus the first;
      interval: [low, high], its 95 % interval from blocks of consecutive events, of which `block_events` has the
        length; None without events, as the figures before;
      by_distance: for groups of events by the number of real events since the last one of the manipulator, the least
        number of the group ("from"), their number ("events"), and "difference";
      direction_events: number of events whose direction is predicted;
      macro_f1_clean, macro_f1_manipulated: macro F1 of their price direction; the true direction is that of the real
        market. None if the model does not predict it, or no event is asked for.

    Raises:
      InputError: the tokens do not give the events of a record back, or the model reads two instruments at once.
    """
    folder = pathlib.Path(folder)
    tokenizer = tokenizer_for(Vocabulary.load(folder / VOCABULARY))
    require(tokenizer, Ability.EVENTS, what="a test on manipulated flow", where="config.evaluate.manipulated")
    _check(config)
    source, masks = open_records(folder, split), make_masks(tokenizer.grammar, training_escapes(load_manifest(folder)))
    scorer = Scorer(config, params, tokenizer, without_places(beside), masks, batch_size)
    clean: list[Record] = [source[index] for index in evenly_spaced(len(source), min(records, len(source)))]
    bits = scorer.bits(clean)
    asked = 0 if tokenizer.lacks.get(Ability.DIRECTION) or why_no_branches(config) else direction_events
    return {pattern: _compared(scorer, clean, bits, pattern, direction_events=asked) for pattern in patterns}


def _check(config: ModelConfig) -> None:
    """Raise an error for a model that does not predict the events of one instrument from those before."""
    if not config.causal or config.attention.cross_asset:
        raise InputError(
            "this model is not tested on manipulated flow",
            where="config.evaluate.manipulated",
            expected="a causal model of one instrument at a time",
            was="a model of masked tokens" if not config.causal else "a model that attends to another instrument",
            remedy="pass --config.evaluate.manipulated= to leave it out",
        )


def manipulated(
    record: Record, pattern: str, tokenizer: Tokenizer, *, seed: Sequence[int]
) -> tuple[Record, AlteredDay]:
    """Return a record with a pattern spliced in behind its lead, and the altered day that it is of."""
    day, closed, lead = read_record(record, tokenizer), int(record["closed"]), int(record["lead_events"])
    random = np.random.default_rng(seed)
    found = altered(day, (Throughout(pattern, EVERY),), first=max(lead, 1), closed=closed, random=random)
    flow = read_flow(record) if record.keys() >= COLUMNS.keys() else None
    known = {"book_levels": record["features"].shape[1] // 4, "closed": closed, "flow": flow}
    made = day_record(found.day, 0, len(found.day.events), tokenizer, **known)
    # Nothing is altered before the end of the lead, so that it is the same, and ends where it did.
    return {**made, "lead_events": record["lead_events"], "first_event": record["first_event"]}, found


def _compared(
    scorer: Scorer, clean: Sequence[Record], bits: Sequence[np.ndarray], pattern: str, *, direction_events: int
) -> dict[str, Any]:
    """Return what `robustness` returns of a pattern, given the bits of the clean records."""
    made = [manipulated(one, pattern, scorer.tokenizer, seed=(SEED, k)) for k, one in enumerate(clean)]
    days = [day for _, day in made]
    rows = [np.flatnonzero((day.origin != ADDED) & (np.cumsum(day.origin == ADDED) > 0)) for day in days]
    after = scorer.bits([record for record, _ in made])
    was = np.concatenate([mine[day.origin[row]] for mine, day, row in zip(bits, days, rows, strict=True)])
    now = np.concatenate([mine[row] for mine, row in zip(after, rows, strict=True)])
    since = np.concatenate([_since_added(day.origin)[row] for day, row in zip(days, rows, strict=True)])
    return {
        "records": len(clean),
        "added": sum(int(np.count_nonzero(day.origin == ADDED)) for day in days),
        "left_out": sum(day.left_out for day in days),
        "refused": sum(day.refused for day in days),
        "events": len(was),
        **paired(was, now),
        "by_distance": _by_distance(now - was, since),
        **_directions(scorer, clean, made, rows, most=direction_events),
    }


def paired(was: np.ndarray, now: np.ndarray) -> dict[str, Any]:
    """Return the means of two series of the same N events, and their difference with its interval."""
    if not len(was):
        return dict.fromkeys(("bits_clean", "bits_manipulated", "difference", "interval", "block_events"))
    difference = now - was
    blocks = Blocks.draw(
        len(difference), block_length(difference), resamples=RESAMPLES, rng=np.random.default_rng(SEED)
    )
    return {
        "bits_clean": float(was.mean()),
        "bits_manipulated": float(now.mean()),
        "difference": float(difference.mean()),
        "interval": interval(blocks.sums(difference[:, None])[:, 0] / blocks.drawn),
        "block_events": blocks.length,
    }


def _since_added(origin: np.ndarray) -> np.ndarray:
    """Return the number of real events between each event and the last added one, int64 [E']; negative before it."""
    real = np.cumsum(origin != ADDED)
    last = np.maximum.accumulate(np.where(origin == ADDED, real, -1))
    return np.where(last >= 0, real - last - 1, -1)


def _by_distance(difference: np.ndarray, since: np.ndarray) -> list[dict[str, Any]]:
    group = np.searchsorted(DISTANCES, since, side="right") - 1
    parts = [difference[group == k] for k in range(len(DISTANCES))]
    return [
        {"from": first, "events": len(part), "difference": float(part.mean()) if len(part) else None}
        for first, part in zip(DISTANCES, parts, strict=True)
    ]


def _directions(
    scorer: Scorer,
    clean: Sequence[Record],
    made: Sequence[tuple[Record, AlteredDay]],
    rows: Sequence[np.ndarray],
    *,
    most: int,
) -> dict[str, Any]:
    """Return the macro F1 of the first events, at most so many, whose direction is known in both streams."""
    before, after, labels, left = [], [], [], most
    for record, (altered_record, day), row in zip(clean, made, rows, strict=True):
        one, other = record_moves(record, scorer.tokenizer), record_moves(altered_record, scorer.tokenizer)
        chosen = row[one.known[day.origin[row]] & other.known[row]][:left]
        left -= len(chosen)
        labels.append(one.label[day.origin[chosen]])
        before.append(np.isin(np.arange(len(one.label)), day.origin[chosen]))
        after.append(np.isin(np.arange(len(other.label)), chosen))
    label = np.concatenate(labels)
    names = ("macro_f1_clean", "macro_f1_manipulated")
    if not len(label):
        return {"direction_events": 0, **dict.fromkeys(names)}
    streams = (clean, before), ([record for record, _ in made], after)
    found = (scorer.macro_f1(records, asked, label) for records, asked in streams)
    return {"direction_events": len(label), **dict(zip(names, found, strict=True))}
