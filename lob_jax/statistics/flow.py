"""`Flow`: sequences of messages, each with the book after it, in columns; real, generated, or of another project."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import replay
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import ANONYMOUS_ID, Kind

COLUMNS = ("time_ns", "kind", "side", "price", "size", "order_id", "book_price", "book_size")


@dataclasses.dataclass(frozen=True, eq=False)
class Flow:
    """S sequences of messages of one instrument, E messages in all, each with the book after it.

    Sequence s has the messages `edges[s]` to `edges[s + 1] - 1` of every column.

    Attributes:
      instrument: the units of prices and sizes.
      edges: int64 [S+1], non-decreasing, from 0 to E.
      time_ns: int64 [E], since midnight on the venue's clock; non-decreasing in a sequence unless the feed goes back.
      kind: uint8 [E], see `events.schema.Kind`; never CONTROL.
      side: int8 [E], +1 bid or -1 ask, the side of the resting order.
      price: int64 [E], price quanta.
      size: int64 [E], lots.
      order_id: uint64 [E], 0 if unknown.
      book_price: int64 [E, 2, P], price quanta, best first, bid then ask, 0 for an empty level.
      book_size: int64 [E, 2, P], lots, 0 for an empty level.
    """

    instrument: Instrument
    edges: np.ndarray
    time_ns: np.ndarray
    kind: np.ndarray
    side: np.ndarray
    price: np.ndarray
    size: np.ndarray
    order_id: np.ndarray
    book_price: np.ndarray
    book_size: np.ndarray

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.edges) - 1

    @property
    def levels(self) -> int:
        """P, the levels per side that the book shows."""
        return self.book_price.shape[2]

    def sequence(self) -> np.ndarray:
        """Return the sequence that each message belongs to, int64 [E]."""
        return np.repeat(np.arange(len(self)), np.diff(self.edges))

    def select(self, sequences: Sequence[int] | np.ndarray) -> "Flow":
        """Return some of the sequences, in the given order; one that is named twice occurs twice."""
        chosen = np.asarray(sequences, np.int64)
        lengths = np.diff(self.edges)[chosen]
        edges = np.concatenate([[0], np.cumsum(lengths)])
        rows = np.arange(edges[-1]) - np.repeat(edges[:-1] - self.edges[chosen], lengths)
        columns = {name: getattr(self, name)[rows] for name in COLUMNS}
        return dataclasses.replace(self, edges=edges, **columns)


def joined(flows: Sequence[Flow]) -> Flow:
    """Return the sequences of several flows, one flow after another; the book shows the fewest levels of any.

    Raises:
      InputError: there are none, or their prices or sizes have different units.
    """
    units = {(flow.instrument.price_scale, flow.instrument.tick, flow.instrument.lot_scale) for flow in flows}
    if len(units) != 1:
        raise InputError(
            "flows of different units",
            where="joined",
            expected="at least one flow, all with one price scale, tick and lot",
            was=sorted(units),
            remedy="compare instruments one by one",
        )
    levels = min(flow.levels for flow in flows)
    lengths = np.concatenate([np.diff(flow.edges) for flow in flows])
    columns = {name: [getattr(flow, name) for flow in flows] for name in COLUMNS}
    for name in ("book_price", "book_size"):
        columns[name] = [book[:, :, :levels] for book in columns[name]]
    return Flow(
        flows[0].instrument,
        np.concatenate([[0], np.cumsum(lengths)]),
        **{name: np.concatenate(column) for name, column in columns.items()},
    )


def flow_of_paths(days: Iterable[MarketDay], *, levels: int) -> Flow:
    """Return days, such as generated paths, as one sequence each; CONTROL events are left out.

    Args:
      days: the days, of one instrument.
      levels: P, occupied levels per side that the book shows.
    """
    return joined([flow_of_spans(day, np.array([[0, len(day.events)]]), levels=levels) for day in days])


def flow_of_spans(day: MarketDay, spans: np.ndarray, *, levels: int) -> Flow:
    """Return parts of a day as one sequence each, from one replay; CONTROL events are left out.

    Args:
      day: the day.
      spans: int64 [S, 2], first event of each part and the one after its last.
      levels: P, occupied levels per side that the book shows.

    Raises:
      InputError: a span is not within the day, or the day's corrections are out of order.
    """
    spans, count = np.asarray(spans, np.int64).reshape(-1, 2), len(day.events)
    if np.any(spans[:, 0] > spans[:, 1]) or np.any(spans < 0) or np.any(spans > count):
        raise InputError(
            "a sequence that is not within the day",
            where="flow_of_spans",
            expected=f"first and last within 0..{count}, in this order",
            was=spans.tolist()[:10],
            remedy="cut the sequences from the events that the day has",
        )
    rows = np.concatenate([np.zeros(0, np.int64), *(np.arange(first, last) for first, last in spans)])
    owner = np.repeat(np.arange(len(spans)), np.diff(spans)[:, 0])
    is_message = np.asarray(day.events.kind)[rows] != Kind.CONTROL
    rows, lengths = rows[is_message], np.bincount(owner[is_message], minlength=len(spans))
    events, states = day.events[rows], replay(day, levels)
    return Flow(
        day.instrument,
        np.concatenate([[0], np.cumsum(lengths)]),
        time_ns=events.time_ns - day.instrument.midnight_ns(),
        kind=events.kind,
        side=events.side,
        price=events.price,
        size=events.size,
        order_id=np.where(events.order_id == ANONYMOUS_ID, np.uint64(0), events.order_id),
        book_price=states.price[rows + 1],
        book_size=states.size[rows + 1],
    )


def disjoint_spans(count: int, *, length: int, sequences: int | None = None) -> np.ndarray:
    """Return spans of events that do not overlap, from the first event on, int64 [S, 2].

    Args:
      count: the number of events.
      length: events per span.
      sequences: at most so many, spread evenly over the events; None for all that fit.
    """
    fitting = count // length
    wanted = fitting if sequences is None else min(sequences, fitting)
    first = np.arange(wanted) * length if sequences is None else np.linspace(0, count - length, wanted).astype(np.int64)
    return np.stack([first, first + length], axis=1)
