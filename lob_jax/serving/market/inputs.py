"""What a model reads at the tokens of a live market, from what the compiled loops have noted."""

import dataclasses
import datetime

import numpy as np

from lob_jax.book.features import SPREAD, book_features
from lob_jax.book.flow import flow_features
from lob_jax.book.loops import EventColumns
from lob_jax.data.windows.known import MAKERS
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.export.contents import Contents
from lob_jax.models.inputs import BY_NAME, fields_held
from lob_jax.serving.market.carried import Carried, Units, carry_on, new_reading, units_of
from lob_jax.serving.market.state import Rows


@dataclasses.dataclass(frozen=True, eq=False)
class Read:
    """What a model reads besides tokens.

    Attributes:
      names: of its inputs, in the order in which a `Prompt` has them, "event" left out.
      constant: those that are the same at every token, by name.
      levels: levels per side among the book features.
      units: the constants of the day.
      noted: which inputs the loop over events notes, by name, see `new_rows`.
      carried: which inputs `carry_on` notes, by name, see `new_reading`.
    """

    names: tuple[str, ...]
    constant: dict[str, int]
    levels: int
    units: Units
    noted: dict[str, bool]
    carried: dict[str, bool]


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
    of_day = {"time_buckets": model.time_buckets, "regimes": settings.regimes}
    return Read(
        names=tuple(names),
        constant=constant,
        levels=settings.book_levels,
        units=units_of(instrument.midnight_ns(), instrument.tick, **of_day),
        noted={name: name in names for name in ("anchors", "queue", "price_memory", "latest")},
        carried={name: name in names for name in ("clock", "flow", "regime")},
    )


def inputs_of(
    read: Read, rows: Rows, carried: Carried, events: EventColumns, time_ns: np.ndarray, *, clock_ns: int, tokens: int
) -> dict[str, np.ndarray]:
    """Return the inputs at the first tokens of some rows, [T, ...] by name, and carry on what they depend on.

    Args:
      read: what the model reads.
      rows: what the loop has noted of these events.
      carried: after the event before them; changed in place.
      events: E events.
      time_ns: int64 [E], their times.
      clock_ns: the time of the event before them.
      tokens: T.
    """
    features = book_features(rows.price, rows.size, tick=read.units.tick)
    spread_E = np.expm1(features[:, SPREAD].astype(np.float64))  # rounded as in training, see `spread_ticks`
    reading = new_reading(len(time_ns), tokens, **read.carried)
    carry_on(carried, events, time_ns, clock_ns, rows, spread_E, read.units, reading)
    book_row = rows.book_row[:tokens]
    found = {name: np.full(tokens, value, np.int32) for name, value in read.constant.items()}
    found |= {"book": features[book_row], "time_of_day": reading.time_of_day, "clock": reading.clock}
    for name in ("queue", "price_memory", "latest"):
        found[name] = getattr(rows, name)[:tokens].copy()  # not a view, which would keep the rest in memory
    if read.noted["anchors"]:
        found["anchors"] = rows.anchors[book_row]
    if read.carried["flow"]:
        found["flow"] = flow_features(reading.flow)[rows.clock_row[:tokens]]
    if read.carried["regime"]:
        found["regime"] = reading.regime[book_row]
    return {name: found[name] for name in read.names}


def _lacking(what: str, expected: object, was: object) -> InputError:
    return InputError(
        f"the model lacks {what}",
        where="the settings of the model",
        expected=expected,
        was=was,
        remedy="serve the instrument that the model was exported for",
    )
