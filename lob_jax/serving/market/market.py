"""`LiveMarket`: the events of one market, followed one after another."""

import copy

import numpy as np

from lob_jax.book.kernel import to_snapshot
from lob_jax.book.loops import CorrectionColumns, EventColumns, as_column, event_columns, most_added
from lob_jax.book.orders import END, FIRST, PRICE, SIZE
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.errors import InputError
from lob_jax.events.halts import OPEN
from lob_jax.events.instrument import NS_PER_DAY
from lob_jax.events.schema import Events
from lob_jax.export.contents import Contents
from lob_jax.generation.prompt import NO_REVEALS, Prompt, RevealDistribution
from lob_jax.serving.market.behind import out_of_view
from lob_jax.serving.market.carried import nothing_carried
from lob_jax.serving.market.compact import follow_compact, new_bin_work
from lob_jax.serving.market.errors import event_error
from lob_jax.serving.market.exact import follow_exact
from lob_jax.serving.market.faults import FINE, Limits
from lob_jax.serving.market.inputs import inputs_of, read_by
from lob_jax.serving.market.opening import check_book, checked_corrections, dated
from lob_jax.serving.market.state import (
    CLOCK,
    CLOSED,
    EVENTS,
    Rows,
    State,
    copied,
    copied_state,
    nbytes,
    new_rows,
    new_state,
    roomier,
)
from lob_jax.tokens.numbers import ALL_DIGITS
from lob_jax.tokens.sets.escape import Escape
from lob_jax.tokens.tokenizer import Tokenizer
from lob_jax.tokens.vocabulary import BOS

NO_EVENTS, NO_CORRECTIONS = Events.from_columns(), Corrections.none()
_OF_BOOK = ("book", "anchors", "regime")  # inputs that a correction changes after the last event
_REASONS = ["" if escape is Escape.INSIDE else escape.name for escape in Escape]


