"""The model: tokens and what is known beside them in, logits of the next token out."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lob_jax.errors import InputError
from lob_jax.models.attention import KVCache, SelfAttention, visible_slots
from lob_jax.models.config import ModelConfig
from lob_jax.models.embeddings import EMBEDDING_SITE, Conditioning, Embeddings
from lob_jax.models.layers import FeedForward, LayerNorm, PredictionHead, dropout, example_keys, project

SITES_PER_BLOCK = 3  # places in a block that drop out


def _same(x_BTD: jax.Array) -> jax.Array:
    return x_BTD


def empty_cache(config: ModelConfig, batch: int, length: int) -> KVCache:
    """Return a cache with room for `length` tokens of `batch` sequences, none of them filled."""
    if length > config.max_seq_length:
        raise _too_long(length, config)
    shape = (config.n_layers, batch, config.n_heads, length, config.head_size)
    empty_LBNSH = jnp.zeros(shape, config.dtype)
    # Two arrays, not one twice: a caller may donate the cache, and a buffer can be donated once.
    return KVCache(key_LBNSH=empty_LBNSH, value_LBNSH=jnp.zeros(shape, config.dtype), length=jnp.int32(0))


class TransformerBlock(nn.Module):
    """Attention and a feed-forward network, each added to the stream; norms before (pre) or after (post)."""

    config: ModelConfig

    @nn.compact
    def __call__(
        self,
        x_BTD: jax.Array,
        positions_BT: jax.Array,
        mask_BTS: jax.Array | None,
        cache: KVCache | None,
        keys_B: jax.Array | None,
        *,
        layer: int,
    ) -> tuple[jax.Array, KVCache | None]:
        """Return the stream behind this block and the cache with the block's slots written."""
        config = self.config
        site = EMBEDDING_SITE + 1 + SITES_PER_BLOCK * layer
        norms = [LayerNorm(config.dtype, name="norm1"), LayerNorm(config.dtype, name="norm2")]
        before, after = (norms, [_same, _same]) if config.norm == "pre" else ([_same, _same], norms)

        # Flax names the scope of every module; these two also hold a sublayer's norm, dropout and addition in profiles.
        with jax.named_scope("attention"):
            attention = SelfAttention(config, name="attention")
            added_BTD, cache = attention(before[0](x_BTD), positions_BT, mask_BTS, cache, layer=layer)
            x_BTD = after[0](x_BTD + dropout(added_BTD, keys_B, site=site, rate=config.dropout))
        with jax.named_scope("ffn"):
            added_BTD = FeedForward(config, name="ffn")(before[1](x_BTD), keys_B, site=site + 1)
            x_BTD = after[1](x_BTD + dropout(added_BTD, keys_B, site=site + 2, rate=config.dropout))
        return x_BTD, cache


