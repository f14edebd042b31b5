"""`TokenBookDataset`: windows of tokens, with the inputs known at each token, cut from records."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from lob_jax.data.records.records import Outline, Record, RecordSource, outline
from lob_jax.data.windows.known import NOTHING, SETS, Beside, Known, along, known_along, sets_along
from lob_jax.data.windows.sets import RecordSets
from lob_jax.errors import InputError
from lob_jax.tokens.sets.distinct import DistinctSets, join_sets, joined_shapes
from lob_jax.tokens.sets.token_sets import TokenSets
from lob_jax.tokens.vocabulary import BOS, PAD, REGIME_BASE

Window = dict[str, np.ndarray]
Shapes = dict[str, tuple[tuple[int, ...], Any]]  # of arrays and their dtypes
Allocate = Callable[[Shapes], Window]  # to arrays of any content

CACHE_BYTES = 256 * 2**20
SET_ARRAYS = tuple(f"{SETS}/{name}" for name in DistinctSets._fields)  # of several windows, in place of SETS
MOST_TIME_BUCKETS = 86_400  # of one second; the product with the nanoseconds of a day must not overflow an int64


@dataclasses.dataclass(frozen=True)
class Span:
    """One window in a record's tokens; position -1 is the BOS before the first event of a day.

    Attributes:
      record: index of the record.
      start: position of the window's first token.
      score_from: position of the first token that is a target.
      score_to: position after the last target.
    """

    record: int
    start: int
    score_from: int
    score_to: int


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedRecord:
    """A record in the form that windows are cut from: its tokens, and the inputs known at each.

    Attributes:
      tokens: int32 [T], without EOS.
      event: int32 [T], the event that a token belongs to.
      clock_row: int32 [T], the row of the record's clock that is known after a token, see `Along`.
      book_row: int32 [T], the row of the book that is known after a token.
      known: the additional arrays of windows, by name.
      sets: the sets in the places of the tokens, if windows are cut that have them; it grows.
    """

    tokens: np.ndarray
    event: np.ndarray
    clock_row: np.ndarray
    book_row: np.ndarray
    known: dict[str, Known]
    sets: RecordSets | None = None

    def nbytes(self) -> int:
        """Return the number of bytes of all arrays; an array that is shared counts once."""
        return self._own_nbytes + (self.sets.nbytes if self.sets else 0)

    @functools.cached_property
    def _own_nbytes(self) -> int:
        known = [array for one in self.known.values() for array in (one.values, one.row)]
        arrays = (self.tokens, self.event, self.clock_row, self.book_row, *known)
        held = {id(array): array for array in arrays}
        return sum(array.nbytes for array in held.values())


class TokenBookDataset:
    """Windows of context + 1 tokens, by index: a Grain random-access source.

    A window is a dict of NumPy arrays over its T+1 tokens, see `lob_jax.models.inputs`:
      tokens int32 [T+1], PAD after the end of the record;
      scored bool [T+1], whether the token is a target;
      event int32 [T+1], index within the record, -1 for BOS and padding;
      record int32 (), position int32 (): the record, and where the window starts in its tokens;
    and the arrays that `beside` names, see `lob_jax.data.windows.known`. Labels belong to the book that has just
    advanced: they are at the first time token of an event; direction is -1 elsewhere.

    Entry t is what is known once token t has been read. The book advances at the first time token of an event, when
    everything but the event's time has been read; the clock advances at the head of the next event. What is known of
    the next token's place is known then, too: entry t of `state` and `allowed` is about token t + 1. EOS is in no
    window; BOS is at position -1, before the first event of a day.

    Training windows are consecutive, and each starts with the last token of the previous one, so that every token after
    the lead is a target once; a last window with less than a quarter of the targets is dropped. With a prefix, the
    first token of a window is REGIME k, which is not a target and whose inputs are those known before the next token;
    the window then has one token of its record less.
    Evaluation windows overlap, so that every such token is a target exactly once and has at least half a context before
    it, except at the start of a day.
    """

    def __init__(
        self,
        source: RecordSource,
        *,
        context: int,
        time_buckets: int,
        evaluation: bool,
        beside: Beside = NOTHING,
        cache_bytes: int = CACHE_BYTES,
    ):
        """Lay out the windows.

        Args:
          source: records by index.
          context: T, context length of the model, in tokens.
          time_buckets: number of time buckets per day.
          evaluation: whether windows overlap for evaluation.
          beside: the additional arrays of windows.
          cache_bytes: memory for records that have been read; 0 keeps only the last.

        Raises:
          InputError: the context has fewer than 2 tokens, buckets are shorter than a second, or the records were made
            for a shorter context.
        """
        _check_sizes(context, time_buckets)
        self.source, self.context, self.time_buckets, self.evaluation = source, context, time_buckets, evaluation
        outlines = getattr(source, "outlines", None)
        if outlines is None:
            outlines = [outline(source[index]) for index in range(len(source))]
        self.beside = beside
        lay_out = evaluation_spans if evaluation else training_spans
        self.spans = [
            Span(record, *span)
            for record, about in enumerate(outlines)
            for span in lay_out(about, context=self.own_context)
        ]
        self._cache = RecordCache(cache_bytes)

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, index: int) -> Window:
        """Return one window."""
        return self.cut(self.spans[index])

    def together(self, indices: Sequence[int], allocate: Allocate) -> Window:
        """Return the windows of some indices, at least one, with a leading axis B.

        Args:
          indices: indices of B windows.
          allocate: makes the arrays, whose content is then overwritten.

        Returns:
          The windows without SETS. If they have it, the sets in the places of the next tokens are there as arrays of
          `DistinctSets` with B (T+1) rows, see `sets_in`.
        """
        spans, prefix = [self.spans[index] for index in indices], self.beside.prefix
        records, sets = [], []
        for span in spans:
            record = self.prepared(span.record)
            records.append(record)
            if record.sets is not None:
                sets.append(record.sets.places(span.start + 1 - prefix, self.context + 1))
                self._cache.measure(span.record)
        windows = allocate(shapes_of(records[0], len(spans), self.context) | (_shapes_of_sets(sets) if sets else {}))
        for row, (record, span) in enumerate(zip(records, spans, strict=True)):
            write_window(windows, row, record, span, prefix=prefix)
        if sets:
            join_sets(sets, DistinctSets(*(windows[name] for name in SET_ARRAYS)))
        return windows

    def cut(self, span: Span) -> Window:
        """Return the window of a span."""
        window = self.cut_from(self.prepared(span.record), span)
        self._cache.measure(span.record)
        return window

    def cut_from(self, record: PreparedRecord, span: Span) -> Window:
        """Return the window of a span of a given record."""
        return cut_window(record, span, context=self.context, prefix=self.beside.prefix)

    @property
    def own_context(self) -> int:
        """Return how many tokens of its record a window has behind the first, without those of a prefix."""
        return self.context - self.beside.prefix

    def blank(self) -> Window:
        """Return a window of padding without targets, in the shape of the others."""
        if not self.spans:
            raise InputError(
                "there are no windows",
                where="TokenBookDataset",
                expected="at least one record with a token to score",
                was=f"{len(self.source)} records",
                remedy="prepare more events",
            )
        record = self.prepared(self.spans[0].record)
        behind = len(record.tokens)
        window = cut_window(record, Span(0, behind, behind, behind), context=self.context)
        return {**window, "position": np.zeros_like(window["position"])}

    def prepared(self, record: int) -> PreparedRecord:
        """Return a record in the form that windows are cut from, from the cache if possible."""
        prepared = self._cache.get(record)
        if prepared is None:
            source = self.source[record]
            prepared = self.prepare(source)
            self._cache.put(record, prepared)
        return prepared

    def prepare(self, record: Record) -> PreparedRecord:
        """Return any record in the form that windows are cut from."""
        prepared = prepare_record(record, time_buckets=self.time_buckets, beside=self.beside)
        return dataclasses.replace(prepared, sets=sets_along(record, self.beside))

    def sets(self, record: int) -> TokenSets:
        """Return the sets in the places of a record's tokens, which windows have; from the cache if possible."""
        sets = self.prepared(record).sets
        assert sets is not None, "windows have no sets"
        whole = sets.whole()
        self._cache.measure(record)
        return whole


