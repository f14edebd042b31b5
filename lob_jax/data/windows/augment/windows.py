"""`AlteredWindows`: training windows whose events are altered at random each time that they are drawn."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.data.records.flow import read_flow
from lob_jax.data.records.records import Record, day_record, read_record
from lob_jax.data.windows.augment.altered import ADDED, Alteration, AlteredDay, altered
from lob_jax.data.windows.dataset import Span, TokenBookDataset, Window
from lob_jax.data.windows.known import FLOW
from lob_jax.tokens.tokenizer import Ability, Tokenizer, require

KEPT_DAYS = 64  # decoded records in memory
NONE: Mapping[Span, Sequence[Alteration]] = {}


class AlteredWindows:
    """The windows of a `TokenBookDataset` as they are, and altered ones, by index and a source of randomness.

    An altered window begins at the same token as its original: nothing before it is altered, nor the event that this
    token belongs to. What follows is spelt, and the inputs known at each token are computed, from the altered day as
    from any other. Added events are no targets.
    """

    def __init__(
        self,
        windows: TokenBookDataset,
        alterations: Sequence[Alteration],
        *,
        tokenizer: Tokenizer,
        book_levels: int,
        of_span: Mapping[Span, Sequence[Alteration]] = NONE,
    ):
        """Set up the windows.

        Args:
          windows: the windows of the training split.
          alterations: what is altered, in this order.
          tokenizer: the tokenizer of the records.
          book_levels: levels per side in the book features.
          of_span: what is altered first in single windows, where events still have their index in the record.

        Raises:
          InputError: the tokens do not give the events of a record back.
        """
        require(tokenizer, Ability.EVENTS, what="an augmentation of events", where="config.data.augment")
        self.windows, self.alterations, self.evaluation = windows, tuple(alterations), windows.evaluation
        self.tokenizer, self.book_levels, self.of_span = tokenizer, book_levels, of_span
        self._days: collections.OrderedDict[int, tuple[Record, MarketDay]] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Window:
        """Return one window as it is."""
        return self.windows[index]

    def blank(self) -> Window:
        """Return a window of padding without targets, in the shape of the others."""
        return self.windows.blank()

    def drawn(self, index: int, random: np.random.Generator) -> Window:
        """Return one window, altered."""
        span = self.windows.spans[index]
        return self.cut(span, random)[0] if self._of(span) else self.windows[index]

    def _of(self, span: Span) -> tuple[Alteration, ...]:
        return (*self.of_span.get(span, ()), *self.alterations)

    def cut(self, span: Span, random: np.random.Generator) -> tuple[Window, AlteredDay]:
        """Return the altered window of a span, and the altered day that it is cut from, which ends soon behind it."""
        record, whole = self._day(span.record)
        first, stop = self._reach(span)
        day = whole.part(0, stop, start=whole.start)
        found = altered(day, self._of(span), first=first, closed=int(record["closed"]), random=random)
        flow = read_flow(record) if FLOW in self.windows.beside.names else None
        known = {"book_levels": self.book_levels, "closed": int(record["closed"]), "flow": flow}
        prepared = self.windows.prepare(day_record(found.day, 0, len(found.day.events), self.tokenizer, **known))
        score_to = min(span.start + self.windows.own_context + 1, len(prepared.tokens))
        window = self.windows.cut_from(prepared, dataclasses.replace(span, score_to=score_to))
        is_added = np.append(found.origin == ADDED, False)  # the last entry is for the events -1, of padding and BOS
        return {**window, "scored": window["scored"] & ~is_added[window["event"]]}, found

    def _reach(self, span: Span) -> tuple[int, int]:
        """Return the first event that may be altered, and the end of those that the altered window may need.

        Twice as many as the window has, so that half of them may be left out, and those that its labels look ahead to.
        """
        event, outlooks = self.windows.prepared(span.record).event, self.windows.beside.outlooks
        ahead = max(outlooks.horizons) if outlooks is not None else 0
        first = int(event[span.start]) + 1 if span.start >= 0 else 0
        last = int(event[min(span.start + self.windows.context, len(event) - 1)])
        return max(first, 1), min(first + 2 * (last + 1 - first) + ahead, int(event[-1]) + 1)

    def _day(self, index: int) -> tuple[Record, MarketDay]:
        """Return a record and its decoded day, from memory if possible."""
        if index not in self._days:
            record = self.windows.source[index]
            self._days[index] = record, read_record(record, self.tokenizer)
            if len(self._days) > KEPT_DAYS:
                self._days.popitem(last=False)
        self._days.move_to_end(index)
        return self._days[index]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_days": collections.OrderedDict()}
