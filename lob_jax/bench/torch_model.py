"""The same model and training step in PyTorch, for comparison with ours; this module imports PyTorch but not JAX.

Modules have the same names as ours, so that our parameters can be loaded. Shapes, dtypes and the positions of dropout
are those of `lob_jax.models`, with one exception: in bfloat16, PyTorch rounds the logits to bfloat16 before the loss
converts them to float32.
"""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lob_jax.errors import InputError
from lob_jax.models.config import ModelConfig
from lob_jax.training.config import TrainConfig

DAYS = 7
NORM_EPSILON = 1e-5
INIT_STD = 0.02
NOT_DECAYED = ("norm", "norm1", "norm2")  # modules whose weights are not decayed; biases are not decayed either

# The only kind of model implemented here: the one that the sizes in configs/ describe.
KIND = {
    "norm": "pre",
    "activation": "gelu",
    "positions": "learned",
    "tie_embeddings": True,
    "regime": "none",
    "n_instruments": 0,
    "causal": True,
    "attention.kind": "full",
    "attention.qk_norm": False,
    "attention.cross_asset": False,
    "heads.next_tokens": 1,
    "heads.outlook_events": (),
    "heads.contrastive_size": 0,
}

MicroBatch = dict[str, Tensor]


def _kind(config: ModelConfig) -> dict[str, object]:
    """Return a model's values of the settings in KIND."""
    return {name: operator.attrgetter(name)(config) for name in KIND}


class LayerNorm(nn.Module):
    """Normalise the last axis in float32, then convert to `dtype`."""

    def __init__(self, width: int, dtype: torch.dtype):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.dtype = dtype

    def forward(self, x_BTD: Tensor) -> Tensor:
        return F.layer_norm(x_BTD.float(), self.weight.shape, self.weight, self.bias, NORM_EPSILON).to(self.dtype)


class Embeddings(nn.Module):
    """Sum the embeddings of token, position, clock and book in float32; normalise; apply dropout."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        D = config.d_model
        self.token, self.position = nn.Embedding(config.vocab_size, D), nn.Embedding(config.max_seq_length, D)
        self.time_of_day = nn.Embedding(config.time_buckets, D) if config.time_of_day else None
        self.day_of_week = nn.Embedding(DAYS, D) if config.day_of_week else None
        self.book = nn.Linear(config.book_features, D) if config.book_state else None  # of features as they are
        self.norm, self.dropout = LayerNorm(D, getattr(torch, config.dtype)), nn.Dropout(config.dropout)

    def forward(self, batch: MicroBatch) -> Tensor:
        tokens_BT = batch["tokens"][:, :-1]
        x_BTD = self.token(tokens_BT) + self.position.weight[: tokens_BT.shape[1]]
        if self.time_of_day is not None:
            x_BTD = x_BTD + self.time_of_day(batch["time_of_day"][:, :-1])
        if self.day_of_week is not None:
            x_BTD = x_BTD + self.day_of_week(batch["day_of_week"][:, :-1])
        if self.book is not None:
            with torch.autocast("cpu", enabled=False):  # autocast would run the projection in bfloat16
                x_BTD = x_BTD + self.book(batch["book"][:, :-1])
        return self.dropout(self.norm(x_BTD))


class SelfAttention(nn.Module):
    """Causal multi-head self-attention with one fused projection to queries, keys and values."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.heads = config.n_heads
        self.qkv, self.output = (nn.Linear(config.d_model, times * config.d_model) for times in (3, 1))

    def forward(self, x_BTD: Tensor) -> Tensor:
        B, T, D = x_BTD.shape
        qkv_3BNTH = self.qkv(x_BTD).view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        mixed_BNTH = F.scaled_dot_product_attention(*qkv_3BNTH.unbind(), is_causal=True)
        return self.output(mixed_BNTH.transpose(1, 2).reshape(B, T, D))


class FeedForward(nn.Module):
    """Widen to d_ff, GELU (exact), dropout, narrow back to d_model."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.widen, self.narrow = nn.Linear(config.d_model, config.d_ff), nn.Linear(config.d_ff, config.d_model)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.narrow(self.dropout(F.gelu(self.widen(x_BTD))))


class TransformerBlock(nn.Module):
    """Attention and a feed-forward network, each with pre-normalisation and a residual connection."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        dtype = getattr(torch, config.dtype)
        self.norm1, self.norm2 = LayerNorm(config.d_model, dtype), LayerNorm(config.d_model, dtype)
        self.attention, self.ffn = SelfAttention(config), FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BTD: Tensor) -> Tensor:
        x_BTD = x_BTD + self.dropout(self.attention(self.norm1(x_BTD)))
        return x_BTD + self.dropout(self.ffn(self.norm2(x_BTD)))


