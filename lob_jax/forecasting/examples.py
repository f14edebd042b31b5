"""Build forecasting examples: what is known at an anchor event, and where the mid price goes afterwards.

An anchor is an event of the split. The forecast is made just before the anchor, from the book state that the anchor
will change. Inputs come from the `history` events before the anchor and the states after each of them; labels come
from the mids after the anchor.

The label at horizon k compares the mean m+ of the next k mids with the past. There are two definitions. With smoothing
"both" it is compared with the mean m- of the last k mids, the current one included: l = (m+ - m-) / |m-| (Zhang, Zohren
and Roberts, 2019). Since m- is known at the anchor, a mid that has just moved already leans towards its label: compare
every forecast with the baseline that knows only this lean, see `lob_jax.forecasting.floors`. With smoothing "future" it
is compared with the current mid: l = (m+ - m_t) / |m_t| (FI-2010: Ntakaris et al., 2018).
"""

import dataclasses
from typing import Any

import numpy as np

from lob_jax.data.windows.known import time_bucket
from lob_jax.data.windows.tape import Tape
from lob_jax.errors import InputError
from lob_jax.evaluation.direction.blocks import blocks_of
from lob_jax.events.instrument import NS_PER_DAY, NS_PER_SECOND

DOWN, FLAT, UP = range(3)
FLAT_SHARE = 1 / 3  # share of the training examples labelled FLAT, see `fit_scaling`
SMOOTHINGS = ("both", "future")  # the mids that a label averages
SAMPLE = 4096  # evenly spaced training examples that the normalisers are fitted on
CLOCK = ("sine of the time of day", "cosine of it", "log seconds from the anchor", "events from the anchor / history")

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class ForecastLayout:
    """The dimensions of an example.

    Attributes:
      history: H, events before the anchor.
      horizons: K ascending numbers of events after it.
      levels: P, levels per side.
      context: T, tokens before the anchor. An event with fewer is never an anchor, even for models that read no
        tokens, so that all models are compared on the same examples.
      time_buckets: number of time-of-day buckets in the tokens' clock.
      smoothing: one of SMOOTHINGS, the definition of the label, see the module docstring.
      threshold: the relative change up to which the mid counts as flat, such as 0.002, at all horizons; None to fit one
        per horizon on the training split.
    """

    history: int
    horizons: tuple[int, ...]
    levels: int
    context: int
    time_buckets: int
    smoothing: str = "both"
    threshold: float | None = None

    @property
    def reach(self) -> int:
        """Return the longest horizon, which is also the longest averaging span of the mids."""
        return max(self.horizons)


@dataclasses.dataclass(frozen=True, eq=False)
class Scaling:
    """Thresholds and normalisers, fitted on the training split only.

    Attributes:
      threshold: float64 [K]; a smoothed change above it is UP, one below its negative is DOWN.
      move_scale: float64 [K], standard deviation of the mid's move, ticks.
      book_mean, book_std: float64 [4P].
      flow_mean, flow_std: float64 [5].
      symbols: training instruments, numbered from 1; 0 means any other instrument.
    """

    threshold: np.ndarray
    move_scale: np.ndarray
    book_mean: np.ndarray
    book_std: np.ndarray
    flow_mean: np.ndarray
    flow_std: np.ndarray
    symbols: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """Return the fitted values in JSON-serialisable form."""
        return {name: list(np.asarray(values).tolist()) for name, values in vars(self).items()}


def required_embargo(layout: ForecastLayout) -> int:
    """Return the minimum number of events between two splits of one day: history, horizon and averaging span."""
    return layout.history + 2 * layout.reach


def check_forecast_embargo(embargo_events: int, layout: ForecastLayout) -> None:
    """Check that no example can reach across the embargo.

    Raises:
      InputError: the embargo is shorter than `required_embargo(layout)`.
    """
    least = required_embargo(layout)
    if embargo_events < least:
        raise InputError(
            "the embargo between splits is shorter than a forecasting example",
            where="config.data.embargo_events",
            expected=f"at least {least} events: history {layout.history}, horizon and smoothing {layout.reach} each",
            was=embargo_events,
            remedy=f"pass --config.data.embargo_events={least} and a new --workdir, or lower config.forecast.history",
        )


