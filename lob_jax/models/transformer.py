"""The model: maps tokens and their other inputs to logits of the next token."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lob_jax.errors import InputError
from lob_jax.models.attention.cache import KVCache
from lob_jax.models.attention.cross_asset import CrossAssetAttention
from lob_jax.models.attention.held import Cache
from lob_jax.models.attention.positions import Positions, visible_slots
from lob_jax.models.attention.self_attention import SelfAttention
from lob_jax.models.config import ModelConfig
from lob_jax.models.embeddings import EMBEDDING_SITE, Embeddings, Mixture
from lob_jax.models.expert import NO_BLOCK, OWN, CountTables, Gates, Own, block_of
from lob_jax.models.heads import AheadHead, ContrastiveHead, Outlook, OutlookHead, PredictionHead
from lob_jax.models.inputs import Conditioning, Role, given, names_of, zeros
from lob_jax.models.layers import TRANSPOSED, FeedForward, LayerNorm, dropout, example_keys
from lob_jax.models.pointer import Features, Projection, candidates, level_features, next_logits

SITES_PER_BLOCK = 3  # dropout masks in a block; attention to another asset has one more


def _same(x_BTD: jax.Array) -> jax.Array:
    return x_BTD


def empty_cache(config: ModelConfig, batch: int, length: int) -> KVCache:
    """Return an empty cache with `length` slots for each of `batch` sequences."""
    if length > config.max_seq_length:
        raise _too_long(length, config)
    shape = (batch * config.n_heads, length, config.head_width)
    nowhere = Positions(
        position_BT=jnp.zeros((batch, length), jnp.int32),
        event_BT=jnp.zeros((batch, length), jnp.int32) if config.needs_events else None,
        clock_BT2=jnp.zeros((batch, length, 2), jnp.int32) if config.needs_clock else None,
    )
    # Separate arrays, though equal: a caller may donate the cache, and a buffer can be donated only once.
    keys, values = (tuple(jnp.zeros(shape, config.dtype) for _ in range(config.n_layers)) for _ in range(2))
    return KVCache(keys, values, positions=nowhere, length=jnp.int32(0))


class TransformerBlock(nn.Module):
    """Add attention and a feed-forward network to the stream, with norms before (pre) or after (post) each.

    Cross-asset attention is a sublayer between the two, with a norm before it in either case.
    """

    config: ModelConfig
    pin: Callable[[jax.Array], jax.Array] = _same

    @nn.compact
    def __call__(
        self,
        carry: tuple[jax.Array, Cache | None],
        layer: int | jax.Array,
        positions: Positions,
        mask_BTS: jax.Array | None,
        peer_seen_BT: jax.Array | None,
        keys_B: jax.Array | None,
    ) -> tuple[tuple[jax.Array, Cache | None], None]:
        """Return ((stream after this block, cache with the block's new keys and values), None), as a scan requires."""
        config, (x_BTD, cache) = self.config, carry
        site = EMBEDDING_SITE + 1 + (SITES_PER_BLOCK + config.attention.cross_asset) * layer
        norms = [LayerNorm(config.dtype, name="norm1"), LayerNorm(config.dtype, name="norm2")]
        before, after = (norms, [_same, _same]) if config.norm == "pre" else ([_same, _same], norms)

        # Flax names the scopes of modules; these also attribute a sublayer's norm, dropout and addition in profiles.
        with jax.named_scope("attention"):
            attention = SelfAttention(config, name="attention")
            added_BTD, cache = attention(before[0](x_BTD), positions, mask_BTS, cache, layer=layer)
            x_BTD = after[0](x_BTD + dropout(added_BTD, keys_B, site=site, rate=config.dropout))
        if config.attention.cross_asset:
            assert peer_seen_BT is not None  # see `stream`
            with jax.named_scope("cross_asset"):
                added_BTD = CrossAssetAttention(config, name="cross")(
                    LayerNorm(config.dtype, name="norm_cross")(x_BTD), positions, peer_seen_BT
                )
                x_BTD += dropout(added_BTD, keys_B, site=site + 3, rate=config.dropout)
        with jax.named_scope("ffn"):
            added_BTD = FeedForward(config, name="ffn")(before[1](x_BTD), keys_B, site=site + 1)
            x_BTD = after[1](x_BTD + dropout(added_BTD, keys_B, site=site + 2, rate=config.dropout))
        return (self.pin(x_BTD), cache), None


def _rematerialised(config: ModelConfig) -> type[nn.Module]:
    """Return the block, with rematerialisation as `config.remat` says."""
    if config.remat == "none":
        return TransformerBlock
    policy = jax.checkpoint_policies.checkpoint_dots_with_no_batch_dims if config.remat == "dots" else None
    return nn.remat(TransformerBlock, policy=policy, prevent_cse=not config.scan_layers)


def stack_layers(params: dict[str, Any], config: ModelConfig) -> dict[str, Any]:
    """Convert the parameters of a loop over layers to those of a scan: stack blocks_0, blocks_1, ... as `blocks`."""
    names = [f"blocks_{layer}" for layer in range(config.n_layers)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(params[name] for name in names))
    return {**{name: part for name, part in params.items() if name not in names}, "blocks": stacked}


def unstack_layers(params: dict[str, Any], config: ModelConfig) -> dict[str, Any]:
    """Convert the parameters of a scan over layers to those of a loop, see `stack_layers`."""
    parts = {
        f"blocks_{layer}": jax.tree.map(lambda leaf, at=layer: leaf[at], params["blocks"])
        for layer in range(config.n_layers)
    }
    return {**{name: part for name, part in params.items() if name != "blocks"}, **parts}


class LOBTransformer(nn.Module):
    """A transformer over the tokens of a limit order book, causal unless configured otherwise.

    Attributes:
      config: the model's configuration.
      pin: function applied to the stream [B, T, D] between blocks, to constrain its sharding over several devices.
    """

    config: ModelConfig
    pin: Callable[[jax.Array], jax.Array] = _same

    def setup(self) -> None:
        config, block = self.config, _rematerialised(self.config)
        self.embeddings = Embeddings(config)
        if config.scan_layers:
            scanned = nn.scan(
                block,
                variable_axes={"params": 0, "attention": 0, TRANSPOSED: 0},
                split_rngs={"params": True},
                in_axes=(0, nn.broadcast, nn.broadcast, nn.broadcast, nn.broadcast),
                length=config.n_layers,
            )
            self.blocks = scanned(config, self.pin)
        else:
            self.blocks = [block(config, self.pin) for _ in range(config.n_layers)]
        if config.norm == "pre":
            self.norm = LayerNorm(config.dtype)
        self.head = PredictionHead(config)
        if config.counts:
            self.counts, self.gates = CountTables(config), Gates(config)
        if config.heads.next_tokens > 1:
            self.ahead = AheadHead(config)
        if config.heads.outlook_events:
            self.outlook_head = OutlookHead(config)
        if config.heads.contrastive_size:
            self.contrastive = ContrastiveHead(config)

    def __call__(
        self, tokens_BT: jax.Array, conditioning: Conditioning, **how: Any
    ) -> jax.Array | tuple[jax.Array, Cache]:
        """Return logits_BTV, float32, of the token after each; with a cache, (logits_BTV, the extended cache).

        In a model that is not causal, logits_BTV are those of the token itself. Arguments and errors are those of
        `stream`.
        """
        features, cache = self.features(tokens_BT, conditioning, **how)
        logits_BTV = self._next_logits(features)
        if self.is_initializing():
            self._touch_heads(features.x_BTD)
        return logits_BTV if cache is None else (logits_BTV, cache)

    def _touch_heads(self, x_BTD: jax.Array) -> None:
        """Create the parameters of the heads that `__call__` does not use."""
        if self.config.heads.next_tokens > 1:
            self.ahead(x_BTD)
        if self.config.heads.outlook_events:
            self.outlook_head(x_BTD)
        if self.config.heads.contrastive_size:
            self.contrastive(x_BTD)

    def features(self, tokens_BT: jax.Array, conditioning: Conditioning, **how: Any) -> tuple[Features, Cache | None]:
        """Return what logits are computed from, and the extended cache; arguments as in `stream`."""
        x_BTD, cache = self.stream(tokens_BT, conditioning, **how)
        return self.next_features(x_BTD, conditioning), cache

    def last_logits(
        self, tokens_BT: jax.Array, conditioning: Conditioning, *, cache: Cache
    ) -> tuple[jax.Array, Cache | None]:
        """Return logits [B, V] of the token after the last one, and the extended cache."""
        x_BTD, extended = self.stream(tokens_BT, conditioning, cache=cache)
        last = {name: known[:, -1:] for name, known in conditioning.items()}
        return self.logits_of(x_BTD[:, -1:], last)[:, 0], extended

    def outlook(self, tokens_BT: jax.Array, conditioning: Conditioning, **how: Any) -> Outlook:
        """Return the predictions of the mid price at each token, see `Outlook`; arguments as in `stream`."""
        return self.outlook_head(self.stream(tokens_BT, conditioning, **how)[0])

    def stream(
        self,
        tokens_BT: jax.Array,
        conditioning: Conditioning,
        *,
        positions_BT: jax.Array | None = None,
        mask_BTS: jax.Array | None = None,
        cache: Cache | None = None,
        example_B: jax.Array | None = None,
        deterministic: bool = True,
        added_BTD: jax.Array | None = None,
        mixture: Mixture | None = None,
    ) -> tuple[jax.Array, Cache | None]:
        """Return the residual stream that the heads read, [B, T, D], and the extended cache.

        Args:
          tokens_BT: int token ids; an id outside the vocabulary is clipped to it.
          conditioning: the other inputs at each token.
          positions_BT: int positions, below max_seq_length; by default they continue from the cache's length, or start
            at 0. If they are given, a sequence and its side branches may together exceed max_seq_length.
          mask_BTS: bool, True = may attend, S = T or the slots of the cache. It can only narrow the causal mask, and a
            token always sees itself. Side branches are stored after their prefix, with positions that continue from
            it, and are masked from one another.
          cache: keys and values of earlier tokens, which the new ones are appended to. After its last slot, a cache
            wraps around, one token at a time, and overwrites the oldest token; only relative positions allow that.
          example_B: int numbers of the examples, from which dropout keys are derived; needed only with dropout.
          deterministic: whether to disable dropout; otherwise apply() needs rngs={"dropout": key}.
          added_BTD: added to the tokens' embeddings, see `training.step.adversarial`; None for nothing.
          mixture: other inputs, whose embeddings, behind norm and dropout, are mixed with these; None for none. Where
            attention depends on events or times, they are those of `conditioning`.

        Raises:
          InputError: the sequence is too long, an input is missing, shapes do not match, or this kind of attention
            supports neither a cache nor a mask.
        """
        config = self.config
        batch, T = tokens_BT.shape
        slots = T if cache is None else cache.slots
        if positions_BT is None and config.max_seq_length < T:
            raise _too_long(T, config)
        _check_shapes(batch=batch, queries=T, slots=slots, cache=cache, mask_BTS=mask_BTS)
        filled = 0 if cache is None else cache.length
        if positions_BT is None:
            positions_BT = jnp.broadcast_to(jnp.asarray(filled)[..., None] + jnp.arange(T), (batch, T))
        if mask_BTS is not None or cache is not None:  # otherwise the kind of attention applies its own mask
            _check_maskable(config)
            mask_BTS = visible_slots(T, T, 0, mask_BTS=mask_BTS) if cache is None else cache.visible(T, mask_BTS)
        keys_B = None if deterministic or config.dropout == 0 else self._dropout_keys(example_B)
        positions = Positions(
            position_BT=positions_BT,
            event_BT=given(conditioning, "event") if config.needs_events else None,
            clock_BT2=given(conditioning, "clock") if config.needs_clock else None,
        )
        if cache is not None:
            cache = cache.with_positions(positions)

        x_BTD = self.embeddings(tokens_BT, positions_BT, conditioning, keys_B, added_BTD)
        if mixture is not None:  # with the same dropout, so that what is mixed is also what dropout leaves of it
            other_BTD = self.embeddings(mixture.tokens_BT, positions_BT, mixture.conditioning, keys_B)
            x_BTD = mixture.mixed(x_BTD, other_BTD)
        x_BTD = self.pin(x_BTD)
        peer_seen_BT = given(conditioning, "peer_seen") if config.attention.cross_asset else None
        x_BTD, cache = self._run_blocks((x_BTD, cache), positions, mask_BTS, peer_seen_BT, keys_B)
        if config.norm == "pre":
            x_BTD = self.norm(x_BTD)
        if cache is None:
            return x_BTD, None
        cache = cache.settled()
        return x_BTD, dataclasses.replace(cache, length=cache.length + T)

    def _run_blocks(self, carry: tuple, *known: Any) -> tuple[jax.Array, Cache | None]:
        blocks: Any = self.blocks  # one module that scans over layers, or a list of modules
        if self.config.scan_layers:
            x_BTD, cache = carry
            # A scan can only carry and index arrays, so the layers' caches are stacked for it.
            stacked = None if cache is None else cache.stacked()
            (x_BTD, cache), _ = blocks((x_BTD, stacked), jnp.arange(self.config.n_layers), *known)
            return x_BTD, None if cache is None else cache.unstacked()
        for layer, block in enumerate(blocks):
            carry, _ = block(carry, layer, *known)
        return carry

    def ahead_features(self, x_BTD: jax.Array) -> jax.Array:
        """Return the input of the output projection for the tokens after the next, [B, T, K, D]; x from `stream`."""
        return self.ahead(x_BTD)

    def logits_of(self, x_BTD: jax.Array, conditioning: Conditioning) -> jax.Array:
        """Return logits_BTV of the token after each; x from `stream`, with the inputs there."""
        return self._next_logits(self.next_features(x_BTD, conditioning))

    def ahead_logits(self, x_BTD: jax.Array, *, tokens: int | None = None) -> jax.Array:
        """Return logits [B, T, K, V] of the tokens after the next, all or only `tokens` of them; x from `stream`."""
        ahead_BTKD = self.ahead(x_BTD)[:, :, :tokens]
        flat_BTV = self._next_logits(Features(ahead_BTKD.reshape(x_BTD.shape[0], -1, ahead_BTKD.shape[-1])))
        return flat_BTV.reshape(*ahead_BTKD.shape[:-1], -1)

    def next_features(self, x_BTD: jax.Array, conditioning: Conditioning) -> Features:
        """Return what the logits of the next token are computed from; x from `stream`, with the inputs there."""
        x_BTD = self.pin(self.head(x_BTD))
        if not self.config.pointer:
            return Features(x_BTD)
        features = Features(x_BTD, candidates(conditioning), level_features(conditioning))
        if not self.config.counts:
            return features
        return features._replace(counted=self.counts(conditioning, self._block_BT1(conditioning)))

    def _block_BT1(self, conditioning: Conditioning) -> jax.Array:
        """Return the block whose own counts are taken off at each token: that of its record, in training."""
        if OWN not in self.variables.get("params", {}) or "record" not in conditioning:
            return jnp.full((*given(conditioning, "latest").shape[:2], 1), NO_BLOCK, jnp.int32)
        return block_of(conditioning["record"], self.variables["params"][OWN]["records"])[..., None]

    def outlook_of(self, x_BTD: jax.Array) -> Outlook:
        """Return the predictions of the mid price at each token; x from `stream`."""
        return self.outlook_head(x_BTD)

    def contrast(self, x_BTD: jax.Array) -> jax.Array:
        """Return the unit vectors [B, T, P] that contrastive training compares; x from `stream`."""
        return self.contrastive(x_BTD)

    def token_table(self) -> jax.Array:
        """Return the embedding of every token, [V, D]."""
        return self.embeddings.table()

    def projection(self) -> Projection:
        """Return the parameters of `next_logits`; with the collection TRANSPOSED, the output projection is from it."""
        projection = self.head.projection(self._tied_VD())
        if self.config.counts:
            own = self.variables.get("params", {}).get(OWN)
            tables = self.gates(self.counts, None if own is None else Own(own["rows"], own["shortest"]))
            projection = projection._replace(tables=tables)
        if self.has_variable(TRANSPOSED, "output"):
            return projection._replace(weight_VD=self.get_variable(TRANSPOSED, "output"))
        if self.is_mutable_collection(TRANSPOSED) and not self.is_initializing():
            self.put_variable(TRANSPOSED, "output", projection.weight_VD.astype(self.config.dtype))
        return projection

    def _next_logits(self, features: Features) -> jax.Array:
        return next_logits(features, self.projection(), first=TRANSPOSED in self.variables)

    def _tied_VD(self) -> jax.Array | None:
        return self.embeddings.table() if self.config.tie_embeddings else None

    def _dropout_keys(self, example_B: jax.Array | None) -> jax.Array:
        if example_B is None:
            raise InputError(
                "dropout needs the numbers of the examples",
                where="LOBTransformer(example_B=...)",
                expected="an int array [B]",
                was=None,
                remedy="pass the batch's example numbers, or deterministic=True",
            )
        return example_keys(self.make_rng("dropout"), example_B)


def example_inputs(config: ModelConfig) -> tuple[jax.Array, Conditioning]:
    """Return the smallest inputs of the model, one token per sequence, for initialising its parameters."""
    rows = 2 if config.attention.cross_asset else 1
    inputs = zeros(config, ("tokens", *names_of(Role.BESIDE)), windows=(rows,), tokens=1)
    tokens_BT = jnp.asarray(inputs.pop("tokens"))
    return tokens_BT, jax.tree.map(jnp.asarray, inputs)


def initial_parameters(config: ModelConfig, key: jax.Array) -> dict:
    """Return the model's initial parameters, as the nested dict that apply({"params": ...}) takes."""
    tokens_BT, conditioning = example_inputs(config)
    return LOBTransformer(config).init({"params": key}, tokens_BT, conditioning)["params"]


@functools.partial(jax.jit, static_argnames="config")
def transposed(params: dict, config: ModelConfig) -> dict:
    """Return the collection TRANSPOSED of a model; passed to apply(), it makes products of few rows faster.

    It holds what would otherwise be computed at every call: weights in the dtype of the products, and the output
    projection from its parts.
    """
    _, made = LOBTransformer(config).apply({"params": params}, *example_inputs(config), mutable=[TRANSPOSED])
    return made[TRANSPOSED]


def _check_maskable(config: ModelConfig) -> None:
    if not config.causal:
        raise InputError(
            "a model that is not causal reads only complete sequences",
            where="LOBTransformer(cache=..., mask_BTS=...)",
            expected="model.causal = True",
            was=False,
            remedy="train a causal model to generate or to predict directions",
        )
    if config.attention.cross_asset:
        raise InputError(
            "a model with cross-asset attention reads only complete windows",
            where="LOBTransformer(cache=..., mask_BTS=...)",
            expected="model.attention.cross_asset = False",
            was=True,
            remedy="train a model of one asset to generate or to predict directions token by token",
        )


def _check_shapes(*, batch: int, queries: int, slots: int, cache: Cache | None, mask_BTS: jax.Array | None) -> None:
    if cache is not None and (cache.batch != batch or slots < queries):
        raise InputError(
            "the new tokens do not fit the cache",
            where="LOBTransformer(cache=...)",
            expected=f"a batch of {batch} and at least {queries} slots",
            was=f"a batch of {cache.batch} and {slots} slots",
            remedy="make the cache with empty_cache(config, batch, length) of that size",
        )
    if mask_BTS is not None and mask_BTS.shape != (batch, queries, slots):
        raise InputError(
            "the attention mask has the wrong shape",
            where="LOBTransformer(mask_BTS=...)",
            expected=(batch, queries, slots),
            was=mask_BTS.shape,
            remedy="give one row per query and one column per token, or per slot of the cache",
        )


def _too_long(length: int, config: ModelConfig) -> InputError:
    return InputError(
        "the sequence is longer than the model",
        where="model.max_seq_length",
        expected=f"at most {config.max_seq_length} tokens",
        was=length,
        remedy="cut the sequence, or train a model with a greater max_seq_length",
    )
