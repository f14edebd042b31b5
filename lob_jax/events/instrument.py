"""`Instrument`: the units and identity behind the integers of an event."""

import dataclasses
import datetime
import zoneinfo

NS_PER_SECOND = 10**9
NS_PER_DAY = 86_400 * NS_PER_SECOND


@dataclasses.dataclass(frozen=True)
class Instrument:
    """One instrument on one trading day.

    Attributes:
      symbol: the venue's name for the instrument.
      venue: the exchange on which it trades.
      trading_day: ISO date in the venue's time zone, such as "2012-06-21".
      time_zone: IANA name of the venue's clock.
      price_scale: price quanta in one unit of currency (LOBSTER: 10,000).
      tick: price quanta between two neighbouring valid order prices.
      lot_scale: lots in one unit of quantity (shares: 1).
      signed: whether prices may be zero or negative, because the day contains such a price (calendar spreads; oil on
        2020-04-20). If False, every price is at least one tick.
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
        """Return the UTC nanoseconds of 00:00 on the venue's clock, computed as noon minus 12 hours.

        Daylight-saving changes happen at night, before the session, so seconds after midnight are converted to UTC
        with the offset that is valid at noon.
        """
        day = datetime.date.fromisoformat(self.trading_day)
        noon = datetime.datetime(day.year, day.month, day.day, 12, tzinfo=zoneinfo.ZoneInfo(self.time_zone))
        return (int(noon.timestamp()) - 12 * 3600) * NS_PER_SECOND

    def to_dict(self) -> dict[str, str | int | bool]:
        """Return the fields as plain JSON-serialisable values."""
        return dataclasses.asdict(self)
