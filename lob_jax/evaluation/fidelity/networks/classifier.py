"""LOB-Bench's discriminator: a network that reads the messages of a sequence and tells whether they are generated.

Two convolutions, attention with 8 heads, and two dense layers, after Nagy et al., 2025; three numbers per message: the
move of the mid, the level of the message's price, and the quantity it adds. Adam at 1e-4 for 150 epochs on half of the
sequences, the epoch chosen on a quarter, and tested on the last quarter. It needs far more sequences than a fit on the
statistics of `fidelity.features`, and takes minutes; it is here so that figures compare with published ones.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.table import Table

from lob_jax.evaluation.fidelity.discriminator import CONFIDENCE, auc, auc_interval
from lob_jax.evaluation.fidelity.measure import Progress, number
from lob_jax.evaluation.fidelity.networks.inputs import STEPS, sequence_inputs
from lob_jax.statistics.flow import Flow

PARTS = (0.5, 0.25)  # of the sequences for training and validation
DRAWS = 999  # permutations of the tested labels, and bootstrap draws


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """Size and training of the network, by default LOB-Bench's.

    Attributes:
      filters: of the two convolutions.
      kernel: messages that a convolution reads.
      heads: of the attention.
      hidden: units of the dense layer.
      learning_rate: of Adam.
      batch_size: sequences per step.
      epochs: passes over the training sequences.
    """

    filters: tuple[int, int] = (32, 64)
    kernel: int = 3
    heads: int = 8
    hidden: int = 64
    learning_rate: float = 1e-4
    batch_size: int = 32
    epochs: int = 150


class SequenceClassifier(nn.Module):
    """The logit that each of B sequences is generated."""

    config: NetworkConfig

    @nn.compact
    def __call__(self, input_BTC: jax.Array) -> jax.Array:
        """Return the logits, [B]."""
        x_BTD = input_BTC
        for filters in self.config.filters:
            x_BTD = nn.relu(nn.Conv(filters, (self.config.kernel,))(x_BTD))
        x_BTD = x_BTD + nn.MultiHeadDotProductAttention(self.config.heads)(x_BTD)
        x_BD = nn.relu(nn.Dense(self.config.hidden)(x_BTD.mean(axis=1)))
        return nn.Dense(1)(x_BD)[:, 0]


def discriminate_by_network(
    real: Flow,
    generated: Mapping[str, Flow],
    *,
    config: NetworkConfig | None = None,
    seed: int = 0,
    steps: int = STEPS,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Test by the network whether generated sequences can be told from real ones, flow by flow.

    Args:
      real: held-out real flow.
      generated: flows by name.
      config, seed, steps: see `classify`.
      on_progress: called with what is being done, the number of flows that are done and that of all.

    Returns:
      Plain values as in JSON: confidence, draws, seed; models: by name what `classify` returns.
    """
    models = {}
    for done, (name, flow) in enumerate(generated.items()):
        if on_progress:
            on_progress(f"network discriminator of {name}", done, len(generated))
        models[name] = classify(real, flow, config=config, seed=seed, steps=steps)
    if on_progress:
        on_progress("network discriminator", len(generated), len(generated))
    return {"confidence": CONFIDENCE, "draws": DRAWS, "seed": seed, "models": models}


def classify(
    real: Flow, generated: Flow, *, config: NetworkConfig | None = None, seed: int = 0, steps: int = STEPS
) -> dict[str, Any]:
    """Train the network on some sequences and test it on others.

    Args:
      real, generated: the flows; pairs of sequences that continue one prompt, if both have as many, stay together.
      config: the network; None for LOB-Bench's.
      seed: of the split, the parameters and the order of training.
      steps: messages that are read.

    Returns:
      Plain values as in JSON: sequences of train, validation and test; reason (why there is no test, or None); auc,
      low and high (95 %, bootstrap), p (one-sided permutation test of the tested labels), f1 and accuracy, all on the
      test sequences; None if a part lacks one of the two flows.
    """
    config = NetworkConfig() if config is None else config
    rng = np.random.default_rng(seed)
    inputs = np.concatenate([sequence_inputs(flow, steps=steps) for flow in (real, generated)])
    label = np.repeat([0.0, 1.0], [len(real), len(generated)]).astype(np.float32)
    part = split_sequences(len(real), len(generated), rng)
    rows = [np.flatnonzero(part == number) for number in range(3)]
    sizes = dict(zip(("train", "validation", "test"), map(len, rows), strict=True))
    if any(len(np.unique(label[row])) < 2 for row in rows):
        undefined = dict.fromkeys(("auc", "low", "high", "p", "f1", "accuracy"))
        return {"sequences": sizes, "reason": "too few sequences", **undefined}
    training = inputs[rows[0]]
    scale = np.maximum(training.std(axis=(0, 1)), 1e-6)
    inputs = (inputs - training.mean(axis=(0, 1))) / scale
    params = _trained(config, [(inputs[row], label[row]) for row in rows[:2]], seed=seed, rng=rng)
    logit = np.asarray(_logits(config, params, inputs[rows[2]]))
    of_real = int((label[rows[2]] == 0).sum())
    return {"sequences": sizes, "reason": None, **_tested(logit, (of_real, len(logit) - of_real), rng)}


