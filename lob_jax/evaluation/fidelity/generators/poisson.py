"""The model of Cont, Stoikov and Talreja (2010): independent Poisson arrivals, by distance from the opposite best.

Limit orders arrive at rate lambda(i) at i ticks from the opposite best price, market orders at rate mu, and an order at
this distance is cancelled at rate theta(i). All orders have one size, the mean limit order's, as in section 3.2 there;
sides are alike.
"""

import dataclasses

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.errors import InputError
from lob_jax.evaluation.fidelity.generators.live_book import Continue, LiveBook
from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.events.schema import ASK, BID, Kind
from lob_jax.statistics.flow import Flow

COVERED = 0.99  # share of the limit orders within the distances that are modelled
MOST_TICKS = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Rates:
    """The parameters of the model, for one side, in orders per second.

    Attributes:
      limit: float64 [I], at 1 to I ticks from the opposite best.
      cancel: float64 [I], per order at each distance; the last one also holds farther away.
      market: of market orders.
      size: lots of every order.
    """

    limit: np.ndarray
    cancel: np.ndarray
    market: float
    size: int


def cont_stoikov_talreja(training: Flow) -> Continue:
    """Fit the model on training flow, and return its generator."""
    rates = fit_rates(training)
    return lambda start, events, rng: simulate(rates, start, training.instrument, events=events, rng=rng)


def fit_rates(flow: Flow) -> Rates:
    """Estimate the parameters: counts over time, those of cancellations also over the mean number of orders.

    With S_l, S_m and S_c the mean sizes of limit orders, executions and cancellations, and T the time of all sequences:
    lambda(i) = N_l(i) / T, mu = (N_m / T) (S_m / S_l), theta(i) = (N_c(i) / T) (S_c / S_l) / Q(i), each of them for one
    side. Q(i), the mean number of orders at a distance, is the size there over S_l, weighted by the time that a book
    lasts; distances are those in the book before a message.

    Raises:
      InputError: the flow takes no time, or has no limit orders.
    """
    seconds = np.diff(flow.time_ns, append=flow.time_ns[-1:]) / NS_PER_SECOND
    seconds[flow.edges[1:] - 1] = 0.0
    before, distance = _distances(flow)
    kind, size = flow.kind[before + 1], flow.size[before + 1]
    limit = (kind == Kind.ADD) & (distance >= 1)
    if not limit.any() or not seconds.sum() > 0:
        raise InputError(
            "training flow that has no rates",
            where="cont_stoikov_talreja",
            expected="limit orders within a two-sided book, over some time",
            was=f"{int(limit.sum())} limit orders in {seconds.sum():g} s",
            remedy="pass a longer day as training flow",
        )
    ticks = min(max(int(np.quantile(distance[limit], COVERED)), 1), MOST_TICKS)
    unit, total = float(size[limit].mean()), 2 * float(seconds.sum())  # of two sides
    cancelled = np.isin(kind, (Kind.CANCEL, Kind.DELETE)) & (distance >= 1)
    counts = [
        np.bincount(np.minimum(distance[one], ticks + 1), minlength=ticks + 2)[1:-1] for one in (limit, cancelled)
    ]
    share = float(size[cancelled].mean()) / unit if cancelled.any() else 0.0
    orders = _mean_sizes(flow, seconds, ticks) / unit
    cancel = np.divide(counts[1] / total * share, orders, out=np.zeros(ticks), where=orders > 0)
    executed = float(size[kind == Kind.EXECUTE].sum())
    return Rates(counts[0] / total, cancel, executed / total / unit, max(round(unit), 1))


def _distances(flow: Flow) -> tuple[np.ndarray, np.ndarray]:
    """Return for each message in a two-sided book the row before it, and its ticks from the opposite best."""
    rows, sequence = np.arange(1, len(flow.kind)), flow.sequence()
    before = rows[sequence[rows] == sequence[rows - 1]] - 1
    before = before[(flow.book_size[before, :, 0] > 0).all(axis=1)]
    side = flow.side[before + 1].astype(np.int64)
    opposite = flow.book_price[before, np.where(side == BID, 1, 0), 0]
    return before, side * (opposite - flow.price[before + 1]) // flow.instrument.tick


def _mean_sizes(flow: Flow, seconds: np.ndarray, ticks: int) -> np.ndarray:
    """Return the mean lots of a side at 1 to `ticks` ticks from the opposite best, over time, float64 [ticks]."""
    total = np.zeros(ticks + 2)
    for index, sign in ((0, BID), (1, ASK)):
        opposite = flow.book_price[:, 1 - index, :1]
        known = (flow.book_size[:, index] > 0) & (flow.book_size[:, 1 - index, :1] > 0)
        distance = sign * (opposite - flow.book_price[:, index]) // flow.instrument.tick
        lots = flow.book_size[:, index] * seconds[:, None]
        total += np.bincount(np.clip(distance[known], 0, ticks + 1), weights=lots[known], minlength=ticks + 2)
    return total[1:-1] / (2 * seconds.sum())


def simulate(
    rates: Rates, start: BookSnapshot, instrument: Instrument, *, events: int, rng: np.random.Generator
) -> MarketDay:
    """Continue a book by the model.

    A market order trades with the front orders of a level, one event each; a cancellation withdraws one size.
    """
    book, clock, tick = LiveBook(start, tick=instrument.tick), float(start.time_ns), instrument.tick
    while len(book) < events:
        prices, cancels = [], []
        for side in (BID, ASK):
            level = book.levels(side)
            price = np.array(list(level), np.int64)
            place = side * (book.reference(-side) - price) // tick - 1
            theta = rates.cancel[np.clip(place, 0, len(rates.cancel) - 1)]
            prices.append(price)
            cancels.append(theta * np.array(list(level.values()), np.float64) / rates.size)
        markets = [rates.market * bool(len(price)) for price in prices]
        parts = np.array([rates.limit.sum(), rates.limit.sum(), *markets, *(part.sum() for part in cancels)])
        clock += rng.exponential(NS_PER_SECOND / parts.sum())
        what = int(rng.choice(len(parts), p=parts / parts.sum()))
        index, side, time_ns = what % 2, (BID, ASK)[what % 2], int(clock)
        if what < 2:
            ticks = 1 + int(rng.choice(len(rates.limit), p=rates.limit / rates.limit.sum()))
            book.add(time_ns, side, book.reference(-side) - side * ticks * tick, rates.size)
        elif what < 4:
            _trade(book, time_ns, side, rates.size, most=events)
        else:
            price = int(rng.choice(prices[index], p=cancels[index] / cancels[index].sum()))
            book.withdraw(time_ns, side, price, rates.size)
    return book.day(instrument)


def _trade(book: LiveBook, time_ns: int, side: int, size: int, *, most: int) -> None:
    """Trade a market order with the front orders of the best level, until it is filled or the level is empty."""
    price = book.best(side)
    while size > 0 and book.best(side) == price and len(book) < most:
        size -= book.execute(time_ns, side, size)
