"""The shape of a forecaster: one frozen dataclass for the whole family, checked when it is made; and what one returns.

A forecaster is a Flax module; called with a batch, a dict of arrays named as in `lob_jax.forecasting.examples`, it
returns a `Forecast`. Parameters and computation are float32.
"""

import dataclasses
from typing import NamedTuple

import jax

from lob_jax.errors import InputError

FORECASTERS = ("tft", "deeplob", "linear", "transformer")
CLASSES = 3  # down, flat, up
KINDS = 8  # of events, counted from 1
_SIZES = ("history", "levels", "width", "heads", "filters", "inception", "units", "instruments")


class Forecast(NamedTuple):
    """What a forecaster says of a batch.

    Attributes:
      direction_BK3: logits of down, flat and up at each horizon.
      quantiles_BKQ: of the mid's move, in units of its scale on the training split; None from those that give none.
    """

    direction_BK3: jax.Array
    quantiles_BKQ: jax.Array | None


TOKEN_INPUTS = {  # what the token model reads beside tokens, by its name there, and where an example holds it
    "time_of_day": "time_of_day",
    "day_of_week": "day_of_week",
    "book": "token_book",
    "instrument": "instrument",
    "event": "token_event",
    "clock": "token_clock",
}


@dataclasses.dataclass(frozen=True)
class ForecastConfig:
    """Describe a forecaster completely; there are no defaults.

    Raises:
      InputError: a value is out of range, or two values do not fit together.

    Attributes:
      model: "tft", "deeplob", "linear" or "transformer".
      history: H, past events that are seen.
      horizons: K ascending numbers of events ahead.
      levels: P, levels a side of a book state.
      clock: whether the TFT sees the time of day and the day of the week.
      width: D, of the TFT.
      heads: N, of the TFT's attention; divides width.
      quantiles: Q ascending levels that the TFT predicts.
      filters: of DeepLOB's convolutions.
      inception: filters of each branch of DeepLOB's inception module.
      units: of DeepLOB's LSTM.
      dropout: of the TFT and of DeepLOB.
      instruments: of the training split; the TFT has an embedding for each and one for others.
    """

    model: str
    history: int
    horizons: tuple[int, ...]
    levels: int
    clock: bool
    width: int
    heads: int
    quantiles: tuple[float, ...]
    filters: int
    inception: int
    units: int
    dropout: float
    instruments: int

    def __post_init__(self) -> None:
        if self.model not in FORECASTERS:
            raise _fault("model", expected=" | ".join(FORECASTERS), was=self.model, remedy="choose one of these")
        for name in _SIZES:
            size = getattr(self, name)
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise _fault(name, expected="a whole number of at least 1", was=size, remedy="give a positive size")
        if not 0 <= self.dropout < 1:
            raise _fault("dropout", expected="0 <= dropout < 1", was=self.dropout, remedy="0.1 is usual; 0 is none")
        if self.width % self.heads:
            was, expected = self.heads, f"a divisor of width = {self.width}"
            raise _fault("heads", expected=expected, was=was, remedy="change heads or width")
        _check_ascending("horizons", self.horizons, low=1, high=None)
        _check_ascending("quantiles", self.quantiles, low=0, high=1)


def _check_ascending(name: str, values: tuple[float, ...], *, low: float, high: float | None) -> None:
    """Refuse values that do not ascend; `high` None asks for whole numbers from `low` on, else for low < v < high."""
    ascending = len(values) > 0 and list(values) == sorted(set(values))
    inside = all(value >= low and value == int(value) if high is None else low < value < high for value in values)
    if not (ascending and inside):
        kind = "whole numbers of at least 1" if high is None else f"numbers between {low} and {high}"
        raise _fault(name, expected=f"ascending {kind}", was=values, remedy="write them as (10, 20), smallest first")


def _fault(name: str, *, expected: object, was: object, remedy: str) -> InputError:
    return InputError(
        f"forecast.{name} does not describe a forecaster",
        where=f"forecast.{name}",
        expected=expected,
        was=was,
        remedy=remedy,
    )