def split_sequences(real: int, generated: int, rng: np.random.Generator) -> np.ndarray:
    """Return the part of each sequence, int64 [real + generated]: 0 training, 1 validation, 2 test."""

    def drawn(count: int) -> np.ndarray:
        edges = (np.cumsum(PARTS) * count).astype(int)
        return np.searchsorted(edges, rng.permutation(count), side="right")

    first = drawn(real)
    return np.concatenate([first, first if real == generated else drawn(generated)])


def _trained(
    config: NetworkConfig, data: list[tuple[np.ndarray, np.ndarray]], *, seed: int, rng: np.random.Generator
) -> Any:
    """Return the parameters of the epoch with the lowest loss on the validation sequences."""
    (inputs, label), (held_inputs, held_label) = data
    params = SequenceClassifier(config).init(jax.random.key(seed), jnp.asarray(inputs[:1]))
    state = optax.adam(config.learning_rate).init(params)
    best, lowest = params, np.inf
    batches = max(len(label) // config.batch_size, 1)
    for _ in range(config.epochs):
        order = rng.permutation(len(label))
        for rows in np.array_split(order, batches):
            params, state = _step(config, params, state, inputs[rows], label[rows])
        loss = float(_loss(config, params, held_inputs, held_label))
        if loss < lowest:
            best, lowest = params, loss
    return best


def _loss(config: NetworkConfig, params: Any, inputs: np.ndarray, label: np.ndarray) -> jax.Array:
    return optax.sigmoid_binary_cross_entropy(_logits(config, params, inputs), label).mean()


@functools.partial(jax.jit, static_argnums=0)
def _logits(config: NetworkConfig, params: Any, inputs: jax.Array) -> jax.Array:
    return jnp.asarray(SequenceClassifier(config).apply(params, inputs))


@functools.partial(jax.jit, static_argnums=0)
def _step(config: NetworkConfig, params: Any, state: Any, inputs: jax.Array, label: jax.Array) -> tuple[Any, Any]:
    gradient = jax.grad(_loss, argnums=1)(config, params, inputs, label)
    updates, state = optax.adam(config.learning_rate).update(gradient, state)
    return optax.apply_updates(params, updates), state


def _tested(logit: np.ndarray, sizes: tuple[int, int], rng: np.random.Generator) -> dict[str, float]:
    """Return the figures of the logits of some real sequences, and of generated ones after them."""
    label = np.repeat([-1.0, 1.0], sizes)
    labels = np.concatenate([label[None], rng.permuted(np.tile(label, (DRAWS, 1)), axis=1)])
    areas = auc(np.tile(logit, (len(labels), 1)), labels)
    low, high = auc_interval(logit, sizes, paired=sizes[0] == sizes[1], draws=DRAWS, rng=rng)
    said, true = logit > 0, label > 0
    return {
        "auc": float(areas[0]),
        "low": low,
        "high": high,
        "p": float(np.mean(areas >= areas[0] - 1e-12)),
        "f1": float(2 * (said & true).sum() / max(said.sum() + true.sum(), 1)),
        "accuracy": float(np.mean(said == true)),
    }


def classifier_table(result: Mapping[str, Any]) -> Table:
    """Return a rich table of `discriminate_by_network`."""
    table = Table(
        title="LOB-Bench's discriminator: can its network tell generated sequences from real ones?",
        caption=f"AUC .5: no; 95 % bootstrap, p of {result['draws']:,} permutations, on the tested sequences",
    )
    for heading in ("model", "AUC", "95 %", "p", "accuracy", "F1", "trained, tested on"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for name, row in result["models"].items():
        held = "" if row["low"] is None else f"{number(row['low'])} to {number(row['high'])}"
        cells = [number(row[column]) for column in ("auc", "p", "accuracy", "f1")]
        counts = f"{row['sequences']['train']:,}, {row['sequences']['test']:,}"
        table.add_row(name, cells[0], held, *cells[1:], row["reason"] or counts)
    return table