def anchors(tape: Tape, layout: ForecastLayout) -> np.ndarray:
    """Return the rows of all anchors, int64 [N]: the split's own events with a complete example around them.

    In a complete example history, tokens and labels lie within one segment (`Tape.run`), and every state has a mid.
    """
    rows = np.arange(len(tape))
    first = np.searchsorted(tape.run, np.arange(len(tape.symbols)))[tape.run]
    last = np.searchsorted(tape.run, np.arange(len(tape.symbols)), side="right")[tape.run] - 1
    before = max(layout.history, layout.reach)
    inside = tape.own & (rows - before >= first) & (rows + layout.reach <= last)
    tokens_before = token_end(tape) - token_end(tape)[first]
    unknown = np.concatenate([[0], np.cumsum(~tape.two_sided())])
    low, high = np.maximum(rows - before, 0), np.minimum(rows + layout.reach + 1, len(tape))
    return np.flatnonzero(inside & (tokens_before >= layout.context) & (unknown[high] == unknown[low]))


def token_end(tape: Tape) -> np.ndarray:
    """Return the number of tokens on the tape before each row's event, int64 [R]."""
    return np.searchsorted(tape.token_event, np.arange(len(tape)))


def smoothed_change(
    mid2: np.ndarray, rows: np.ndarray, horizons: tuple[int, ...], *, smoothing: str = "both"
) -> np.ndarray:
    """Return the relative change l of the anchors at `rows`, float64 [N, K], see the module docstring."""
    # total[i] sums the rows before i. In int64 the differences are exact, which those of a float sum would not be.
    total = np.concatenate([[0], np.cumsum(mid2)])
    both = smoothing == "both"
    past = [total[rows + 1] - total[rows + 1 - k] if both else k * mid2[rows] for k in horizons]
    coming = [total[rows + 1 + k] - total[rows + 1] for k in horizons]
    return np.stack([(new - old) / _scale(old, k) for new, old, k in zip(coming, past, horizons, strict=True)], axis=1)


def past_lean(mid2: np.ndarray, rows: np.ndarray, horizons: tuple[int, ...]) -> np.ndarray:
    """Return (m_t - m-) / |m-|, float64 [N, K]: the value of `smoothed_change` if the mid did not move again."""
    total = np.concatenate([[0], np.cumsum(mid2)])
    past = [total[rows + 1] - total[rows + 1 - k] for k in horizons]
    return np.stack([(k * mid2[rows] - old) / _scale(old, k) for old, k in zip(past, horizons, strict=True)], axis=1)


def _scale(old: np.ndarray, k: int) -> np.ndarray:
    """Return the denominator of a relative change of k summed `mid2`: |sum|, but no less than k mids of one quantum.

    Mids of signed prices may be at or near zero, where the ratio would blow up.
    """
    return np.maximum(np.abs(old), 2 * k)


def mid_moves(tape: Tape, rows: np.ndarray, horizons: tuple[int, ...]) -> np.ndarray:
    """Return the move of the mid from the anchor to each horizon, ticks, float64 [N, K]."""
    ahead = tape.mid2[rows[:, None] + np.array(horizons)] - tape.mid2[rows, None]
    return ahead / (2 * tape.tick[tape.run[rows], None])


