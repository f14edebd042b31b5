"""`Instrument`: what the integers of an event stand for."""

import dataclasses
import datetime
import zoneinfo

NS_PER_SECOND = 10**9
NS_PER_DAY = 86_400 * NS_PER_SECOND


@dataclasses.dataclass(frozen=True)
class Instrument:
    """One instrument on one trading day.

    Attributes:
      symbol: the venue's name for it.
      venue: where it trades.
      trading_day: ISO date in the venue's time zone, such as "2012-06-21".
      time_zone: IANA name of the venue's clock.
      price_scale: price quanta in one unit of currency (LOBSTER: 10,000).
      tick: price quanta between neighbouring prices an order may have.
      lot_scale: lots in one unit of quantity (shares: 1).
      signed: whether its prices may be zero or negative, as those of spreads, and of oil on 2020-04-20: its day has
        shown one. Where they may not, a price is at least a tick.
    """

    symbol: str
    venue: str
    trading_day: str
    time_zone: str = "UTC"
    price_scale: int = 10_000
    tick: int = 100
    lot_scale: int = 1
    signed: bool = False

    def midnight_ns(self) -> int:
        """Return the UTC nanoseconds at which the venue's clock would read 00:00, counted back from noon.

        Sessions lie on noon's side of a change to or from summer time, so seconds after midnight
        are turned into UTC with the offset that holds at noon.
        """
        day = datetime.date.fromisoformat(self.trading_day)
        noon = datetime.datetime(day.year, day.month, day.day, 12, tzinfo=zoneinfo.ZoneInfo(self.time_zone))
        return (int(noon.timestamp()) - 12 * 3600) * NS_PER_SECOND

    def to_dict(self) -> dict[str, str | int | bool]:
        """Return the fields as plain values, fit for JSON."""
        return dataclasses.asdict(self)
