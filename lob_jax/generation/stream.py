"""Stream events while they are generated."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import snapshots_at
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.events.instrument import Instrument
from lob_jax.generation.generated import check_refused
from lob_jax.generation.loop import WORDS, flow
from lob_jax.generation.paths import Row, corrections_of, path_day, rows_of
from lob_jax.generation.prompt import Prompt, as_prompts
from lob_jax.generation.settings import SamplingConfig
from lob_jax.models.config import ModelConfig
from lob_jax.tokens.tokenizer import Tokenizer
from lob_jax.tokens.vocabulary import FIELD_HEAD, field_of


def stream(
    params: Any,
    prompt: Prompt | Sequence[Prompt],
    *,
    model: ModelConfig,
    tokenizer: Tokenizer,
    instrument: Instrument,
    sampling: SamplingConfig,
) -> Iterator[list[MarketDay]]:
    """Yield events as they are generated: whenever tokens reach the host, each path's newly completed events.

    They come as a part of a day, with the book before them and with the levels that they brought into view. Arguments,
    errors and, taken together, the events are those of `loop.generate`.
    """
    begun = flow(params, prompt, model=model, tokenizer=tokenizer, instrument=instrument, sampling=sampling)
    behind = WORDS[tokenizer.vocabulary.tokenizer].behind
    starts = [each.start for each in as_prompts(prompt) for _ in range(sampling.paths)]
    readers = [
        _Reader(tokenizer, instrument, start, origin, behind)
        for start, origin in zip(starts, begun.origins, strict=True)
    ]
    for piece in begun.pieces:
        check_refused(int(piece.paths.book.refused.sum()))
        yield [reader.take(row) for reader, row in zip(readers, rows_of(piece.rows), strict=True)]


class _Reader:
    """Decode the tokens of one path incrementally."""

    def __init__(self, tokenizer: Tokenizer, instrument: Instrument, start: BookSnapshot, origin: int, behind: int):
        self._tokenizer, self._instrument, self._start = tokenizer, instrument, start
        self._origin, self._behind = origin, behind
        self._held: Row | None = None

    def take(self, row: Row) -> MarketDay:
        """Return the events that these tokens complete."""
        held = row if self._held is None else jax.tree.map(lambda *leaves: np.concatenate(leaves), self._held, row)
        heads = np.flatnonzero(field_of(held.tokens) == FIELD_HEAD)
        whole = len(held.tokens) if not self._behind else heads[-1] if len(heads) else 0
        self._held = jax.tree.map(lambda leaf: leaf[whole:], held)
        row = jax.tree.map(lambda leaf: leaf[:whole], held)
        corrections = corrections_of(row.tokens, row.revealed, origin=self._origin, tick=self._instrument.tick)
        how = {"tokenizer": self._tokenizer, "instrument": self._instrument}
        day = path_day(row.tokens, corrections, row.own, start=self._start, **how)
        (self._start,) = snapshots_at(day, np.array([len(day.events)]))
        return day