def _check_sizes(context: int, time_buckets: int) -> None:
    if context < 2:
        raise InputError(
            "the context is too short",
            where="config.model.max_seq_length",
            expected="at least 2 tokens",
            was=context,
            remedy="raise it",
        )
    if not 1 <= time_buckets <= MOST_TIME_BUCKETS:
        raise InputError(
            "an invalid number of time buckets",
            where="config.model.time_buckets",
            expected=f"within 1..{MOST_TIME_BUCKETS}",
            was=time_buckets,
            remedy="use 288 for buckets of five minutes",
        )


class RecordCache:
    """A cache of the most recently used records, within a budget of bytes; it is pickled empty."""

    def __init__(self, budget: int):
        self.budget, self.used = budget, 0
        self._records: collections.OrderedDict[int, PreparedRecord] = collections.OrderedDict()
        self._nbytes: dict[int, int] = {}

    def get(self, index: int) -> PreparedRecord | None:
        """Return a record, or None if it is not in the cache."""
        if index in self._records:
            self._records.move_to_end(index)
        return self._records.get(index)

    def put(self, index: int, record: PreparedRecord) -> None:
        """Add a record, and evict the least recently used ones."""
        self._records[index] = record
        self.measure(index)

    def measure(self, index: int) -> None:
        """Take into account that a record in the cache may have grown."""
        nbytes = self._records[index].nbytes()
        self.used += nbytes - self._nbytes.get(index, 0)
        self._nbytes[index] = nbytes
        while self.used > self.budget and len(self._records) > 1:  # the newest stays, even if it exceeds the budget
            self.used -= self._nbytes.pop(self._records.popitem(last=False)[0])

    def __len__(self) -> int:
        return len(self._records)

    def __getstate__(self) -> dict[str, Any]:
        return vars(RecordCache(self.budget))