class PredictionHead(nn.Module):
    """Map the last block's output to logits: dense layer, norm, the tied token embedding, a bias."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.dense = nn.Linear(config.d_model, config.d_model)
        self.norm = LayerNorm(config.d_model, getattr(torch, config.dtype))
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, x_BTD: Tensor, tied_VD: Tensor) -> Tensor:
        return F.linear(self.norm(self.dense(x_BTD)), tied_VD, self.bias)


class TorchTransformer(nn.Module):
    """LOBTransformer in PyTorch, including the loss.

    Raises:
      InputError: the model has a setting that is not implemented here, see KIND.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        lacking = {name: found for name, found in _kind(config).items() if found != KIND[name]}
        if lacking:
            raise InputError(
                "the PyTorch model of the benchmark does not implement this kind of model",
                where="config.model",
                expected=", ".join(f"{name}={KIND[name]!r}" for name in lacking),
                was=", ".join(f"{name}={found!r}" for name, found in lacking.items()),
                remedy="pass --no-torch to measure our step alone",
            )
        self.config = config
        self.embeddings = Embeddings(config)
        self.blocks = nn.ModuleList(TransformerBlock(config) for _ in range(config.n_layers))
        self.norm, self.head = LayerNorm(config.d_model, getattr(torch, config.dtype)), PredictionHead(config)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=INIT_STD)

    def logits(self, batch: MicroBatch) -> Tensor:
        """Return logits_BTV, in the dtype of the model, which predict tokens 2..T+1 of each window of T+1 tokens."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.dtype == "bfloat16"):
            x_BTD = self.embeddings(batch)
            for block in self.blocks:
                x_BTD = block(x_BTD)
            return self.head(self.norm(x_BTD), self.embeddings.token.weight)

    def forward(self, batch: MicroBatch) -> Tensor:
        """Return the summed loss, in nats, of windows of T+1 tokens, each target weighted by `scored`."""
        targets_BT, weights_BT = batch["tokens"][:, 1:], batch["scored"][:, 1:]
        logits_BTV = self.logits(batch).float()
        nll_BT = F.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten(), reduction="none")
        return (nll_BT * weights_BT.flatten()).sum()


def as_state(params: Mapping[str, Any], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert our parameters or gradients, a nested dict of arrays, to the names and shapes of `like`.

    A Flax kernel [inputs..., outputs...] becomes a PyTorch weight [outputs, inputs].
    """

    def leaves(tree: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
        for name, branch in tree.items():
            if isinstance(branch, Mapping):
                yield from leaves(branch, (*path, name))
            else:
                yield (*path, name), np.asarray(branch, np.float32)

    state = {}
    for (*modules, kind), array in leaves(params, ()):
        last = kind if kind == "bias" else "weight"
        name = ".".join([*modules, last]).replace("blocks_", "blocks.")
        shape = like[name].shape
        flat = array.reshape(tuple(shape)[::-1]).T if kind == "kernel" else array.reshape(shape)
        state[name] = torch.from_numpy(np.array(flat))
    return state


def load(model: TorchTransformer, params: Mapping[str, Any]) -> None:
    """Load our parameters into the PyTorch model; the two sets of parameters must match one to one."""
    model.load_state_dict(as_state(params, model.state_dict()))


def as_micro_steps(windows: Mapping[str, np.ndarray], micro_steps: int) -> list[MicroBatch]:
    """Return windows [W, ...] as micro-batches of tensors; ids become int64, all else float32."""
    read = {
        name: torch.from_numpy(leaf).to(torch.int64 if leaf.dtype == np.int32 else torch.float32)
        for name, leaf in windows.items()
        if name != "example"
    }
    cut = {name: leaf.chunk(micro_steps) for name, leaf in read.items()}
    return [{name: leaf[k] for name, leaf in cut.items()} for k in range(micro_steps)]


def make_optimizer(model: nn.Module, train: TrainConfig) -> torch.optim.AdamW:
    """Return fused AdamW with the settings of our optimiser; norms and biases are not decayed."""
    decayed, rest = [], []
    for name, parameter in model.named_parameters():
        module, last = name.split(".")[-2:]
        (rest if last == "bias" or module in NOT_DECAYED else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": train.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=train.learning_rate, betas=(train.beta1, train.beta2), eps=1e-8, fused=True)


def make_step(
    model: TorchTransformer, train: TrainConfig, *, rates: Sequence[float], compiled: bool
) -> Callable[[Sequence[MicroBatch]], float]:
    """Return a training step: a function from micro-batches to the loss in nats per scored token.

    Args:
      model: the model, updated in place by each step.
      train: optimiser settings.
      rates: the learning rate of every step to be taken.
      compiled: run model and loss, forward and backward, through torch.compile.
    """
    optimizer, schedule = make_optimizer(model, train), iter(rates)
    summed_loss = torch.compile(model) if compiled else model
    model.train()

    def step(micro_batches: Sequence[MicroBatch]) -> float:
        scored = sum(batch["scored"][:, 1:].sum() for batch in micro_batches)
        total = torch.zeros(())
        for batch in micro_batches:
            # Divided by the scored tokens of all micro-batches: each token weighs the same, wherever it falls.
            loss = summed_loss(batch) / scored
            loss.backward()
            total += loss.detach()
        nn.utils.clip_grad_norm_(model.parameters(), train.clip)
        rate = next(schedule)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return total.item()

    return step
