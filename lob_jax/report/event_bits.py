"""The bits of each test event under a run's model: a file beside evaluation.json, with which runs are compared."""

import os
import pathlib

import numpy as np

FILE = "event_bits.npz"


def write_event_bits(folder: pathlib.Path, bits: np.ndarray) -> None:
    """Write the bits of each test event, in the order of the events, atomically.

    Args:
      folder: the run's folder.
      bits: float [E]; stored as float32.
    """
    partial = folder / f".{FILE}.partial.npz"  # NumPy would append .npz to any other name
    np.savez_compressed(partial, model=np.asarray(bits, np.float32))
    os.replace(partial, folder / FILE)


def read_event_bits(folder: pathlib.Path) -> np.ndarray | None:
    """Return the bits of each test event, float64 [E]; None if the run has not stored them."""
    path = folder / FILE
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as stored:
        return stored["model"].astype(np.float64)
