"""What an engine needs of a network: to read with caches whose rows advance by themselves."""

from typing import Any, Protocol

import numpy as np

from lob_jax.generation.host.context import Inputs


class Network(Protocol):
    """A causal network, see `lob_jax.export.decoder.OnnxNetwork`; its caches are like `lob_jax.export.cache.Cache`."""

    def new_cache(self, rows: int) -> Any:
        """Return an empty cache for so many sequences."""
        ...

    def read(self, cache: Any, inputs: Inputs) -> np.ndarray:
        """Append new tokens, [B, T, ...] each, to the first B rows; return the logits after the last, float32 [B, V].

        B or T is 1, and T at most BLOCK + 1.
        """
        ...

    def look(self, cache: Any, inputs: Inputs) -> np.ndarray:
        """Return the logits after several continuations, [B, T, ...] each, of the first row, which stays as it is."""
        ...
