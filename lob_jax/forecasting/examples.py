"""Examples for forecasts: what is known at an anchor event, and where the mid price goes behind it.

An anchor is an event of the split; the forecast is made just before it, at the state that it will meet. Inputs are
of the `history` events in front of the anchor and the states that they left; labels are of the mids behind it.

The label at horizon k compares the mean m- of the last k mids, the present one included, with the mean m+ of the next
k: l = (m+ - m-) / |m-|, the smoothed definition of FI-2010 (Ntakaris et al., 2018) in the form of Zhang, Zohren and
Roberts (2019). The other one in use, (m+ - m_t) / m_t, is not taken. Since m- is known at the anchor, a mid that has
just moved already leans towards its label: a forecast has to be held against one that knows only that, see
`lob_jax.forecasting.floors`.
"""

import dataclasses
from typing import Any

import numpy as np

from lob_jax.data.windows.known import time_bucket
from lob_jax.data.windows.tape import Tape
from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_DAY, NS_PER_SECOND

DOWN, FLAT, UP = range(3)
FLAT_SHARE = 1 / 3  # of the training examples, see `fit_scaling`
SAMPLE = 4096  # training examples that normalisers are fitted on, evenly spaced
CLOCK = ("sine of the time of day", "cosine of it", "log seconds from the anchor", "events from the anchor / history")

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class ForecastLayout:
    """What an example holds.

    Attributes:
      history: H, events in front of the anchor.
      horizons: K ascending numbers of events behind it.
      levels: P, levels a side.
      context: T, tokens in front of the anchor; an anchor with fewer is none, whatever model is trained.
      time_buckets: buckets of a day, of the tokens' clock.
    """

    history: int
    horizons: tuple[int, ...]
    levels: int
    context: int
    time_buckets: int

    @property
    def reach(self) -> int:
        """Return the longest horizon, which is also the longest span that mids are averaged over."""
        return max(self.horizons)


@dataclasses.dataclass(frozen=True, eq=False)
class Scaling:
    """What was fitted on the training split, and on nothing else.

    Attributes:
      threshold: float64 [K]; a smoothed change beyond +- it is UP or DOWN.
      move_scale: float64 [K], standard deviation of the mid's move, ticks.
      book_mean, book_std: float64 [4P].
      flow_mean, flow_std: float64 [5].
      symbols: training instruments; number 1 is the first of them, 0 stands for others.
    """

    threshold: np.ndarray
    move_scale: np.ndarray
    book_mean: np.ndarray
    book_std: np.ndarray
    flow_mean: np.ndarray
    flow_std: np.ndarray
    symbols: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """Return the fitted numbers as plain values, fit for JSON."""
        return {name: list(np.asarray(values).tolist()) for name, values in vars(self).items()}


def required_embargo(layout: ForecastLayout) -> int:
    """Return the fewest events between two splits of one day: history, horizon and the span of the average."""
    return layout.history + 2 * layout.reach


def check_forecast_embargo(embargo_events: int, layout: ForecastLayout) -> None:
    """Refuse an embargo that an example could reach across.

    Raises:
      InputError: it is shorter than `required_embargo(layout)`.
    """
    least = required_embargo(layout)
    if embargo_events < least:
        raise InputError(
            "the embargo between splits is shorter than a forecast's example",
            where="config.data.embargo_events",
            expected=f"at least {least} events: history {layout.history}, horizon and smoothing {layout.reach} each",
            was=embargo_events,
            remedy=f"pass --config.data.embargo_events={least} and a new --workdir, or lower config.forecast.history",
        )


