"""`visualize_attention`: what a run's model attends to while it reads real events."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from lob_jax.book.day import MarketDay
from lob_jax.data.records.builder import open_records
from lob_jax.errors import InputError
from lob_jax.figures.attention import attention_grid, attention_map
from lob_jax.generation.context import named
from lob_jax.generation.device.state import Window
from lob_jax.generation.prompt import Prompt
from lob_jax.models.attention.maps import attention_weights
from lob_jax.models.config import ModelConfig
from lob_jax.runs.load import Run
from lob_jax.runs.prompt import make_prompt, prompt_from_day

EVENTS = 10


@dataclasses.dataclass(frozen=True, eq=False)
class AttentionView:
    """Attention weights of every layer and head over the tokens of a few events.

    Attributes:
      weight_LNTT: float32, weights by layer, head, query token and key token; each row sums to 1.
      tokens_T: int32, the tokens.
      event_T: int64, the event that each token belongs to, from 0.
      token_labels: each token in words.
      event_labels: the first token of each event in words.
      figure: heat maps of all layers and heads.
    """

    weight_LNTT: np.ndarray
    tokens_T: np.ndarray
    event_T: np.ndarray
    token_labels: tuple[str, ...]
    event_labels: tuple[str, ...]
    figure: Figure

    def of_head(self, layer: int, head: int) -> Figure:
        """Return a heat map of one head with a label for each token; layers and heads are counted from 0."""
        return attention_map(
            self.weight_LNTT[layer, head],
            labels=self.token_labels,
            event_T=self.event_T,
            title=f"Attention of layer {layer + 1}, head {head + 1}: {len(self.tokens_T)} tokens",
        )


def visualize_attention(run: Run, day: MarketDay | None = None, *, events: int = EVENTS) -> AttentionView:
    """Return what a model attends to while it reads some events, as arrays and as a figure.

    The weights are those that the model mixes values with, computed from its own queries and keys.

    Args:
      run: a trained run.
      day: the day whose last events are read; None for the first events of the run's test split.
      events: number of events.

    Raises:
      InputError: the kind of attention has no weights that sum to 1, or there are too few events.
    """
    _check_weights(run.model)
    return view_of(run, _prompt(run, day, events))


def view_of(run: Run, prompt: Prompt) -> AttentionView:
    """Return what a model attends to while it reads a prompt, of which at most a context is read."""
    read = jax.tree.map(
        lambda leaf: jnp.asarray(leaf[-run.model.max_seq_length :])[None], (prompt.tokens_T, prompt.known_T)
    )
    window = named(Window(*read), run.model)
    weight_LBNTS = attention_weights(run.model, run.params, window.tokens_BT, window.known)
    weight_LNTT, tokens_T = (np.asarray(jax.device_get(x)) for x in (weight_LBNTS[:, 0], window.tokens_BT[0]))
    event_T = np.asarray(window.known["event"][0], np.int64)
    event_T = np.unique(event_T, return_inverse=True)[1]
    words = tuple(run.tokenizer.describe(int(token)) for token in tokens_T)
    firsts = np.flatnonzero(np.diff(event_T, prepend=-1))
    event_labels = tuple(words[first] for first in firsts)
    kind = run.model.attention.kind.replace("_", "-")
    title = f"Attention weights, {kind} attention: {len(firsts)} events, {len(tokens_T)} tokens"
    figure = attention_grid(weight_LNTT, labels=event_labels, event_T=event_T, title=title)
    return AttentionView(weight_LNTT, tokens_T, event_T, words, event_labels, figure)


def why_no_weights(model: ModelConfig) -> str | None:
    """Return why a model's attention cannot be shown as weights over tokens; None if it can."""
    if model.attention.kind == "linformer":
        return "it attends to learned summaries of the past, whose weights on single tokens may be negative"
    if model.attention.cross_asset:
        return "it also reads the events of a second instrument, which one day does not have"
    return None


def _check_weights(model: ModelConfig) -> None:
    reason = why_no_weights(model)
    if reason is not None:
        raise InputError(
            "this model's attention cannot be shown as weights over tokens",
            where="visualize_attention",
            expected="attention to the tokens of one instrument, with weights that sum to 1",
            was=f"{model.attention.kind} attention: {reason}",
            remedy="visualise a run with another kind of attention",
        )


def _prompt(run: Run, day: MarketDay | None, events: int) -> Prompt:
    reads: dict[str, Any] = {"tokenizer": run.tokenizer, "time_buckets": run.model.time_buckets, "beside": run.beside}
    if day is None:
        return make_prompt(open_records(run.workdir / "records", "test"), events=events, **reads)
    return prompt_from_day(day, events=events, book_levels=run.config.data.book_levels, **reads)
