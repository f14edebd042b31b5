"""Stream events while they are generated."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from lob_jax.book.replay import snapshots_at
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Events
from lob_jax.generation.device.state import Prompt, SamplingConfig
from lob_jax.generation.loop import WORDS, check_refused, flow
from lob_jax.models.config import ModelConfig
from lob_jax.tokens.load import AnyTokenizer
from lob_jax.tokens.vocabulary import FIELD_HEAD, PAD, field_of


def stream(
    params: Any,
    prompt: Prompt,
    *,
    model: ModelConfig,
    tokenizer: AnyTokenizer,
    instrument: Instrument,
    sampling: SamplingConfig,
) -> Iterator[list[Events]]:
    """Yield events as they are generated: whenever tokens reach the host, each path's newly completed events.

    Arguments, errors and, taken together, the events are those of `loop.generate`.
    """
    begun = flow(params, prompt, model=model, tokenizer=tokenizer, instrument=instrument, sampling=sampling)
    behind = WORDS[tokenizer.vocabulary.tokenizer].behind
    readers = [_Reader(tokenizer, instrument, prompt.start, behind) for _ in range(sampling.paths)]
    for piece in begun.pieces:
        check_refused(int(piece.paths.book.refused.sum()))
        yield [reader.take(row[row != PAD]) for reader, row in zip(readers, piece.tokens_BT, strict=True)]


class _Reader:
    """Decode the tokens of one path incrementally."""

    def __init__(self, tokenizer: AnyTokenizer, instrument: Instrument, start: BookSnapshot, behind: int):
        self._tokenizer, self._instrument, self._start, self._behind = tokenizer, instrument, start, behind
        self._held = np.empty(0, np.int32)

    def take(self, tokens: np.ndarray) -> Events:
        """Return the events completed by these tokens."""
        held = np.concatenate([self._held, tokens])
        heads = np.flatnonzero(field_of(held) == FIELD_HEAD)
        whole = len(held) if not self._behind else heads[-1] if len(heads) else 0
        self._held = held[whole:]
        book = {"start": self._start, "corrections": Corrections.none()}
        events = self._tokenizer.decode(held[:whole], instrument=self._instrument, **book)
        if len(events):
            (after,) = snapshots_at(events, **book, at=np.array([len(events)]))
            self._start = dataclasses.replace(after, time_ns=int(events.time_ns[-1]))
        return events
