"""What events lose as compact tokens, in numbers."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Distortion:
    """What events lose as compact tokens, if each is decoded on the true book before it.

    Attributes:
      events: number of events.
      exact: share of events whose price, size and gap are all reproduced.
      exact_price, exact_size: share whose price or size is reproduced, among events that are possible when decoded.
      exact_gap: share of events whose gap is reproduced.
      lost: share of events that are not possible when decoded on the true book.
      price_error: mean absolute error of the other prices, in ticks; 0 if all are exact.
      size_error: mean absolute error of the other sizes, in lots.
      gap_error: mean absolute error of the other gaps, in ns.
    """

    events: int
    exact: float
    exact_price: float
    exact_size: float
    exact_gap: float
    lost: float
    price_error: float
    size_error: float
    gap_error: float

    def told(self) -> str:
        """Describe it in a sentence."""
        return (
            f"compact tokens, bins fitted to the training days; of {self.events:,} validation events "
            f"{self.exact_price:.1%} keep their price (the others move {self.price_error:.1f} ticks on average), "
            f"{self.exact_size:.1%} their size ({self.size_error:.1f} lots), {self.exact_gap:.1%} their gap "
            f"({self.gap_error / 1e6:.1f} ms); {self.lost:.2%} are lost"
        )


def summarize_errors(off: np.ndarray, gap_off: np.ndarray, lost: np.ndarray, tick: int) -> Distortion:
    """Summarise errors: off int64 [E, 2] of price and size, gap_off int64 [E], lost bool [E]."""

    def mean(values: np.ndarray) -> float:
        return float(values.mean()) if len(values) else 0.0

    price, size = np.abs(off[~lost]).T
    gap = np.abs(gap_off)
    exact = ~lost & (off == 0).all(1) & (gap_off == 0)
    return Distortion(
        events=len(lost),
        exact=mean(exact),
        exact_price=mean(price == 0),
        exact_size=mean(size == 0),
        exact_gap=mean(gap == 0),
        lost=mean(lost),
        price_error=mean(price[price > 0] / tick),
        size_error=mean(size[size > 0]),
        gap_error=mean(gap[gap > 0]),
    )