class LiveMarket:
    """The events of one market, followed one after another.

    After any events, in whatever calls they came, `prompt` is that of `lob_jax.runs.exported.prompt_for` for a day that
    consists of them, and the inputs that `take` has returned are those of its tokens.

    Attributes:
      instrument: the instrument on the day that is followed, which is that of the opening book in the venue's time
        zone.
      outside: of each event of the last call, why the book before it does not allow it, by the name of an `Escape`; ""
        where it does.
    """

    def __init__(
        self,
        history_book: BookSnapshot,
        *,
        contents: Contents,
        tokenizer: Tokenizer,
        closed: int = OPEN,
        may_cross: bool = False,
    ):
        """Begin to follow a market.

        Args:
          history_book: the book before the first event, and the time of what came before it.
          contents: those of the model.
          tokenizer: that of the model's vocabulary.
          closed: what is closed at the opening, see `lob_jax.events.halts`.
          may_cross: whether best prices may cross although nothing is closed, as in feeds that show an order before its
            executions; otherwise, an order that would trade at once is refused.

        Raises:
          InputError: the book is invalid, or the model reads what its tokens cannot say.
        """
        self.instrument = dated(contents.instrument, history_book.time_ns)
        check_book(history_book, self.instrument, closed=closed, may_cross=may_cross)
        self._read = read_by(contents, self.instrument)
        self._contents, vocabulary = contents, tokenizer.vocabulary
        self._bins = None if vocabulary.bins is None else new_bin_work(vocabulary.bins)
        for name, option in (("anchors", "pointer"), ("price_memory", "price_memory")):
            if self._bins is not None and name in self._read.names:
                raise _no_price(option, tokenizer.name)
        self._state = new_state(
            history_book,
            self.instrument,
            gap_digits=vocabulary.time_digits or ALL_DIGITS,
            ranks=vocabulary.has_ranks,
            closed=closed,
            reads_latest="latest" in self._read.names,
            reads_past="price_memory" in self._read.names,
            one_book=self._bins is not None,
        )
        last_ns = self._read.units.midnight_ns + 2 * NS_PER_DAY - 1
        self._limits = Limits(self.instrument.tick, int(self.instrument.signed), last_ns, int(may_cross))
        self._carried = nothing_carried(history_book.time_ns)
        self.outside: list[str] = []
        self._last, self._after = self._now(), 1

    @property
    def events(self) -> int:
        """Return how many events were taken."""
        return int(self._state.number[EVENTS])

    @property
    def time_ns(self) -> int:
        """Return the time of the last event, UNIX ns."""
        return int(self._state.number[CLOCK])

    @property
    def closed(self) -> int:
        """Return what is closed, see `lob_jax.events.halts`."""
        return int(self._state.number[CLOSED])

    @property
    def bid(self) -> tuple[int, int] | None:
        """Return price quanta and lots of the best bid, None if there is none."""
        return self._best(0)

    @property
    def ask(self) -> tuple[int, int] | None:
        """Return price quanta and lots of the best ask, None if there is none."""
        return self._best(1)

    @property
    def book(self) -> BookSnapshot:
        """Return the book after the last event."""
        return to_snapshot(self._state.book, self.time_ns)

    @property
    def corrected(self) -> tuple[int, dict[str, np.ndarray]]:
        """Return at how many last tokens the book after the last event is known, and what is: with later corrections.

        `take` has returned what was known of it then, under the same names; [1, ...] each.
        """
        return self._after, {name: self._last[name] for name in _OF_BOOK if name in self._last}

    @property
    def nbytes(self) -> int:
        """Return the bytes of what is carried from event to event."""
        return nbytes((self._state, self._carried))

    def take(
        self, events: Events, corrections: Corrections = NO_CORRECTIONS, *, first: int = 0
    ) -> dict[str, np.ndarray]:
        """Take all events or, if one contradicts the market, none; return the model's inputs at their tokens.

        A correction of event i takes effect after it, one of event -1 before the first. What was returned at earlier
        tokens stays as it was.

        Args:
          events: E events, in the order of the exchange.
          corrections: level sizes of the feed's own book, see `Corrections`.
          first: the number of the first event in errors.

        Returns:
          The inputs, [T, ...] by name: "tokens", int32, and those of `Prompt.known_T`.

        Raises:
          EventError: an event contradicts the market, or no token can say it.
          InputError: a correction is invalid.
        """
        corrected = checked_corrections(corrections, self.instrument, events=len(events))
        columns, time_ns = event_columns(events), as_column(events.time_ns, np.int64)
        # The loop looks at an event before it changes anything: a single one needs no copy.
        ahead = len(corrected.event) > 0 and corrected.event[0] < 0
        state = copied_state(self._state) if len(events) > 1 or ahead else self._state
        state, clock_ns, number = roomier(state, most_added(columns, corrected)), self.time_ns, self.events
        rows = self._rows(len(events))
        done, tokens, fault = self._follow(state, columns, time_ns, corrected, rows)
        if fault != FINE:
            clock_ns = int(state.number[CLOCK])
            raise event_error(fault, done, events, state.book, clock_ns, self.instrument, first=first)
        self._state = state
        self.outside = [_REASONS[escape] for escape in rows.outside.tolist()]
        taken = self._inputs(rows, columns, time_ns, clock_ns=clock_ns, first=number, tokens=tokens)
        if tokens:
            self._last = {name: array[-1:].copy() for name, array in taken.items()}
            self._after = int(np.count_nonzero(rows.book_row[:tokens] == len(events)))
        elif ahead:
            self._last |= {name: array for name, array in self._now().items() if name in _OF_BOOK}
        return taken

    def prompt(self, *, number: int = 0) -> Prompt:
        """Return the market now as a prompt of one token, the last one; before the first event, of BOS.

        Args:
          number: see `Prompt`.
        """
        contents, state, names = self._contents, self._state, self._read.names
        book, known = self.book, dict(self._last)
        optional = {}
        if "queue" in names:
            optional["recent"] = state.recent.astype(np.int32)
        if "anchors" in names:
            optional["remembered"] = state.remembered.copy()
        if "price_memory" in names:
            optional["past"] = state.past.copy()
        return Prompt(
            tokens_T=known.pop("tokens"),
            known_T=known,
            book=book,
            clock_ns=self.time_ns,
            closed=self.closed,
            number=number,
            behind=out_of_view(state.book, state.behind),
            reveals=RevealDistribution(*contents.reveals) if book.window else NO_REVEALS,
            largest=contents.largest,
            flow=copied(self._carried.flow) if "flow" in names else None,
            **optional,
        )

    def copy(self) -> "LiveMarket":
        """Return an independent copy."""
        other = copy.copy(self)
        other._state, other._carried = copied_state(self._state), copied(self._carried)
        other._last, other.outside = dict(self._last), list(self.outside)
        return other

    def _best(self, s: int) -> tuple[int, int] | None:
        book = self._state.book
        first, end = book.side[s, [FIRST, END]].tolist()
        return tuple(book.levels[s, end - 1, [PRICE, SIZE]].tolist()) if end > first else None

    def _rows(self, events: int) -> Rows:
        return new_rows(events, levels=self._read.levels, compact=self._bins is not None, **self._read.noted)

    def _follow(
        self, state: State, columns: EventColumns, time_ns: np.ndarray, corrected: CorrectionColumns, rows: Rows
    ) -> tuple[int, int, int]:
        given = (state, columns, time_ns, corrected, self._limits, rows)
        return follow_exact(*given) if self._bins is None else follow_compact(*given, self._bins)

    def _inputs(
        self, rows: Rows, columns: EventColumns, time_ns: np.ndarray, *, clock_ns: int, first: int, tokens: int
    ) -> dict[str, np.ndarray]:
        """Return the inputs at the tokens of some events, the first of which has the number `first`."""
        known = inputs_of(self._read, rows, self._carried, columns, time_ns, clock_ns=clock_ns, tokens=tokens)
        of_first = first - (self._bins is not None)  # a compact token knows its own event's clock
        return {"tokens": rows.tokens[:tokens].copy(), "event": rows.clock_row[:tokens] + np.int32(of_first), **known}

    def _now(self) -> dict[str, np.ndarray]:
        """Return the inputs at a BOS that would come next."""
        rows, given = self._rows(0), (event_columns(NO_EVENTS), as_column(NO_EVENTS.time_ns, np.int64))
        corrected = checked_corrections(NO_CORRECTIONS, self.instrument, events=0)
        self._follow(self._state, *given, corrected, rows)
        rows.tokens[:1] = BOS
        for leaf in (rows.clock_row, rows.book_row, rows.queue, rows.price_memory, rows.latest):
            leaf[:1] = 0
        found = self._inputs(rows, *given, clock_ns=self.time_ns, first=self.events, tokens=1)
        return {**found, "event": np.array([self.events - 1], np.int32)}


def _no_price(option: str, tokenizer: str) -> InputError:
    return InputError(
        f"a model with {option} needs exact tokens to follow a market",
        where="the vocabulary of the model",
        expected="exact",
        was=tokenizer,
        remedy=f"serve a model without model.{option}, or one of exact tokens",
    )
