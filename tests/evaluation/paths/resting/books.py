"""Books and events written by hand."""

import numpy as np

from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.schema import BID, Events
from tests.market_day import market_day


def book_of(orders, *, window=0, pooled=False, anonymous=()):
    """Return a book of orders (side, price, size, id), listed level by level; `anonymous` are rows."""
    side, price, size, order_id = (np.array(column, np.int64) for column in zip(*orders, strict=True))
    best = [price[side == of].max(initial=0) if of == BID else price[side == of].min(initial=2**40) for of in (1, -1)]
    return BookSnapshot(
        time_ns=0,
        side=side.astype(np.int8),
        price=price,
        size=size,
        order_id=order_id.astype(np.uint64),
        anonymous=np.isin(np.arange(len(side)), anonymous),
        last_best=np.array(best),
        seen=np.array([(side == of).any() for of in (1, -1)]),
        window=window,
        pooled=pooled,
    )


def day_of(start, events, corrections=()):
    """Return a day of events (kind, side, price, size, id), one each second; corrections (event, side, price, size)."""
    columns = np.array(events, np.int64).reshape(-1, 5).T
    names = ("kind", "side", "price", "size", "order_id")
    given = {name: column for name, column in zip(names, columns, strict=True)}
    given["time_ns"] = 10**9 * np.arange(1, len(events) + 1)
    corrected = np.array(corrections, np.int64).reshape(-1, 4).T
    dtypes = (np.int64, np.int8, np.int64, np.int64)
    columns = (column.astype(dtype) for column, dtype in zip(corrected, dtypes, strict=True))
    return market_day(Events.from_columns(**given), start=start, corrections=Corrections(*columns))
