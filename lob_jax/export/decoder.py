"""Read tokens through a graph of `graphs.step_graph`, by ONNX Runtime: rows of any lengths, or all in lockstep."""

import pathlib
from typing import Any

import numpy as np
import onnxruntime

from lob_jax.errors import InputError
from lob_jax.export.cache import BLOCK, Cache
from lob_jax.models.config import ModelConfig


def session(graph: pathlib.Path | bytes, *, threads: int = 0) -> onnxruntime.InferenceSession:
    """Return a session on the CPU; `threads` 0 is the number of cores."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    source = graph if isinstance(graph, bytes) else str(graph)
    return onnxruntime.InferenceSession(source, settings, providers=["CPUExecutionProvider"])


class OnnxNetwork:
    """A causal network that reads tokens with caches that its callers hold.

    Attributes:
      model: the model's configuration.
    """

    def __init__(self, graph: pathlib.Path | bytes, model: ModelConfig, *, threads: int = 0) -> None:
        self.model = model
        self._session = session(graph, threads=threads)
        self._inputs = {each.name for each in self._session.get_inputs()}
        self._outputs = [each.name for each in self._session.get_outputs()]

    def new_cache(self, rows: int) -> Cache:
        """Return an empty cache for so many sequences."""
        return Cache(self.model, self._inputs, rows=rows)

    def read(self, cache: Cache, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Append new tokens to the first rows of a cache; return the logits after the last one, float32 [B, V].

        The numbers of a row do not depend on the others, to the last bit: with a single one, a second is computed that
        nobody reads, since products of one row add up in another order than those of several.

        Args:
          cache: changed in place.
          inputs: arrays [B, T, ...] by name, at least those that the model reads.
        """
        count, new = inputs["tokens"].shape
        cache.make_room(count, new)
        alone = count * new == 1
        found = self._run(_repeated(inputs, 1 + alone) | cache.inputs(count + alone), self._outputs)
        cache.keep(count, inputs | found)
        return found["logits"][:count]

    def look(self, cache: Cache, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Return the logits after several continuations of the first row of a cache, float32 [B, V]; it is not changed.

        Args:
          cache: the cache.
          inputs: arrays [B, T, ...] by name: the tokens of each continuation, from the end of the row on.
        """
        count, new = inputs["tokens"].shape
        cache.make_room(1, new)
        alone = count * new == 1
        return self._run(_repeated(inputs, 1 + alone) | cache.shared(count + alone), ["logits"])["logits"][:count]

    def _run(self, given: dict[str, np.ndarray], outputs: list[str]) -> dict[str, np.ndarray]:
        read = {name: array for name, array in given.items() if name in self._inputs}
        results: Any = self._session.run(outputs, read)
        return dict(zip(outputs, results, strict=True))


def _repeated(inputs: dict[str, np.ndarray], times: int) -> dict[str, np.ndarray]:
    return inputs if times == 1 else {name: np.repeat(array, times, 0) for name, array in inputs.items()}


def read_in_blocks(network: OnnxNetwork, cache: Cache, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Append new tokens to the first rows of a cache, see `OnnxNetwork.read`, in blocks that end at multiples of BLOCK.

    A block has more than one token, unless there is only one; the last may have one more than BLOCK. All rows must have
    the same length.
    """
    first, new = int(cache.length[0]), inputs["tokens"].shape[1]
    ends = [*range((first // BLOCK + 1) * BLOCK, first + new - 1, BLOCK), first + new]
    logits_BV, begin = np.zeros(0), first
    for end in ends:
        part = slice(begin - first, end - first)
        logits_BV = network.read(cache, {name: leaf[:, part] for name, leaf in inputs.items()})
        begin = end
    return logits_BV


class OnnxDecoder:
    """A causal network that reads tokens of several sequences in lockstep.

    Many tokens are read in blocks, see `read_in_blocks`, as a server reads them: with the same tokens its logits are
    these, to the last bit.

    Attributes:
      model: the model's configuration.
    """

    def __init__(self, graph: pathlib.Path | bytes, model: ModelConfig, *, threads: int = 0) -> None:
        self.model = model
        self._network = OnnxNetwork(graph, model, threads=threads)
        self.reset(0)

    @property
    def slots(self) -> int:
        """Return the greatest number of tokens that the context holds."""
        return self.model.max_seq_length

    @property
    def length(self) -> int:
        """Return the number of tokens that have been read."""
        return int(self._cache.length[0])

    def reset(self, rows: int) -> None:
        """Begin with an empty context for a number of sequences."""
        self._cache = self._network.new_cache(max(rows, 2))

    def extend(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Read new tokens, and return the logits after the last one, float32 [B, V].

        Args:
          inputs: arrays [B, T, ...] by name, at least those that the model reads. If the context is full, T must be 1:
            the oldest token is replaced.

        Raises:
          InputError: the new tokens do not fit the context.
        """
        new, free = inputs["tokens"].shape[1], self.slots - self.length
        if new > max(free, 1):
            raise InputError(
                "the new tokens do not fit the context",
                where="OnnxDecoder.extend(inputs)",
                expected=f"at most {max(free, 1)} tokens: {self.length} of {self.slots} are there",
                was=new,
                remedy="read fewer at once: in a full context, one replaces the oldest",
            )
        return read_in_blocks(self._network, self._cache, inputs)
