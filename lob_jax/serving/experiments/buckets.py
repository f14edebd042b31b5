"""Where a unit falls, by a hash of its own: the same in every process, on every machine, in every version of Python.

Only the standard library is used, and only integers and fractions are compared, which no platform rounds.
"""

import fractions
import hashlib
from collections.abc import Sequence

BITS = 64
ENROL, ARM = "enrol", "arm"  # purposes: two hashes of a unit that know nothing of each other


def bucket(salt: str, purpose: str, unit: str) -> int:
    """Return where a unit falls: a number from 0 to 2**64 - 1, uniform over units.

    It is the first eight bytes, the highest first, of the SHA-256 of the three texts in UTF-8, each behind its length
    in eight bytes, so that no two triples of texts are the same bytes.

    Args:
      salt: of the experiment, so that units fall elsewhere in another one.
      purpose: what is decided.
      unit: the unit.
    """
    digest = hashlib.sha256()
    for text in (purpose, salt, unit):
        part = text.encode("utf-8", "surrogatepass")  # JSON may hold halves of characters
        digest.update(len(part).to_bytes(8, "big") + part)
    return int.from_bytes(digest.digest()[: BITS // 8], "big")


def is_below(place: int, share: float) -> bool:
    """Return whether a bucket lies in the lowest share of all; in one it stays as the share grows."""
    return place < fractions.Fraction(share) * 2**BITS


def chosen(place: int, weights: Sequence[float]) -> int:
    """Return the index of the weight into whose part of the sum a bucket falls."""
    total, upper = sum(map(fractions.Fraction, weights), fractions.Fraction(0)), fractions.Fraction(0)
    for index, weight in enumerate(weights):
        upper += fractions.Fraction(weight) * 2**BITS
        if place * total < upper:
            return index
    raise ValueError("the weights have no sum")


def share(weights: Sequence[float], index: int) -> float:
    """Return the share of one weight in their sum, rounded once."""
    return float(fractions.Fraction(weights[index]) / sum(map(fractions.Fraction, weights), fractions.Fraction(0)))
