"""The configuration shared by all forecasters, a frozen dataclass validated on construction, and their output type.

A forecaster is a Flax module. It takes a batch, a dict of arrays named as in `lob_jax.forecasting.examples`, and
returns a `Forecast`. Parameters and computation are float32.
"""

import dataclasses
from typing import NamedTuple

import jax

from lob_jax.errors import InputError

FORECASTERS = ("tft", "deeplob", "linear", "transformer")
CLASSES = 3  # down, flat, up
KINDS = 8  # size of a lookup table of event kinds, which are numbered from 1
_SIZES = ("history", "levels", "width", "heads", "filters", "inception", "units", "instruments")


class Forecast(NamedTuple):
    """The output of a forecaster for a batch.

    Attributes:
      direction_BK3: logits of down, flat and up at each horizon.
      quantiles_BKQ: quantiles of the mid's move, in units of its standard deviation on the training split; None from
        forecasters that predict none.
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
    """The complete configuration of a forecaster; there are no defaults.

    Raises:
      InputError: a value is out of range, or two values are incompatible.

    Attributes:
      model: "tft", "deeplob", "linear" or "transformer".
      history: H, number of past events in the input.
      horizons: K ascending numbers of events ahead.
      levels: P, levels per side of a book state.
      clock: whether the TFT sees the time of day and the day of the week.
      width: D, model width of the TFT.
      heads: N, attention heads of the TFT; divides width.
      quantiles: Q ascending quantile levels that the TFT predicts.
      filters: filters of DeepLOB's convolutions.
      inception: filters of each branch of DeepLOB's inception module.
      units: units of DeepLOB's LSTM.
      dropout: dropout rate of the TFT and of DeepLOB.
      instruments: instruments in the training split; the TFT has one embedding for each and one for all others.
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
    """Refuse values that do not ascend or are out of range.

    If `high` is None they must be integers of at least `low`, otherwise numbers with low < value < high.
    """
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
