"""Sets of tokens as bits, in an order in which a device unpacks them along contiguous memory.

The V / 10 tokens of a class are eight planes of W = V / 80 tokens. Token j of class c is bit j // W, counted from the
lowest, of byte c W + j % W.
"""

import numpy as np

from lob_jax.tokens import vocabulary as v

CLASSES = v.VOCAB_SIZE // v.CLASS_SIZE
PLANE = v.CLASS_SIZE // 8


def pack(allowed_SV: np.ndarray) -> np.ndarray:
    """Return sets given as bool [S, V] as bits, uint8 [S, V/8]."""
    S, V = allowed_SV.shape
    planes = np.packbits(allowed_SV.reshape(S, CLASSES, 8, V // CLASSES // 8), axis=2, bitorder="little")
    return planes.reshape(S, V // 8)


def unpack(bits_SW: np.ndarray) -> np.ndarray:
    """Return sets given as bits as bool [S, V]."""
    S, W = bits_SW.shape
    planes = np.unpackbits(bits_SW.reshape(S, CLASSES, 1, W // CLASSES), axis=2, bitorder="little")
    return planes.reshape(S, 8 * W).astype(bool)