def training_spans(about: Outline, *, context: int) -> Iterator[tuple[int, int, int]]:
    """Yield (start, score_from, score_to) of a record's training windows."""
    begin, first = _bounds(about)
    for start in range(max(first - 1, begin), about.tokens - 1, context):
        end = min(start + context + 1, about.tokens)
        if 4 * (end - start - 1) >= context or start < first:
            yield start, start + 1, end


def evaluation_spans(about: Outline, *, context: int) -> Iterator[tuple[int, int, int]]:
    """Yield (start, score_from, score_to) of a record's evaluation windows.

    Raises:
      InputError: the record's lead is shorter than half a context, and the record is not at the start of a day.
    """
    begin, first = _bounds(about)
    if about.first_event > 0 and first - begin < context // 2:
        raise InputError(
            "a record's lead is shorter than half a context",
            where=f"the record that starts at event {about.first_event} of its day",
            expected=f"at least {context // 2} tokens",
            was=first - begin,
            remedy="prepare the records for this context",
        )
    history = context + 1 - context // 2
    while first < about.tokens:
        end = min(max(begin, first - history) + context + 1, about.tokens)
        yield max(begin, end - context - 1), first, end
        first = end


def _bounds(about: Outline) -> tuple[int, int]:
    """Return the first position at which a window may start, and the first target."""
    begin = -1 if about.first_event == 0 else 0
    return begin, max(about.lead_tokens, begin + 1)


def prepare_record(record: Record, *, time_buckets: int, beside: Beside = NOTHING) -> PreparedRecord:
    """Compute the inputs known at each token of a record, without the sets, which prompts have no use for."""
    read = along(record, time_buckets=time_buckets, beside=beside)
    return PreparedRecord(
        tokens=record["tokens"][:-1].astype(np.int32),
        event=read.event,
        clock_row=read.clock_row,
        book_row=read.book_row,
        known=known_along(read),
    )


def cut_window(record: PreparedRecord, span: Span, *, context: int, prefix: bool = False) -> Window:
    """Return one window of a record; with a prefix, `span` is that of the tokens behind it, see `write_window`."""
    windows = {name: np.empty(*of) for name, of in shapes_of(record, 1, context).items()}
    write_window(windows, 0, record, span, prefix=prefix)
    if record.sets is not None:
        windows[SETS] = record.sets.places(span.start + 1 - prefix, context + 1).packed()[None]
    return {name: array[0, ...] for name, array in windows.items()}


def shapes_of(record: PreparedRecord, count: int, context: int) -> Shapes:
    """Return the arrays of so many windows of records like a given one; SETS is not among them."""
    each: Shapes = {"tokens": ((), np.int32), "scored": ((), np.bool_), "event": ((), np.int32)}
    each |= {name: (known.values.shape[1:], known.values.dtype) for name, known in record.known.items()}
    shapes = {name: ((count, context + 1, *axes), dtype) for name, (axes, dtype) in each.items()}
    return shapes | {name: ((count,), np.int32) for name in ("record", "position")}


def _shapes_of_sets(parts: Sequence[DistinctSets]) -> Shapes:
    """Return the arrays of the sets of several windows, by SET_ARRAYS."""
    return dict(zip(SET_ARRAYS, joined_shapes(parts), strict=True))


def sets_in(windows: Window) -> DistinctSets | None:
    """Return the sets of windows that `TokenBookDataset.together` has made, if they have any."""
    if SET_ARRAYS[0] not in windows:
        return None
    return DistinctSets(*(windows[name] for name in SET_ARRAYS))


def write_window(windows: Window, row: int, record: PreparedRecord, span: Span, *, prefix: bool) -> None:
    """Write one window of a record to a row of several windows, see `shapes_of`.

    With a prefix, the first token is that of the regime before the span, with the inputs known before its first token.
    """
    lines = {name: array[row] for name, array in windows.items() if array.ndim > 1}
    windows["record"][row], windows["position"][row] = span.record, span.start - prefix
    _write_stretch({name: line[prefix:] for name, line in lines.items()}, record, span)
    if prefix:
        first: dict[str, Any] = {name: known.behind(span.start) for name, known in record.known.items()}
        first |= {"tokens": REGIME_BASE + first["regime"], "scored": False, "event": lines["event"][1]}
        for name, value in first.items():
            lines[name][0] = value


def _write_stretch(lines: Window, record: PreparedRecord, span: Span) -> None:
    """Write the tokens of a span and what is known at each, with BOS before the record and padding behind it."""
    length = len(lines["tokens"])
    low, high = max(span.start, 0), min(span.start + length, len(record.tokens))
    inside, before, behind = slice(low - span.start, high - span.start), low - span.start, high - span.start
    for name, array, first, blank in (("tokens", record.tokens, BOS, PAD), ("event", record.event, -1, -1)):
        lines[name][:before], lines[name][inside], lines[name][behind:] = first, array[low:high], blank
    lines["scored"][:] = False
    lines["scored"][span.score_from - span.start : span.score_to - span.start] = True
    for name, known in record.known.items():
        known.write(slice(low, high), lines[name][inside])
        lines[name][:before], lines[name][behind:] = known.behind(0), known.blank