def anchors(tape: Tape, layout: ForecastLayout) -> np.ndarray:
    """Return the rows of all anchors, int64 [N]: own events with a whole example around them.

    An example has its history, its tokens and all labels within one run, and mids in all of its states.
    """
    rows = np.arange(len(tape))
    first = np.searchsorted(tape.run, np.arange(len(tape.symbols)))[tape.run]
    last = np.searchsorted(tape.run, np.arange(len(tape.symbols)), side="right")[tape.run] - 1
    before = max(layout.history, layout.reach - 1)
    inside = tape.own & (rows - before >= first) & (rows + layout.reach <= last)
    tokens_before = token_end(tape) - token_end(tape)[first]
    unknown = np.concatenate([[0], np.cumsum(~tape.two_sided())])
    low, high = np.maximum(rows - before, 0), np.minimum(rows + layout.reach + 1, len(tape))
    return np.flatnonzero(inside & (tokens_before >= layout.context) & (unknown[high] == unknown[low]))


def token_end(tape: Tape) -> np.ndarray:
    """Return the number of tokens in front of each row's event, int64 [R]."""
    return np.searchsorted(tape.token_event, np.arange(len(tape)))


def smoothed_change(mid2: np.ndarray, rows: np.ndarray, horizons: tuple[int, ...]) -> np.ndarray:
    """Return l = (m+ - m-) / |m-| of the anchors at `rows`, float64 [N, K], see the head of this file."""
    total = np.concatenate([[0], np.cumsum(mid2)])  # total[i]: of the rows in front of i
    past = [total[rows + 1] - total[rows + 1 - k] for k in horizons]
    coming = [total[rows + 1 + k] - total[rows + 1] for k in horizons]
    return np.stack([(new - old) / _scale(old, k) for new, old, k in zip(coming, past, horizons, strict=True)], axis=1)


def past_lean(mid2: np.ndarray, rows: np.ndarray, horizons: tuple[int, ...]) -> np.ndarray:
    """Return (m_t - m-) / |m-|, float64 [N, K]: what `smoothed_change` would be if the mid stayed where it is."""
    total = np.concatenate([[0], np.cumsum(mid2)])
    past = [total[rows + 1] - total[rows + 1 - k] for k in horizons]
    return np.stack([(k * mid2[rows] - old) / _scale(old, k) for old, k in zip(past, horizons, strict=True)], axis=1)


def _scale(old: np.ndarray, k: int) -> np.ndarray:
    """Return what a change of the sum of k mid2 is relative to: their sum, or that of k quanta where it is less."""
    return np.maximum(np.abs(old), 2 * k)


def mid_moves(tape: Tape, rows: np.ndarray, horizons: tuple[int, ...]) -> np.ndarray:
    """Return how far the mid is from the anchor's after each horizon, ticks, float64 [N, K]."""
    ahead = tape.mid2[rows[:, None] + np.array(horizons)] - tape.mid2[rows, None]
    return ahead / (2 * tape.tick[tape.run[rows], None])


