"""The rows in which paths of all requests are sampled together."""

from typing import Any

import numpy as np

from lob_jax.generation.host.context import Inputs
from lob_jax.serving.engine.context import MarketContext
from lob_jax.serving.engine.network import Network

FEWEST = 2  # rows of a cache: see `lob_jax.export.decoder.OnnxNetwork.read`


class RowPool:
    """The rows of one cache; those in use are the first ones, whoever they belong to.

    Attributes:
      most: how many there are.
      used: how many are in use.
    """

    def __init__(self, network: Network, *, rows: int) -> None:
        self.most, self.used = rows, 0
        self._network, self._cache = network, network.new_cache(max(rows, FEWEST))
        self._owner: list[Any] = []
        self._rows: dict[Any, list[int]] = {}

    @property
    def free(self) -> int:
        """Return how many rows are not in use."""
        return self.most - self.used

    def rows_of(self, owner: Any) -> list[int]:
        """Return the rows of an owner, in the order of its paths."""
        return self._rows.get(owner, [])

    def grant(self, owner: Any, count: int) -> None:
        """Give rows to an owner that has none; as many must be free."""
        rows = list(range(self.used, self.used + count))
        self._owner += [owner] * count
        self._rows[owner], self.used = rows, self.used + count

    def fill(self, owner: Any, path: int, context: MarketContext) -> None:
        """Let the row of a path continue a context."""
        self._cache.copy_row(self._rows[owner][path], context.cache, 0)

    def release(self, owner: Any) -> None:
        """Take back the rows of an owner; the last rows in use move into the gaps."""
        for row in sorted(self._rows.pop(owner, []), reverse=True):
            last = self.used - 1
            if row != last:
                self._cache.copy_row(row, self._cache, last)
                moved = self._owner[row] = self._owner[last]
                mine = self._rows[moved]
                mine[mine.index(last)] = row
            self._owner.pop()
            self._cache.clear(last)
            self.used = last

    def step(self, inputs: dict[Any, Inputs]) -> dict[Any, np.ndarray]:
        """Read a token in every row in use.

        Args:
          inputs: of each owner, [B, 1, ...] by name, in the order of its paths.

        Returns:
          The logits of each owner's paths, float32 [B, V].
        """
        order = np.concatenate([self._rows[owner] for owner in inputs])
        place = np.argsort(order)
        names = next(iter(inputs.values()))
        together = {name: np.concatenate([each[name] for each in inputs.values()])[place] for name in names}
        logits_BV = self._network.read(self._cache, together)
        return {owner: logits_BV[self._rows[owner]] for owner in inputs}
