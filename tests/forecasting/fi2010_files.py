"""Write small files in the format of FI-2010: five stocks one after the other, in any of the three normalisations."""

import numpy as np

from lob_jax.forecasting.fi2010 import HORIZONS, LEVELS

STOCKS = (26.0, 13.2, 12.9, 17.5, 37.0)  # first prices, two of them close to each other
ALPHA = 0.0005


def walk(random, start, count):
    """Return the mids of a stock, in steps of half a tick of .01 that trend."""
    trend = np.repeat(random.integers(-1, 2, count // 10 + 1), 10)[:count]
    return start + 0.005 * np.round(trend * 0.8 + random.normal(size=count)).cumsum()


def labels(mid):
    """Return the labels 1, 2, 3 of each horizon, [N, 5]: of (m+ - m_t) / m_t, with fewer mids at the end."""
    columns = []
    for horizon in HORIZONS:
        k = horizon // 10
        ahead = np.array([mid[i + 1 : i + 1 + k].mean() if i + 1 < len(mid) else mid[i] for i in range(len(mid))])
        change = ahead / mid - 1
        columns.append(np.where(change > ALPHA, 1, np.where(change < -ALPHA, 3, 2)))
    return np.stack(columns, axis=1)


def books(random, mid):
    """Return ask price, ask size, bid price, bid size of ten levels, [N, 40]."""
    level = np.arange(LEVELS)
    size = random.integers(1, 5000, (len(mid), 2, LEVELS)).astype(float)
    ask, bid = mid[:, None] + 0.005 + 0.01 * level, mid[:, None] - 0.005 - 0.01 * level
    return np.stack([ask, size[:, 0], bid, size[:, 1]], axis=-1).reshape(len(mid), -1)


def normalised(book, how):
    if how == "DecPre":
        return book / np.tile([100.0, 1e5], 2 * LEVELS)
    if how == "MinMax":
        return (book - book.min(0)) / np.ptp(book, axis=0)
    return (book - book.mean(0)) / book.std(0)


def write(path, *, seed, count=60, how="ZScore", stocks=STOCKS, swapped=False):
    """Write a file of `count` snapshots of each stock; return its mids and its labels."""
    random = np.random.default_rng(seed)
    mids = [walk(random, start, count) for start in stocks]
    book = normalised(np.concatenate([books(random, mid) for mid in mids]), how)
    label = np.concatenate([labels(mid) for mid in mids])
    derived = random.normal(size=(len(book), 104))
    rows = np.concatenate([book, derived, 4 - label if swapped else label], axis=1).T
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join("".join(f"   {value:.7e}" for value in row) for row in rows) + "\n")
    return np.concatenate(mids), label


def write_set(folder, *, how="ZScore", count=60, train=(7,), test=(7, 8, 9)):
    """Write the files of a set, named and placed as in the published archive."""
    place = f"NoAuction_{how.replace('ZScore', 'Zscore')}"
    for number in train:
        name = f"Train_Dst_NoAuction_{how}_CF_{number}.txt"
        write(folder / f"{place}_Training" / name, seed=number, how=how, count=count)
    for number in test:
        name = f"Test_Dst_NoAuction_{how}_CF_{number}.txt"
        write(folder / f"{place}_Testing" / name, seed=100 + number, how=how, count=count)
    return folder
