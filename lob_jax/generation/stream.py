"""Stream events while they are generated."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import snapshots_at
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Events
from lob_jax.generation.device.state import Prompt, SamplingConfig
from lob_jax.generation.loop import WORDS, as_prompts, check_refused, flow
from lob_jax.models.config import ModelConfig
from lob_jax.tokens.tokenizer import Tokenizer
from lob_jax.tokens.vocabulary import FIELD_HEAD, PAD, field_of


def stream(
    params: Any,
    prompt: Prompt | Sequence[Prompt],
    *,
    model: ModelConfig,
    tokenizer: Tokenizer,
    instrument: Instrument,
    sampling: SamplingConfig,
) -> Iterator[list[Events]]:
    """Yield events as they are generated: whenever tokens reach the host, each path's newly completed events.

    Arguments, errors and, taken together, the events are those of `loop.generate`.
    """
    begun = flow(params, prompt, model=model, tokenizer=tokenizer, instrument=instrument, sampling=sampling)
    behind = WORDS[tokenizer.vocabulary.tokenizer].behind
    starts = [each.start for each in as_prompts(prompt) for _ in range(sampling.paths)]
    readers = [_Reader(tokenizer, instrument, start, behind) for start in starts]
    for piece in begun.pieces:
        check_refused(int(piece.paths.book.refused.sum()))
        yield [reader.take(row[row != PAD]) for reader, row in zip(readers, piece.tokens_BT, strict=True)]


class _Reader:
    """Decode the tokens of one path incrementally."""

    def __init__(self, tokenizer: Tokenizer, instrument: Instrument, start: BookSnapshot, behind: int):
        self._tokenizer, self._opening, self._behind = tokenizer, MarketDay.opening(instrument, start), behind
        self._held = np.empty(0, np.int32)

    def take(self, tokens: np.ndarray) -> Events:
        """Return the events completed by these tokens."""
        held = np.concatenate([self._held, tokens])
        heads = np.flatnonzero(field_of(held) == FIELD_HEAD)
        whole = len(held) if not self._behind else heads[-1] if len(heads) else 0
        self._held = held[whole:]
        day = self._opening.with_events(self._tokenizer.decode(held[:whole], self._opening))
        (after,) = snapshots_at(day, np.array([len(day.events)]))
        self._opening = MarketDay.opening(day.instrument, after)
        return day.events
