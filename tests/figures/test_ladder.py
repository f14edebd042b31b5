"""The ladder of a book: quantities at their prices after every event, and an animation with a frame for each."""

import numpy as np
from PIL import Image

from lob_jax.events.schema import ASK, BID, Kind
from lob_jax.figures.ladder import ROWS, ladder_figure, ladder_of, save_ladder
from tests.figures.test_day import day_of

EVENTS = [
    (0, Kind.ADD, BID, 1000, 10),
    (1, Kind.ADD, ASK, 1004, 20),
    (2, Kind.EXECUTE, ASK, 1004, 5),
    (3, Kind.ADD, BID, 990, 7),
    (4, Kind.DELETE, BID, 1000, 10),
]


def test_rows_hold_the_quantity_at_their_prices_after_each_event():
    ladder = ladder_of(day_of(*EVENTS), levels=5, frames=4)
    at = {round(price * 100): row for row, price in enumerate(ladder.price_R)}
    assert ladder.size_F2R.shape == (4, 2, ROWS) and np.isclose(ladder.price_R[1] - ladder.price_R[0], 0.01)
    assert [ladder.size_F2R[k, 0, at[1000]] for k in range(4)] == [10, 10, 10, 10]
    assert [ladder.size_F2R[k, 1, at[1004]] for k in range(4)] == [0, 20, 15, 15]
    assert ladder.size_F2R[3, 0, at[990]] == 7 and ladder.size_F2R.sum() == 10 + 30 + 25 + 32
    assert list(ladder.touched_F) == [at[1000], at[1004], at[1004], at[990]]
    assert ladder.captions[2] == "event 3, +2.000 s: EXECUTE ask 5 at 10.04"


def test_a_wide_book_has_rows_of_several_ticks():
    wide = [(0, Kind.ADD, BID, 500, 1), (1, Kind.ADD, ASK, 1500, 2), (2, Kind.ADD, ASK, 1501, 4)]
    ladder = ladder_of(day_of(*wide), levels=5, frames=3)
    assert ladder.size_F2R[2].sum() == 7 and np.isclose(ladder.price_R[1] - ladder.price_R[0], 0.33)


def test_a_frame_shows_the_bars_the_caption_and_the_price_of_the_event():
    ladder = ladder_of(day_of(*EVENTS), levels=5, frames=5)
    (axes,) = ladder_figure(ladder, 4, title="a book").axes
    bids, asks = ([bar.get_width() for bar in container] for container in axes.containers)
    assert (bids, asks) == (ladder.size_F2R[4, 0].tolist(), ladder.size_F2R[4, 1].tolist())
    assert axes.get_title(loc="left").endswith("DELETE bid 10 at 10")


def test_the_animation_has_a_frame_for_every_event(tmp_path):
    ladder = ladder_of(day_of(*EVENTS), levels=5, frames=3)
    save_ladder(ladder, tmp_path / "ladder.gif", title="a book")
    with Image.open(tmp_path / "ladder.gif") as image:
        assert image.n_frames == 3 and image.size == (512, 512)