class LOBTransformer(nn.Module):
    """A decoder-only transformer over the tokens of a limit order book.

    Attributes:
      config: its shape.
      pin: applied to the stream [B, T, D] between blocks; over several devices it says how they share it.
    """

    config: ModelConfig
    pin: Callable[[jax.Array], jax.Array] = _same

    def setup(self) -> None:
        config = self.config
        self.embeddings = Embeddings(config)
        self.blocks = [TransformerBlock(config) for _ in range(config.n_layers)]
        if config.norm == "pre":
            self.norm = LayerNorm(config.dtype)
        self.head = PredictionHead(config)

    def __call__(
        self, tokens_BT: jax.Array, conditioning: Conditioning, **how: Any
    ) -> jax.Array | tuple[jax.Array, KVCache]:
        """Return logits_BTV, float32, of the token after each; with a cache, (logits_BTV, the cache filled further).

        Arguments and errors are those of `features`.
        """
        features_BTD, cache = self.features(tokens_BT, conditioning, **how)
        logits_BTV = project(features_BTD, *self.projection())
        return logits_BTV if cache is None else (logits_BTV, cache)

    def features(
        self,
        tokens_BT: jax.Array,
        conditioning: Conditioning,
        *,
        positions_BT: jax.Array | None = None,
        mask_BTS: jax.Array | None = None,
        cache: KVCache | None = None,
        example_B: jax.Array | None = None,
        deterministic: bool = True,
    ) -> tuple[jax.Array, KVCache | None]:
        """Return what the output projection reads, [B, T, D], and the cache filled further.

        Args:
          tokens_BT: int token ids; an id outside the vocabulary reads its nearest end.
          conditioning: what is known beside each token.
          positions_BT: int positions, below max_seq_length; by default they count on from the cache's length, or from
            0. With positions given, a sequence and its side branches may together be longer than max_seq_length.
          mask_BTS: bool, True = may attend, S = T or the slots of the cache. It can only narrow the causal mask, and a
            token always sees itself. Side branches are stored behind their prefix, with positions that count on from
            it, and are masked from one another.
          cache: keys and values of earlier tokens; the new ones go behind them.
          example_B: int numbers that tell examples apart for dropout; needed only where there is any.
          deterministic: no dropout; otherwise apply() needs rngs={"dropout": key}.

        Raises:
          InputError: the sequence is too long, an input is missing, or shapes do not fit.
        """
        config = self.config
        batch, T = tokens_BT.shape
        slots = T if cache is None else cache.key_LBNSH.shape[3]
        if positions_BT is None and config.max_seq_length < T:
            raise _too_long(T, config)
        _check_shapes(batch=batch, queries=T, slots=slots, cache=cache, mask_BTS=mask_BTS)
        filled = 0 if cache is None else cache.length
        if positions_BT is None:
            positions_BT = jnp.broadcast_to(filled + jnp.arange(T), (batch, T))
        if mask_BTS is not None or cache is not None:  # otherwise attention is plainly causal and needs no mask
            mask_BTS = visible_slots(T, slots, filled, mask_BTS=mask_BTS)
        keys_B = None if deterministic or config.dropout == 0 else self._dropout_keys(example_B)

        x_BTD = self.pin(self.embeddings(tokens_BT, positions_BT, conditioning, keys_B))
        for layer, block in enumerate(self.blocks):
            x_BTD, cache = block(x_BTD, positions_BT, mask_BTS, cache, keys_B, layer=layer)
            x_BTD = self.pin(x_BTD)
        if config.norm == "pre":
            x_BTD = self.norm(x_BTD)
        features_BTD = self.pin(self.head(x_BTD))
        return features_BTD, None if cache is None else cache.replace(length=cache.length + T)

    def projection(self) -> tuple[jax.Array, jax.Array]:
        """Return (weight_VD, bias_V) of the output projection, see `project`."""
        return self.head.projection(self._tied_VD())

    def _tied_VD(self) -> jax.Array | None:
        return self.embeddings.token.table if self.config.tie_embeddings else None

    def _dropout_keys(self, example_B: jax.Array | None) -> jax.Array:
        if example_B is None:
            raise InputError(
                "dropout needs to tell examples apart",
                where="LOBTransformer(example_B=...)",
                expected="an int array [B]",
                was=None,
                remedy="pass the batch's example numbers, or deterministic=True",
            )
        return example_keys(self.make_rng("dropout"), example_B)


def example_inputs(config: ModelConfig) -> tuple[jax.Array, Conditioning]:
    """Return the smallest inputs the model takes, one token of one sequence: enough to make its parameters."""
    zero_BT = jnp.zeros((1, 1), jnp.int32)
    book_BTF = jnp.zeros((1, 1, config.book_features), jnp.float32)
    return zero_BT, Conditioning(time_of_day_BT=zero_BT, day_of_week_BT=zero_BT, book_BTF=book_BTF)


def initial_parameters(config: ModelConfig, key: jax.Array) -> dict:
    """Return the model's first parameters, as the nested dict that apply({"params": ...}) takes."""
    tokens_BT, conditioning = example_inputs(config)
    return LOBTransformer(config).init({"params": key}, tokens_BT, conditioning)["params"]


def _check_shapes(*, batch: int, queries: int, slots: int, cache: KVCache | None, mask_BTS: jax.Array | None) -> None:
    if cache is not None and (cache.key_LBNSH.shape[1] != batch or slots < queries):
        raise InputError(
            "the new tokens do not fit the cache",
            where="LOBTransformer(cache=...)",
            expected=f"a batch of {batch} and at least {queries} slots",
            was=f"a batch of {cache.key_LBNSH.shape[1]} and {slots} slots",
            remedy="make the cache with empty_cache(config, batch, length) of that size",
        )
    if mask_BTS is not None and mask_BTS.shape != (batch, queries, slots):
        raise InputError(
            "the attention mask has the wrong shape",
            where="LOBTransformer(mask_BTS=...)",
            expected=(batch, queries, slots),
            was=mask_BTS.shape,
            remedy="give one row a query and one column a token, or a slot of the cache",
        )


def _too_long(length: int, config: ModelConfig) -> InputError:
    return InputError(
        "the sequence is longer than the model",
        where="model.max_seq_length",
        expected=f"at most {config.max_seq_length} tokens",
        was=length,
        remedy="cut the sequence, or train a model with a greater max_seq_length",
    )
