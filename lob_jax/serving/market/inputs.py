"""What a model reads at the tokens of a live market, from what the compiled loops have noted."""

import dataclasses
import datetime

import numpy as np

from lob_jax.book.features import SPREAD, book_features, spread_ticks
from lob_jax.book.flow import DECAY_H, FLOW_FEATURES, FlowState, flow_features
from lob_jax.book.flow_loop import FlowEvents, follow_flow, mid_moves
from lob_jax.data.windows.known import MAKERS, time_bucket
from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.events.schema import Events
from lob_jax.export.contents import Contents, RegimeEdges
from lob_jax.models.inputs import BY_NAME, fields_held
from lob_jax.serving.market.regimes import Moved, follow_regimes
from lob_jax.serving.market.state import Rows


@dataclasses.dataclass(frozen=True, eq=False)
class Read:
    """What a model reads besides tokens.

    Attributes:
      names: of its inputs, in the order in which a `Prompt` has them, "event" left out.
      constant: those that are the same at every token, by name.
      levels: levels per side among the book features.
      time_buckets: time-of-day buckets per day.
      regimes: thresholds of regimes; None for a model that does not read them.
      midnight_ns: of the trading day, UNIX ns.
      tick: price quanta per tick.
    """

    names: tuple[str, ...]
    constant: dict[str, int]
    levels: int
    time_buckets: int
    regimes: RegimeEdges | None
    midnight_ns: int
    tick: int

    @property
    def noted(self) -> dict[str, bool]:
        """Return which inputs the compiled loops note for their own sake, see `new_rows`."""
        return {name: name in self.names for name in ("anchors", "queue", "latest")}


@dataclasses.dataclass(eq=False)
class Carried:
    """What inputs depend on besides the book, after the last event.

    Attributes:
      flow: the state of the flow, changed in place; None if no model reads it.
      clock_ns: the time that the gaps of all tokens lead to, UNIX ns.
      moved: what the regime depends on.
    """

    flow: FlowState | None
    clock_ns: int
    moved: Moved

    def copy(self) -> "Carried":
        """Return an independent copy."""
        flow = None if self.flow is None else FlowState(*(column.copy() for column in self.flow))
        return Carried(flow, self.clock_ns, self.moved)


def read_by(contents: Contents, instrument: Instrument) -> Read:
    """Return what the model of contents reads of an instrument on a day.

    Raises:
      InputError: the model was not trained on the instrument, or its thresholds are missing.
    """
    settings, model = contents.settings, contents.model
    names = [name for name in fields_held(model) if name in MAKERS and BY_NAME[name].advance is not None]
    constant = {"day_of_week": datetime.date.fromisoformat(instrument.trading_day).weekday()}
    if "instrument" in names:
        if instrument.symbol not in settings.symbols:
            raise _lacking("the symbol of the instrument", list(settings.symbols), instrument.symbol)
        constant["instrument"] = settings.symbols.index(instrument.symbol)
    if "regime" in names and settings.regimes is None:
        raise _lacking("the thresholds of regimes", "thresholds", None)
    return Read(
        names=tuple(names),
        constant={name: value for name, value in constant.items() if name in names},
        levels=settings.book_levels,
        time_buckets=model.time_buckets,
        regimes=settings.regimes if "regime" in names else None,
        midnight_ns=instrument.midnight_ns(),
        tick=instrument.tick,
    )


def inputs_of(read: Read, rows: Rows, carried: Carried, events: Events, *, clock_ns: int, tokens: int) -> dict:
    """Return the inputs at the first tokens of some rows, [T, ...] by name, and carry on what they depend on.

    Args:
      read: what the model reads.
      rows: what the compiled loop has noted of these events.
      carried: after the event before them; changed in place.
      events: E events.
      clock_ns: the time of the event before them.
      tokens: T.
    """
    features = book_features(rows.price, rows.size, tick=read.tick)
    known = np.all(rows.size[:, :, 0] > 0, axis=1)
    mid2 = np.where(known, rows.price[:, 0, 0] + rows.price[:, 1, 0], 0)
    clock_row, book_row = rows.clock_row[:tokens], rows.book_row[:tokens]
    since_ns = np.concatenate([[clock_ns], events.time_ns]) - read.midnight_ns
    found: dict[str, np.ndarray] = {name: np.full(tokens, value, np.int32) for name, value in read.constant.items()}
    found["book"] = features[book_row]
    found["time_of_day"] = time_bucket(since_ns, time_buckets=read.time_buckets)[clock_row]
    if "clock" in read.names:
        found["clock"] = np.stack(np.divmod(since_ns, NS_PER_SECOND), -1).astype(np.int32)[clock_row]
    if "anchors" in read.names:
        found["anchors"] = rows.anchors[book_row]
    for name in ("queue", "latest"):
        if name in read.names:
            found[name] = getattr(rows, name)[:tokens].copy()  # not a view, which would keep the rest in memory
    if "flow" in read.names:
        moves = {"move2": mid_moves(mid2, known), "spread": spread_ticks(features)[1:]}
        found["flow"] = _flow(read, rows, carried, events, **moves)[clock_row]
    if read.regimes is not None:
        of_book = {"mid2": mid2, "known": known, "spread_E": features[:, SPREAD]}
        regimes, carried.moved = follow_regimes(carried.moved, **of_book, tick=read.tick, edges=read.regimes)
        found["regime"] = regimes[book_row]
    return {name: found[name] for name in read.names}


def _flow(
    read: Read, rows: Rows, carried: Carried, events: Events, *, move2: np.ndarray, spread: np.ndarray
) -> np.ndarray:
    """Return the flow features before each of E events and after the last, and carry on the flow."""
    assert carried.flow is not None, "a model that reads the flow has its state"
    numbers_EF = np.empty((len(events) + 1, FLOW_FEATURES), np.float32)
    spelled = (events.kind.astype(np.int64), events.side.astype(np.int64), rows.spelled_size, rows.gap_ns)
    follow_flow(carried.flow, FlowEvents(*spelled, move2, spread), carried.clock_ns, read.tick, DECAY_H, numbers_EF)
    carried.clock_ns += int(rows.gap_ns.sum())
    return flow_features(numbers_EF)


def _lacking(what: str, expected: object, was: object) -> InputError:
    return InputError(
        f"the model lacks {what}",
        where="the settings of the model",
        expected=expected,
        was=was,
        remedy="serve the instrument that the model was exported for",
    )
