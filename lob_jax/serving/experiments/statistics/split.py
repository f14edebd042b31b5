"""The difference of two arms that have answered different units."""

import numpy as np

FAR = -1e100  # a score that no unit has


def observations(score: np.ndarray, is_challenger: np.ndarray, *, chance: float, clip: float | None) -> np.ndarray:
    """Return one observation of the difference between challenger and control for each unit but the first.

    Unit i with score x_i gives z_i = (x_i - m_i) * (1 / chance) if it has the challenger, and (x_i - m_i) *
    (-1 / (1 - chance)) if it has the control. m_i is known before unit i: a median of earlier scores. Whatever it is,
    the mean of z_i given all earlier units is the difference of the arms' means, since the arm is drawn; a good m_i
    makes z_i small. Where both arms have the same distribution and the same chance, z_i is symmetric about 0 given the
    units before, whatever the distribution of scores: their confidence sequence is exact.

    Args:
      score: float64 [N], of each unit that has one of the two arms, in the order in which they were complete.
      is_challenger: bool [N], whether the unit has the challenger.
      chance: of the challenger, for a unit that has one of the two arms.
      clip: distances of a score from m_i beyond this count as this; None for no limit.

    Returns:
      float64 [N - 1], or [0].
    """
    centred = np.maximum(score, FAR) - _earlier_medians(np.maximum(score, FAR))
    if clip is not None:
        centred = np.clip(centred, -clip, clip)
    return (centred * np.where(is_challenger, 1 / chance, -1 / (1 - chance)))[1:]


def _earlier_medians(x: np.ndarray) -> np.ndarray:
    """Return for each value the median of the first 1, 2, 4, 8, ... values, of the most that lie before it.

    A median, since a single value far away would spoil a mean for long; of so many, since that is quickly computed and
    at least half of the values before are in it. The first value, before which there is none, has itself.
    """
    medians, count = x.copy(), 1
    while count < len(x):
        medians[count : 2 * count] = np.median(x[:count])
        count *= 2
    return medians
