"""With memory and distribution, books of a windowed feed are as deep as those of training, also after 500 events.

Real events are applied to the device's book by their distance from its references, as decoded tokens are, while what
comes into view is up to memory and distribution instead of the feed.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.book.replay import replay, snapshots_at
from lob_jax.data.records.reveals import revealed_in
from lob_jax.feeds.feed import STRICT
from lob_jax.feeds.lobster.feed import LobsterFeed
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.generation.device import live_book
from lob_jax.generation.device.out_of_view import drawn
from lob_jax.generation.prompt import NO_REVEALS
from lob_jax.generation.reveals import behind_view, fit_reveals
from tests.generation.test_reveals import windowed

EVENTS, STARTS, RECORD = 500, 24, 1024


def reveals_of(day, events):
    """Return the distribution of the first events of a day, cut into records."""
    parts = []
    books = snapshots_at(day, np.arange(0, events, RECORD))
    for first, start in zip(range(0, events, RECORD), books, strict=True):
        parts.append(revealed_in(day.part(first, min(first + RECORD, events), start=start)))
    return fit_reveals(parts, seed=0)


def books_at(day, at, *, remember):
    """Return the live books before some events of a day, stacked, with or without what is behind their views."""
    room = {"places": 16, "orders": 128, "remembers": 64, "tick": day.instrument.tick}
    books = [
        live_book.from_snapshot(book, behind=behind_view(day, int(first) if remember else 0), **room)[0]
        for first, book in zip(at, snapshots_at(day, at), strict=True)
    ]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *books)


def followed(day, at, reveals, *, remember=True):
    """Return levels and ticks from the first to the last level of each side after each event, [S, E, 2] each."""
    rows = at[:, None] + np.arange(EVENTS)
    events, before = day.events, replay(day, 1).reference[:-1]
    index = (events.side < 0).astype(np.int32)
    deeper = (before[np.arange(len(events)), index] - events.price) * events.side // day.instrument.tick
    columns = {"kind": events.kind, "code": events.code, "side": index, "deeper": deeper, "size": events.size}
    columns_SE = {name: jnp.asarray(column[rows], jnp.int32) for name, column in columns.items()}

    def one(book, columns_E, key):
        def step(book, given):
            number, event = given
            draw = {"side": event["side"], "flip": jnp.bool_(False)}
            book = live_book.apply(book, unseen=drawn(reveals, key, number, jnp.int32(0), **draw), **event)
            levels = (book.key_2P != live_book.FAR).sum(1)
            last = jnp.take_along_axis(book.key_2P, jnp.maximum(levels - 1, 0)[:, None], 1)[:, 0]
            return book, (levels, last - book.key_2P[:, 0])

        book, found = jax.lax.scan(step, book, (jnp.arange(EVENTS), columns_E))
        return book.refused, *found

    keys = jax.vmap(lambda s: jax.random.fold_in(jax.random.key(0), s))(jnp.arange(len(at)))
    return [np.asarray(part) for part in jax.jit(jax.vmap(one))(books_at(day, at, remember=remember), columns_SE, keys)]


def distance_between(one, other):
    """Return the largest difference between two distribution functions."""
    at = np.union1d(one, other)
    upto = [np.searchsorted(np.sort(part), at, side="right") / len(part) for part in (one, other)]
    return np.abs(upto[0] - upto[1]).max()


@pytest.fixture(scope="module", params=["simulated", "GOOG_10"])
def day(request):
    if request.param == "simulated":
        feed = SyntheticFeed(1, 30_000, 0)
        return windowed(feed.read(feed.days()[0], STRICT), 5)
    market_data = request.getfixturevalue("market_data")
    return LobsterFeed().read(market_data("lobster/GOOG_2012-06-21_34200000_57600000_message_10.csv.gz"))


@pytest.mark.slow
def test_views_stay_as_deep_as_the_feeds(day):
    window, split = day.start.window, len(day.events) * 2 // 3
    at = np.linspace(split, len(day.events) - EVENTS - 1, STARTS).astype(int)
    states, rows = replay(day, window), at[:, None] + 1 + np.arange(EVENTS)
    real = np.abs(states.price[rows, :, -1] - states.price[rows, :, 0]) // day.instrument.tick
    refused, levels, found = followed(day, at, reveals_of(day, split))
    print(f"refused: {refused.sum() / rows.size:.3f}; ticks to the last level, real and drawn, all and at the end:")
    for part in (real, found, real[:, -1], found[:, -1]):
        print(f"mean {part.mean():.1f}, quantiles {np.quantile(part, [0.05, 0.25, 0.5, 0.75, 0.95])}")
    assert (levels == window).all()
    assert distance_between(found.ravel(), real.ravel()) < 0.15
    assert distance_between(found[:, -1].ravel(), real[:, -1].ravel()) < 0.3
    _, levels, found = followed(day, at, reveals_of(day, split), remember=False)
    print(f"nothing remembered at first: mean {found.mean():.1f}, at the end {found[:, -1].mean():.1f}")
    assert (levels == window).all()
    _, levels, _ = followed(day, at, NO_REVEALS, remember=False)
    assert (levels < window).any()
