"""Draw an order book as a ladder of price levels, event by event, and save the sequence as an animated GIF."""

import dataclasses
import pathlib

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import replay
from lob_jax.events.instrument import NS_PER_SECOND
from lob_jax.events.schema import BID, Kind
from lob_jax.figures.colours import BLUE, VERMILION, YELLOW

FRAMES_PER_SECOND = 4
ROWS = 31  # of the ladder


@dataclasses.dataclass(frozen=True, eq=False)
class Ladder:
    """The states of a book after each of F events, in R rows of equal price ranges.

    Attributes:
      price_R: float64, the lowest price of each row, in currency, ascending.
      size_F2R: float64, resting quantity of bids and of asks, in lots.
      captions: a description of each event, with the time since the first.
      touched_F: int64, the row of the price that the event names; -1 if it is outside of the ladder.
    """

    price_R: np.ndarray
    size_F2R: np.ndarray
    captions: tuple[str, ...]
    touched_F: np.ndarray


def ladder_of(day: MarketDay, *, levels: int, frames: int) -> Ladder:
    """Return the book after each of the first events of a day, around its first mid price.

    Args:
      day: a day with at least one event.
      levels: occupied levels per side to show; a row of the ladder has as many ticks as their usual range requires.
      frames: the maximum number of events.
    """
    part = day.part(0, min(frames, len(day.events)), start=day.start)
    states, instrument, events = replay(part, levels), day.instrument, part.events
    price, size = states.price[1:], states.size[1:]
    step = instrument.tick * _ticks_per_row(price, size, instrument.tick)
    lowest = _first_mid(states.price, states.size) // step - ROWS // 2
    row = price // step - lowest
    inside = (size > 0) & (row >= 0) & (row < ROWS)
    frame, side, _ = np.nonzero(inside)
    size_F2R = np.zeros((len(events), 2, ROWS))
    np.add.at(size_F2R, (frame, side, row[inside]), size[inside] / instrument.lot_scale)
    touched = events.price // step - lowest
    touched_F = np.where((touched >= 0) & (touched < ROWS) & (events.kind != Kind.CONTROL), touched, -1)
    since = (events.time_ns - events.time_ns[0]) / NS_PER_SECOND
    captions = tuple(_caption(day, k, float(since[k])) for k in range(len(events)))
    price_R = (lowest + np.arange(ROWS)) * step / instrument.price_scale
    return Ladder(price_R, size_F2R, captions, touched_F)


def _ticks_per_row(price: np.ndarray, size: np.ndarray, tick: int) -> int:
    """Return how many ticks a row needs so that the ladder usually holds all levels."""
    filled = np.where(size > 0, price, -1)
    high, low = filled[:, 1].max(1), np.where(size[:, 0] > 0, price[:, 0], np.iinfo(np.int64).max).min(1)
    reach = (high - low)[(high >= 0) & (low < np.iinfo(np.int64).max)]
    return max(1, int(-(-float(np.median(reach)) // (tick * ROWS)))) if len(reach) else 1


def _first_mid(price: np.ndarray, size: np.ndarray) -> int:
    """Return the first mid price, in quanta; without one, the first price of any side, or 0."""
    both = np.flatnonzero(np.all(size[:, :, 0] > 0, axis=1))
    if len(both):
        return int(price[both[0], :, 0].sum()) // 2
    occupied = price[size > 0]
    return int(occupied[0]) if len(occupied) else 0


def _caption(day: MarketDay, k: int, second: float) -> str:
    events, instrument = day.events, day.instrument
    kind = Kind(events.kind[k])
    if kind == Kind.CONTROL:
        return f"event {k + 1}, +{second:.3f} s: {kind.name}"
    side = "bid" if events.side[k] == BID else "ask"
    price, size = events.price[k] / instrument.price_scale, events.size[k] / instrument.lot_scale
    return f"event {k + 1}, +{second:.3f} s: {kind.name} {side} {size:g} at {price:.10g}"


def ladder_figure(ladder: Ladder, frame: int, *, title: str) -> Figure:
    """Return a figure of one frame of a ladder."""
    drawing = _Drawing(ladder, title)
    drawing.show(frame)
    return drawing.figure


def save_ladder(ladder: Ladder, path: pathlib.Path, *, title: str) -> None:
    """Write all frames of a ladder as an animated GIF."""
    drawing, writer = _Drawing(ladder, title), PillowWriter(fps=FRAMES_PER_SECOND)
    with writer.saving(drawing.figure, str(path), dpi=80):
        for frame in range(len(ladder.size_F2R)):
            drawing.show(frame)
            writer.grab_frame()


class _Drawing:
    """A figure whose bars, caption and mark are moved from frame to frame instead of drawn anew."""

    def __init__(self, ladder: Ladder, title: str):
        self.ladder, self.figure = ladder, Figure(figsize=(6.4, 6.4), dpi=80)
        FigureCanvasAgg(self.figure)
        axes = self.figure.add_axes((0.15, 0.09, 0.81, 0.79))
        self.figure.suptitle(title, fontsize=10)
        rows = np.arange(ROWS)
        self.bars = [axes.barh(rows, rows * 0.0, color=colour, height=0.85) for colour in (BLUE, VERMILION)]
        self.mark = axes.axhspan(-0.5, 0.5, color=YELLOW, alpha=0.45, lw=0, zorder=0)
        self.caption = axes.set_title("", fontsize=9, loc="left")
        step = ladder.price_R[1] - ladder.price_R[0]
        digits = len(f"{step:.10g}".partition(".")[2])
        axes.set_yticks(rows[::3], [f"{price:.{digits}f}" for price in ladder.price_R[::3]], fontsize=8)
        axes.set_ylim(-0.7, ROWS - 0.3)
        axes.set_xlim(0, 1.05 * max(float(ladder.size_F2R.max(initial=0)), 1.0))
        axes.set_xlabel("resting quantity, lots (blue: bid; red: ask; yellow: the price of the event)", fontsize=8)
        axes.set_ylabel(f"price, {step:.4g} per row", fontsize=8)

    def show(self, frame: int) -> None:
        """Move everything to one frame."""
        for bars, size_R in zip(self.bars, self.ladder.size_F2R[frame], strict=True):
            for bar, size in zip(bars, size_R, strict=True):
                bar.set_width(size)
        touched = int(self.ladder.touched_F[frame])
        self.mark.set_visible(touched >= 0)
        self.mark.set_y(touched - 0.5)
        self.caption.set_text(self.ladder.captions[frame])
