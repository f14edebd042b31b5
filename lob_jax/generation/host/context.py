"""The context that a network has read: prompts of any lengths, and what is dropped when it is full.

The rules are those of `lob_jax.generation.context`.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from lob_jax.generation.prompt import Prompt, slides
from lob_jax.models.config import ModelConfig
from lob_jax.tokens.vocabulary import REGIME_BASE

Inputs = dict[str, np.ndarray]


class Decoder(Protocol):
    """A causal network that reads tokens with a cache."""

    @property
    def slots(self) -> int:
        """Return the greatest number of tokens that its context holds: at most the model's `max_seq_length`."""
        ...

    def reset(self, rows: int) -> None:
        """Begin an empty context for `rows` sequences."""

    def extend(self, inputs: Inputs) -> np.ndarray:
        """Append tokens to the context; return the logits after the last of them, float32 [B, V].

        Where the context is full, a single token replaces the oldest one: only models whose context slides are asked
        to do so.

        Args:
          inputs: arrays [B, T, ...] under the names of `lob_jax.models.inputs`: the tokens, and at least those that the
            model reads beside them.
        """
        ...


class Context:
    """What a decoder has read, and is to read again when its context is full and cannot slide.

    Attributes:
      decoder: the decoder.
      logits_BV: the logits of the next tokens.
    """

    def __init__(self, decoder: Decoder, model: ModelConfig, inputs: Inputs):
        """Let a decoder read the beginning of a context, [B, T, ...] each."""
        self.decoder, self._model = decoder, model
        self._slots = slots_of(decoder, model)
        self.logits_BV = self._opened(inputs)

    def extend(self, inputs: Inputs) -> None:
        """Let the decoder read a token of each row, [B, 1, ...] each; if it was the last that fits, make room."""
        self.logits_BV = self.decoder.extend(inputs)
        if slides(self._model):
            return
        for name, leaf in inputs.items():
            self._window[name][:, self._length] = leaf[:, 0]
        self._length += 1
        if self._length == self._slots:
            newer = slice(self._slots - self._slots // 2, self._slots)
            self.logits_BV = self._opened({name: leaf[:, newer].copy() for name, leaf in self._window.items()})

    def _opened(self, inputs: Inputs) -> np.ndarray:
        """Let the decoder read a context from the beginning; return the logits after it."""
        inputs, (rows, self._length) = named(inputs, self._model), inputs["tokens"].shape
        if not slides(self._model):
            shapes = {name: (rows, self._slots, *leaf.shape[2:]) for name, leaf in inputs.items()}
            self._window = {name: np.zeros(shape, inputs[name].dtype) for name, shape in shapes.items()}
            for name, leaf in inputs.items():
                self._window[name][:, : self._length] = leaf
        self.decoder.reset(rows)
        return self.decoder.extend(inputs)


def slots_of(decoder: Decoder, model: ModelConfig) -> int:
    """Return the greatest number of tokens that a context of a decoder holds."""
    return min(decoder.slots, model.max_seq_length)


def named(inputs: Inputs, model: ModelConfig) -> Inputs:
    """Replace the oldest token of a context by the regime's prefix token, if the model was trained with one."""
    if model.regime != "prefix":
        return inputs
    tokens_BT = inputs["tokens"].copy()
    tokens_BT[:, 0] = REGIME_BASE + inputs["regime"][:, 0]
    return {**inputs, "tokens": tokens_BT}


def prompt_inputs(prompts: Sequence[Prompt], paths: int, longest: int) -> tuple[Inputs, Inputs, np.ndarray]:
    """Return what is read of each prompt, its last `longest` tokens, repeated for each of its paths.

    Returns:
      The tokens to begin with, as many of each prompt as the shortest one has; the rest of the longer prompts, padded;
      and how many tokens the rest of each has, int64 [B].
    """
    read = [_last_of(prompt, longest) for prompt in prompts]
    counts_N = np.array([len(inputs["tokens"]) for inputs in read])
    shared, most = int(counts_N.min()), int(counts_N.max())

    def together(first: int, end: int) -> Inputs:
        rows = {}
        for name in read[0]:
            parts = [inputs[name][first:end] for inputs in read]
            padded = [np.pad(part, [(0, end - first - len(part)), *[(0, 0)] * (part.ndim - 1)]) for part in parts]
            rows[name] = np.repeat(np.stack(padded), paths, 0)
        return rows

    return together(0, shared), together(shared, most), np.repeat(counts_N - shared, paths)


def _last_of(prompt: Prompt, longest: int) -> Inputs:
    leaves: Mapping[str, np.ndarray] = {"tokens": prompt.tokens_T.astype(np.int32), **prompt.known_T}
    return {name: np.asarray(leaf)[-longest:] for name, leaf in leaves.items()}
