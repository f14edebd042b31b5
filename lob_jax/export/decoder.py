"""Read tokens one after another through a graph of `graphs.step_graph`, by ONNX Runtime."""

import pathlib
from typing import Any

import numpy as np
import onnxruntime

from lob_jax.errors import InputError
from lob_jax.models.config import ModelConfig

MORE_SLOTS = 128  # a cache grows by so many slots; all of them are read with each token, filled or not
PLACES: dict[str, tuple[int, ...]] = {"position": (), "event": (), "clock": (2,)}  # see `attention.positions.Positions`


def session(graph: pathlib.Path | bytes, *, threads: int = 0) -> onnxruntime.InferenceSession:
    """Return a session on the CPU; `threads` 0 is the number of cores."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    source = graph if isinstance(graph, bytes) else str(graph)
    return onnxruntime.InferenceSession(source, settings, providers=["CPUExecutionProvider"])


class OnnxDecoder:
    """A causal network that reads tokens with a cache, which it holds in arrays of its own.

    Attributes:
      model: the model's configuration.
    """

    def __init__(self, graph: pathlib.Path | bytes, model: ModelConfig, *, threads: int = 0) -> None:
        self.model = model
        self._session = session(graph, threads=threads)
        self._inputs = {each.name for each in self._session.get_inputs()}
        self._outputs = [each.name for each in self._session.get_outputs()]
        self._held: dict[str, np.ndarray] = {}
        self._allocated = self.length = 0

    @property
    def slots(self) -> int:
        """Return the greatest number of tokens that the context holds."""
        return self.model.max_seq_length

    def reset(self, rows: int) -> None:
        """Begin with an empty context for a number of sequences."""
        model, slots = self.model, min(MORE_SLOTS, self.model.max_seq_length)
        held: dict[str, np.ndarray] = {
            f"cache_{name}": np.zeros((rows, slots, *more), np.int32) for name, more in PLACES.items()
        }
        shape = (rows, model.n_heads, slots, model.head_width)
        for name in ("keys", "values"):
            held.update({f"cache_{name}_{layer}": np.zeros(shape, np.float32) for layer in range(model.n_layers)})
        self._held = {name: array for name, array in held.items() if name in self._inputs}
        self._allocated, self.length = slots, 0

    def extend(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Read new tokens, and return the logits after the last one, float32 [B, V].

        Args:
          inputs: arrays [B, T, ...] by name, at least those that the model reads. If the context is full, T must be 1:
            the oldest token is replaced.

        Raises:
          InputError: the new tokens do not fit the context.
        """
        new = inputs["tokens"].shape[1]
        self._make_room(new)
        given = {name: array for name, array in inputs.items() if name in self._inputs}
        given["cache_length"] = np.array(self.length, np.int32)
        results: Any = self._session.run(self._outputs, given | self._held)
        found = dict(zip(self._outputs, results, strict=True))
        self._keep(inputs | found, new)
        self.length += new
        return found["logits"]

    def _make_room(self, new: int) -> None:
        """Add slots until the new tokens fit, or the context is as long as it can be."""
        if new > max(self.slots - self.length, 1):
            raise InputError(
                "the new tokens do not fit the context",
                where="OnnxDecoder.extend(inputs)",
                expected=f"at most {max(self.slots - self.length, 1)} tokens: {self.length} of {self.slots} are there",
                was=new,
                remedy="read fewer at once: in a full context, one replaces the oldest",
            )
        wanted = min(-(-(self.length + new) // MORE_SLOTS) * MORE_SLOTS, self.slots)
        more = wanted - self._allocated
        if more <= 0:
            return
        for name, array in self._held.items():
            axis = _slot_axis(name)
            self._held[name] = np.pad(array, [(0, more if k == axis else 0) for k in range(array.ndim)])
        self._allocated = wanted

    def _keep(self, known: dict[str, np.ndarray], new: int) -> None:
        """Write what was read into the next slots."""
        first = self.length % self._allocated
        at = slice(first, first + new)
        for name, array in self._held.items():
            kind = name.removeprefix("cache_")
            if kind == "position":
                array[:, at] = np.arange(self.length, self.length + new)
            elif _slot_axis(name) == 1:
                array[:, at] = known[kind]
            else:
                array[:, :, at] = known[kind]


def _slot_axis(name: str) -> int:
    return 2 if name.startswith(("cache_keys", "cache_values")) else 1
