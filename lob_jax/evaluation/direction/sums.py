"""The sums over examples that every direction score is a function of, by block of the bootstrap."""

import dataclasses

import numpy as np

from lob_jax.errors import InputError

CLASSES = 3  # down, flat, up
BINS = 15  # equal-width bins of a probability over (0, 1], as in Guo et al. (2017)
LEAST_PROBABILITY = 1e-9  # floor in the log loss, so that one example given probability 0 does not decide it
TOLERANCE = 1e-3  # on the sum of an example's probabilities


@dataclasses.dataclass(frozen=True, eq=False)
class Sums:
    """Sums over examples, with any leading axes.

    Attributes:
      confusion: float64 [..., 3, 3], rows are true classes, columns predicted classes.
      log_loss: float64 [...], sum of -log p(true class), nats.
      brier: float64 [...], sum of the squared distances between the probabilities and the true class.
      bins: float64 [..., 4, BINS, 3]: for the predicted class, down, flat and up, and for each bin of its probability,
        the number of examples, the sum of the probabilities, and how often the class was the true one.
    """

    confusion: np.ndarray
    log_loss: np.ndarray
    brier: np.ndarray
    bins: np.ndarray

    def drawn(self, times: np.ndarray) -> "Sums":
        """Return the sums [D, ...] of D bootstrap draws; `times` [D, blocks] is how often each block was drawn."""
        return Sums(*(np.tensordot(times, part, axes=1) for part in self._parts()))

    def whole(self) -> "Sums":
        """Return the sums over all blocks, without their axis."""
        return Sums(*(part.sum(0) for part in self._parts()))

    def plus(self, other: "Sums") -> "Sums":
        """Return the sums of both."""
        return Sums(*(one + another for one, another in zip(self._parts(), other._parts(), strict=True)))

    def _parts(self) -> list[np.ndarray]:
        return [getattr(self, field.name) for field in dataclasses.fields(self)]


def block_sums(probability: np.ndarray, label: np.ndarray, block: np.ndarray) -> Sums:
    """Return the sums of each block, with a leading axis of blocks.

    Args:
      probability: float [N, 3]; the predicted class is the most likely one, the first among ties.
      label: int [N], true classes: 0 down, 1 flat, 2 up.
      block: int [N], block of each example, 0..blocks-1.

    Raises:
      InputError: the arrays do not fit together, or are no probabilities and classes.
    """
    probability, label = _checked(np.asarray(probability, np.float64), np.asarray(label))
    decided = probability.argmax(1)
    shown = np.concatenate([probability.max(1, keepdims=True), probability], axis=1)  # [N, 4]
    came = np.stack([decided == label, *(label == one for one in range(CLASSES))], axis=1)
    # ceil - 1, not floor: the bins are open below and closed above, and a probability of exactly 1 is in the last one.
    bin_of = np.clip(np.ceil(shown * BINS).astype(np.int64) - 1, 0, BINS - 1) + BINS * np.arange(1 + CLASSES)
    of_label = np.maximum(probability[np.arange(len(label)), label], LEAST_PROBABILITY)
    blocks = int(block.max()) + 1 if len(block) else 0

    def add(index: np.ndarray, cells: int, weights: np.ndarray | None = None) -> np.ndarray:
        at = (block.reshape(-1, *[1] * (index.ndim - 1)) * cells + index).reshape(-1)
        flat = None if weights is None else weights.reshape(-1)
        return np.bincount(at, flat, minlength=blocks * cells).reshape(blocks, cells).astype(np.float64)

    cells, alone = (1 + CLASSES) * BINS, np.zeros(len(label), np.int64)
    bins = [add(bin_of, cells), add(bin_of, cells, shown), add(bin_of, cells, came * 1.0)]
    return Sums(
        confusion=add(CLASSES * label + decided, CLASSES**2).reshape(blocks, CLASSES, CLASSES),
        log_loss=add(alone, 1, -np.log(of_label))[:, 0],
        brier=add(alone, 1, brier(probability, label))[:, 0],
        bins=np.stack(bins, axis=-1).reshape(blocks, 1 + CLASSES, BINS, 3),
    )


def brier(probability: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return the Brier score of each forecast, float64 [N], 0..2: the sum of squared errors over the classes."""
    return np.square(probability - np.eye(CLASSES)[label]).sum(1)


def _checked(probability: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    fits = probability.shape == (len(label), CLASSES) and np.isin(label, range(CLASSES)).all()
    if not (fits and (np.abs(probability.sum(1) - 1) < TOLERANCE).all() and (probability >= 0).all()):
        sums = probability.sum(-1) if probability.size else np.zeros(1)
        raise InputError(
            "predictions of a direction that cannot be scored",
            where="direction_scores",
            expected="one label 0, 1 or 2 and three probabilities that sum to 1 for each example",
            was=f"labels {sorted({*label.ravel().tolist()})[:5]} {label.shape}, probabilities {probability.shape} that "
            f"sum to {sums.min():.4g}..{sums.max():.4g}",
            remedy="leave out examples without a label; pass probabilities, not logits",
        )
    return probability, label.astype(np.int64)
