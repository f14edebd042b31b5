"""LOB-Bench's scores and distances as obvious loops over lists, from their published definitions."""

import math

import numpy as np


class Book:
    """The book after one message: lists of (price, size), best first, without empty levels."""

    def __init__(self, prices, sizes):
        sides = zip(prices.tolist(), sizes.tolist(), strict=True)
        self.bids, self.asks = ([level for level in zip(*side, strict=True) if level[1] > 0] for side in sides)

    @property
    def spread(self):
        return self.asks[0][0] - self.bids[0][0] if self.asks and self.bids else None

    @property
    def mid(self):
        return (self.asks[0][0] + self.bids[0][0]) / 2 if self.asks and self.bids else None


def sequences(flow):
    """Return the sequences as lists of (time_ns, kind, size, price, order_id, book)."""
    columns = [getattr(flow, name).tolist() for name in ("time_ns", "kind", "size", "price", "order_id")]
    books = [Book(price, size) for price, size in zip(flow.book_price, flow.book_size, strict=True)]
    rows = list(zip(*columns, books, strict=True))
    return [rows[first:last] for first, last in zip(flow.edges[:-1], flow.edges[1:], strict=True)]


def values(flow):
    """Return the values of every score, by name, as lists."""
    found = {name: [] for name in NAMES}
    for rows in sequences(flow):
        _of_books(rows, found)
        _of_times(rows, found)
        _of_orders(rows, found)
        found["vol_per_min"] += volume_per_minute(rows)
        _of_order_flow(rows, found)
    return found


def _of_books(rows, found):
    for *_, book in rows:
        asks, bids = [size for _, size in book.asks], [size for _, size in book.bids]
        if book.spread is not None:
            found["spread"].append(book.spread)
        ask, bid = sum(asks[:1]), sum(bids[:1])
        if ask + bid > 0:
            found["orderbook_imbalance"].append((bid - ask) / (bid + ask))
        found["ask_volume_touch"].append(ask)
        found["bid_volume_touch"].append(bid)
        found["ask_volume"].append(sum(asks[:10]))
        found["bid_volume"].append(sum(bids[:10]))


def _of_times(rows, found):
    for before, after in zip(rows, rows[1:], strict=False):
        milliseconds = (after[0] - before[0]) / 10**9 * 1000
        if milliseconds >= 0:
            found["log_inter_arrival_time"].append(math.log(milliseconds or 1e-9))
    for i, (placed, kind, _, _, order_id, _) in enumerate(rows):
        if kind != 1 or order_id == 0:
            continue
        for time_ns, later_kind, _, _, later_id, _ in rows[i + 1 :]:
            if later_id == order_id and later_kind in (2, 3):
                found["log_time_to_cancel"].append(math.log((time_ns - placed) / 10**9 or 1e-9))
                break


def _of_orders(rows, found):
    for i, (_, kind, _, price, _, book) in enumerate(rows):
        if kind not in (1, 2, 3):
            continue
        depth = ("limit_ask_order_depth", "limit_bid_order_depth")
        level = ("limit_ask_order_levels", "limit_bid_order_levels")
        looked_up = book
        if kind != 1:
            depth = ("ask_cancellation_depth", "bid_cancellation_depth")
            level = ("ask_cancellation_levels", "bid_cancellation_levels")
            looked_up = rows[i - 1][5] if i else None
        if book.mid is not None and price != book.mid:
            found[depth[0] if price > book.mid else depth[1]].append(abs(price - book.mid))
        for name, side in zip(level, (looked_up.asks, looked_up.bids) if looked_up else (), strict=False):
            for index, (level_price, _) in enumerate(side):
                if level_price == price:
                    found[name].append(index + 1)


def volume_per_minute(rows):
    """Return the traded size of each second with trades, per minute; the first and last second by their parts."""
    trades = [(time_ns, size) for time_ns, kind, size, *_ in rows if kind == 4]
    seconds = sorted({time_ns // 10**9 for time_ns, _ in trades})
    result = []
    for second in seconds:
        total = sum(size for time_ns, size in trades if time_ns // 10**9 == second)
        length = 1.0
        if len(seconds) == 1:
            length = (trades[-1][0] - trades[0][0]) / 1e9 or 1.0
        elif second == seconds[0]:
            length = 1 - trades[0][0] % 10**9 / 1e9
        elif second == seconds[-1]:
            length = trades[-1][0] % 10**9 / 1e9
        if length >= 0.1:
            result.append(total / length * 60)
    return result


def _of_order_flow(rows, found):
    far = 10**15
    touch = []
    for *_, book in rows:
        touch.append((*(book.bids[0] if book.bids else (-far, 0)), *(book.asks[0] if book.asks else (far, 0))))
    contribution = []
    for (b0, qb0, a0, qa0), (b, qb, a, qa) in zip(touch, touch[1:], strict=False):
        contribution.append((b >= b0) * qb - (b <= b0) * qb0 - (a <= a0) * qa + (a >= a0) * qa0)
    for i in range(100, len(rows)):  # contribution[i - 1] is of message i
        imbalance = sum(contribution[i - 100 : i]) / 100
        found["ofi"].append(imbalance)
        if i + 1 == len(rows):
            continue
        now, following = rows[i][5].mid, rows[i + 1][5].mid
        if now is not None and following is not None:
            name = "ofi_up" if following > now else "ofi_down" if following < now else "ofi_stay"
            found[name].append(imbalance)


def distances(real, generated, *, discrete):
    """Return L1, W1 and KS of two lists."""
    if not real or not generated:
        missing = 1.0 if real or generated else math.nan
        return missing, math.nan, missing
    pooled = [float(x) for x in [*real, *generated]]
    edges = sorted(set(pooled)) if discrete else np.histogram_bin_edges(np.array(pooled), "fd").tolist()
    bins = [np.searchsorted(edges, sample, side="right").tolist() for sample in (real, generated)]
    shares = []
    for found in bins:
        shares.append({})
        for k in found:
            shares[-1][k] = shares[-1].get(k, 0) + 1 / len(found)
    l1 = sum(abs(shares[0].get(k, 0) - shares[1].get(k, 0)) for k in {*shares[0], *shares[1]}) / 2
    mean = math.fsum(pooled) / len(pooled)
    sd = math.sqrt(math.fsum((x - mean) ** 2 for x in pooled) / (len(pooled) - 1))
    w1 = ks = 0.0
    marked = sorted([(float(x), 1 / len(real)) for x in real] + [(float(x), -1 / len(generated)) for x in generated])
    gap = 0.0
    for (x, step), (following, _) in zip(marked, [*marked[1:], marked[-1]], strict=True):
        gap += step
        if following > x:
            w1 += abs(gap) * (following - x) / sd
            ks = max(ks, abs(gap))
    return l1, w1, ks


NAMES = (
    "spread",
    "orderbook_imbalance",
    "log_inter_arrival_time",
    "log_time_to_cancel",
    "ask_volume_touch",
    "bid_volume_touch",
    "ask_volume",
    "bid_volume",
    "limit_ask_order_depth",
    "limit_bid_order_depth",
    "ask_cancellation_depth",
    "bid_cancellation_depth",
    "limit_ask_order_levels",
    "limit_bid_order_levels",
    "ask_cancellation_levels",
    "bid_cancellation_levels",
    "vol_per_min",
    "ofi",
    "ofi_up",
    "ofi_stay",
    "ofi_down",
)
