"""Days as a server reads them: `history(opening_of(day), records_of(day))`, see `client`."""

from typing import Any

from lob_jax.book.day import MarketDay
from lob_jax.serving import openings, records
from lob_jax.serving.units import Units


def opening_of(day: MarketDay) -> dict[str, Any]:
    """Return the starting book of a day as JSON.

    Orders without an id get one, since a row without an id would stand for a total whose orders are unknown.
    """
    start = day.start if day.start.pooled else day.start.identified()
    return openings.opening_of(start, Units.of(day.instrument))


def records_of(day: MarketDay) -> list[dict[str, Any]]:
    """Return the events and corrections of a day as JSON records, in the order in which they apply.

    Records have no flags, no numbers of a source and no times of receipt; all other columns are kept exactly.
    """
    return records.records_of(day.events, day.corrections, Units.of(day.instrument))