def classes(change: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Return DOWN, FLAT or UP of smoothed changes, int32 [N, K]."""
    return (FLAT + (change > threshold) - (change < -threshold)).astype(np.int32)


def fit_scaling(tape: Tape, layout: ForecastLayout) -> Scaling:
    """Fit class thresholds and normalisers on the tape of the training split.

    Unless the layout has one, the threshold of a horizon is the FLAT_SHARE quantile of |l| over all anchors: a third of
    the training examples is FLAT, and the rest is UP or DOWN as the market moved. It is 0 where more than a third did
    not change at all.

    Raises:
      InputError: the tape has no anchor.
    """
    rows = anchors(tape, layout)
    if not len(rows):
        raise _nothing(layout)
    symbols = tuple(sorted(set(tape.symbols)))
    sample = rows[np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).astype(np.int64)]
    book, flow = book_window(tape, sample, layout), tape.flow[_past(sample, layout)]
    change = smoothed_change(tape.mid2, rows, layout.horizons, smoothing=layout.smoothing)
    fixed = None if layout.threshold is None else np.full(len(layout.horizons), layout.threshold)
    return Scaling(
        threshold=np.quantile(np.abs(change), FLAT_SHARE, axis=0) if fixed is None else fixed,
        move_scale=_spread(mid_moves(tape, rows, layout.horizons)),
        book_mean=book.mean((0, 1), dtype=np.float64),
        book_std=_spread(book.reshape(-1, book.shape[-1])),
        flow_mean=flow.mean((0, 1), dtype=np.float64),
        flow_std=_spread(flow.reshape(-1, flow.shape[-1])),
        symbols=symbols,
    )


def _spread(values: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each column, and 1 for a constant column."""
    std = values.std(0, dtype=np.float64)  # float32 sums over a few hundred thousand values lose digits
    return np.where(std > 0, std, 1.0)


def _past(rows: np.ndarray, layout: ForecastLayout) -> np.ndarray:
    """Return the rows of the H events before each anchor, [N, H], oldest first."""
    return rows[:, None] + np.arange(-layout.history, 0)


def book_window(tape: Tape, rows: np.ndarray, layout: ForecastLayout) -> np.ndarray:
    """Return the book state after each of the H events before each anchor, float32 [N, H, 4P], newest last.

    The order within each level is ask price, ask size, bid price, bid size, as DeepLOB's first convolutions expect.
    Prices are in ticks relative to the mid at the anchor, so that the path of the mid is visible; sizes are
    log(1 + lots).
    """
    states = _past(rows, layout) + 1
    ticks = 2.0 * tape.tick[tape.run[rows], None, None, None]
    # Subtract as integers first: a price in quanta may exceed the 24 bits of a float32.
    price = (2 * tape.price[states] - tape.mid2[rows, None, None, None]) / ticks  # [N, H, 2, P]
    size = np.log1p(tape.size[states])
    parts = [price[:, :, 1], size[:, :, 1], price[:, :, 0], size[:, :, 0]]
    return np.stack(parts, axis=-1).reshape(*states.shape, -1).astype(np.float32)


def clock_window(tape: Tape, rows: np.ndarray, layout: ForecastLayout) -> tuple[np.ndarray, np.ndarray]:
    """Return the clock inputs of past steps [N, H, 4] and of the horizons [N, K, 4]; `CLOCK` names the columns.

    Only the clock could be known ahead, and in event time not even that: the time of the k-th next event is unknown
    in advance. A horizon's time is therefore estimated from the past alone, as the anchor's time plus k times the mean
    gap of the history. The records hold nothing else about the future, such as a schedule of auctions or news.
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
    """The numbered examples of one split; labels are computed for all of them at once, inputs batch by batch.

    A batch is a dict of NumPy arrays:
      book float32 [B, H, 4P], see `book_window`; flow float32 [B, H, 5], see `tape.event_flow`; both normalised;
      kind int32 [B, H], kinds of the events;
      past_clock float32 [B, H, 4] and future_clock float32 [B, K, 4], see `clock_window`;
      instrument int32 [B], by its number in the scaling, and day_of_week int32 [B];
      tokens, time_of_day int32 [B, T] and token_book float32 [B, T, F]: the T tokens before the anchor, each with what
        is known when it is the newest, as in `dataset.TokenBookDataset`; token_event int32 [B, T], the event that
        a token belongs to, -1 for the event just before the anchor; token_clock int32 [B, T, 2], the last known time as
        seconds since midnight and nanoseconds; all of these only with `with_tokens`;
      direction int32 [B, K] and move float32 [B, K] in units of the scaling's `move_scale`: the labels.

    Attributes:
      rows: int64 [N], the anchors' rows on the tape.
      direction: int32 [N, K].
      move: float64 [N, K], ticks.
    """

    def __init__(self, tape: Tape, layout: ForecastLayout, scaling: Scaling, *, stride: int, with_tokens: bool):
        """Take every `stride`-th anchor of the tape.

        Args:
          tape: the replayed split.
          layout: what an example contains.
          scaling: thresholds and normalisers fitted on the training split.
          stride: take one anchor in this many.
          with_tokens: include the tokens before each anchor.

        Raises:
          InputError: the tape has no anchor.
        """
        self.tape, self.layout, self.scaling, self.with_tokens = tape, layout, scaling, with_tokens
        self.rows = anchors(tape, layout)[::stride]
        if not len(self.rows):
            raise _nothing(layout)
        change = smoothed_change(tape.mid2, self.rows, layout.horizons, smoothing=layout.smoothing)
        self.direction = classes(change, scaling.threshold)
        self.move = mid_moves(tape, self.rows, layout.horizons)
        numbers = {symbol: number for number, symbol in enumerate(scaling.symbols, start=1)}
        self._instrument = np.array([numbers.get(symbol, 0) for symbol in tape.symbols], np.int32)
        self._token_end = token_end(tape)

    def __len__(self) -> int:
        return len(self.rows)

    def blocks(self, events: int) -> np.ndarray:
        """Return the block of `events` consecutive events that contains each example, int64 [N], without gaps."""
        return blocks_of(self.tape.run[self.rows], self.rows, length=events)

    def batch(self, numbers: np.ndarray) -> Batch:
        """Return the examples with these numbers."""
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
    need = max(layout.history, layout.reach) + layout.reach
    return InputError(
        "there is nothing to forecast: the split has no anchor",
        where="a split of the prepared records",
        expected=f"{need + 1} events in a row with {layout.context} tokens of context, and orders on both sides",
        was="no such stretch of events",
        remedy="prepare more events, or shorten config.forecast.history, its horizons or config.model.max_seq_length",
    )