def classes(change: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Return DOWN, FLAT or UP of smoothed changes, int32 [N, K]."""
    return (FLAT + (change > threshold) - (change < -threshold)).astype(np.int32)


def fit_scaling(tape: Tape, layout: ForecastLayout) -> Scaling:
    """Fit class thresholds and normalisers on the tape of the training split.

    The threshold of a horizon is the FLAT_SHARE quantile of |l| over all anchors: a third of the training examples is
    FLAT, and the rest divides as the market went. Where more than a third did not change at all, it is 0.

    Raises:
      InputError: the tape has no anchor.
    """
    rows = anchors(tape, layout)
    if not len(rows):
        raise _nothing(layout)
    symbols = tuple(sorted(set(tape.symbols)))
    sample = rows[np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).astype(np.int64)]
    book, flow = book_window(tape, sample, layout), tape.flow[_past(sample, layout)]
    return Scaling(
        threshold=np.quantile(np.abs(smoothed_change(tape.mid2, rows, layout.horizons)), FLAT_SHARE, axis=0),
        move_scale=_spread(mid_moves(tape, rows, layout.horizons)),
        book_mean=book.mean((0, 1), dtype=np.float64),
        book_std=_spread(book.reshape(-1, book.shape[-1])),
        flow_mean=flow.mean((0, 1), dtype=np.float64),
        flow_std=_spread(flow.reshape(-1, flow.shape[-1])),
        symbols=symbols,
    )


def _spread(values: np.ndarray) -> np.ndarray:
    """Return standard deviations of columns, 1 where nothing varies."""
    std = values.std(0, dtype=np.float64)
    return np.where(std > 0, std, 1.0)


def _past(rows: np.ndarray, layout: ForecastLayout) -> np.ndarray:
    """Return the rows of the H events in front of each anchor, [N, H], oldest first."""
    return rows[:, None] + np.arange(-layout.history, 0)


def book_window(tape: Tape, rows: np.ndarray, layout: ForecastLayout) -> np.ndarray:
    """Return the states that the H events in front of each anchor left, float32 [N, H, 4P], the newest last.

    Level by level: ask price, ask size, bid price, bid size, as DeepLOB's first convolutions read them. Prices are
    ticks from the mid at the anchor, so that the way the mid came is seen; sizes log(1 + lots).
    """
    states = _past(rows, layout) + 1
    ticks = 2.0 * tape.tick[tape.run[rows], None, None, None]
    price = (2 * tape.price[states] - tape.mid2[rows, None, None, None]) / ticks  # [N, H, 2, P]
    size = np.log1p(tape.size[states])
    parts = [price[:, :, 1], size[:, :, 1], price[:, :, 0], size[:, :, 0]]
    return np.stack(parts, axis=-1).reshape(*states.shape, -1).astype(np.float32)


def clock_window(tape: Tape, rows: np.ndarray, layout: ForecastLayout) -> tuple[np.ndarray, np.ndarray]:
    """Return what is known of the clock at past steps [N, H, 4] and at the horizons [N, K, 4]; named by `CLOCK`.

    Of the future only the clock is known, and in event time not even that: when the k-th next event comes is not
    known before it. So a horizon's time is the anchor's plus k times the mean gap of the history, a number of the past
    alone. Nothing else (no schedule of auctions or news) is in the records.
    """
    now = tape.clock_ns[rows, None]
    past_ns = tape.clock_ns[_past(rows, layout) + 1]
    steps = np.array(layout.horizons)
    gap = (now - tape.clock_ns[rows - layout.history, None]) / layout.history
    ahead_ns = np.maximum(gap, 0) * steps
    midnight = tape.midnight_ns[tape.run[rows], None]
    past = _clock(past_ns - midnight, past_ns - now, np.arange(1 - layout.history, 1), layout)
    return past, _clock(now - midnight + ahead_ns, ahead_ns, steps, layout)


def _clock(of_day_ns: np.ndarray, from_anchor_ns: np.ndarray, steps: np.ndarray, layout: ForecastLayout) -> np.ndarray:
    angle = 2 * np.pi * of_day_ns / NS_PER_DAY
    seconds = from_anchor_ns / NS_PER_SECOND
    away = np.broadcast_to(steps / layout.history, angle.shape)
    parts = [np.sin(angle), np.cos(angle), np.sign(seconds) * np.log1p(np.abs(seconds)), away]
    return np.stack(parts, axis=-1).astype(np.float32)


class ForecastExamples:
    """The examples of one split, by number; labels of all of them, inputs batch by batch.

    A batch is a dict of NumPy arrays:
      book float32 [B, H, 4P], see `book_window`; flow float32 [B, H, 5], see `tape.event_flow`; both normalised;
      kind int32 [B, H], kinds of the events;
      past_clock float32 [B, H, 4] and future_clock float32 [B, K, 4], see `clock_window`;
      instrument int32 [B], by its number in the scaling, and day_of_week int32 [B];
      tokens, time_of_day int32 [B, T] and token_book float32 [B, T, F]: the T tokens in front of the anchor, with what
        is known when each is the newest, as in `dataset.TokenBookDataset`; token_event int32 [B, T], the event that
        a token belongs to, -1 the last one; token_clock int32 [B, T, 2], seconds since midnight and nanoseconds of the
        time known; all these only with `with_tokens`;
      direction int32 [B, K] and move float32 [B, K] in units of the scaling's `move_scale`: the labels.

    Attributes:
      rows: int64 [N], the anchors' rows on the tape.
      direction: int32 [N, K].
      move: float64 [N, K], ticks.
    """

    def __init__(self, tape: Tape, layout: ForecastLayout, scaling: Scaling, *, stride: int, with_tokens: bool):
        """Take every `stride`-th anchor of the tape.

        Raises:
          InputError: there is none.
        """
        self.tape, self.layout, self.scaling, self.with_tokens = tape, layout, scaling, with_tokens
        self.rows = anchors(tape, layout)[::stride]
        if not len(self.rows):
            raise _nothing(layout)
        self.direction = classes(smoothed_change(tape.mid2, self.rows, layout.horizons), scaling.threshold)
        self.move = mid_moves(tape, self.rows, layout.horizons)
        numbers = {symbol: number for number, symbol in enumerate(scaling.symbols, start=1)}
        self._instrument = np.array([numbers.get(symbol, 0) for symbol in tape.symbols], np.int32)
        self._token_end = token_end(tape)

    def __len__(self) -> int:
        return len(self.rows)

    def blocks(self, events: int) -> np.ndarray:
        """Return which block of so many successive events each example lies in, int64 [N], without gaps."""
        place = np.stack([self.tape.run[self.rows], self.rows // events])
        return np.unique(place, axis=1, return_inverse=True)[1].reshape(-1)

    def batch(self, numbers: np.ndarray) -> Batch:
        """Return the examples of these numbers."""
        rows, tape, scaling = self.rows[numbers], self.tape, self.scaling
        run, past = tape.run[rows], _past(rows, self.layout)
        past_clock, future_clock = clock_window(tape, rows, self.layout)
        return {
            "book": _normalised(book_window(tape, rows, self.layout), scaling.book_mean, scaling.book_std),
            "flow": _normalised(tape.flow[past], scaling.flow_mean, scaling.flow_std),
            "kind": tape.kind[past],
            "past_clock": past_clock,
            "future_clock": future_clock,
            "instrument": self._instrument[run],
            "day_of_week": tape.day_of_week[run],
            **(self._tokens(rows) if self.with_tokens else {}),
            "direction": self.direction[numbers],
            "move": (self.move[numbers] / scaling.move_scale).astype(np.float32),
        }

    def _tokens(self, rows: np.ndarray) -> Batch:
        tape = self.tape
        at = self._token_end[rows][:, None] + np.arange(-self.layout.context, 0)
        event = tape.token_event[at]
        since_midnight = tape.clock_ns[event] - tape.midnight_ns[tape.run[rows], None]
        return {
            "tokens": tape.tokens[at],
            "time_of_day": time_bucket(since_midnight, time_buckets=self.layout.time_buckets),
            "token_book": tape.features[tape.token_row[at]],
            "token_event": (event - rows[:, None]).astype(np.int32),
            "token_clock": np.stack(np.divmod(since_midnight, NS_PER_SECOND), axis=-1).astype(np.int32),
        }


def _normalised(values: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    return (values - mean.astype(np.float32)) / std.astype(np.float32)


def _nothing(layout: ForecastLayout) -> InputError:
    need = max(layout.history, layout.reach - 1) + layout.reach
    return InputError(
        "there is nothing to forecast",
        where="a split of the prepared records",
        expected=f"{need + 1} events in a row with {layout.context} tokens of context, and orders on both sides",
        was="no such run of events",
        remedy="prepare more events, or shorten config.forecast.history, its horizons or config.model.max_seq_length",
    )
