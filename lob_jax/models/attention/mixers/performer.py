"""Performer (FAVOR+): softmax attention approximated by positive random features, with running sums over the past.

exp(q k) is the expectation of exp(w q - q q / 2) exp(w k - k k / 2) over normal w (Choromanski et al., 2021). The past
enters a query's output only through two sums over past tokens, of M features times H values and of M features, which
are carried from block to block: time and memory grow linearly in T.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.models.attention.positions import Positions
from lob_jax.models.config import ModelConfig, full_precision

SEED = 0  # of the features, which are constants of the architecture
LARGEST_EXPONENT = 60.0  # of a key's feature, so that sums over any context stay within float32
LEAST_WEIGHT = 1e-6  # of a typical key, added to denominators: if all weights underflow, the output is 0, not NaN


@functools.lru_cache
def orthogonal_features(heads: int, features: int, head_size: int) -> np.ndarray:
    """Return the directions w of each head, float32 [N, M, H]: orthogonal in groups of H, normal lengths.

    Orthogonal directions give estimates of lower variance than independent ones (section 2.4 of that paper).
    """
    random = np.random.default_rng(SEED)
    directions = np.empty((heads, features, head_size))
    for head in range(heads):
        for first in range(0, features, head_size):
            square, upper = np.linalg.qr(random.standard_normal((head_size, head_size)))
            square *= np.sign(np.diag(upper))  # QR fixes signs; this makes directions uniform again (Mezzadri, 2007)
            directions[head, first : first + head_size] = square[: features - first]
        directions[head] *= np.linalg.norm(random.standard_normal((features, head_size)), axis=1, keepdims=True)
    return directions.astype(np.float32)


def log_features(x_BTNH: jax.Array, feature_NMH: jax.Array) -> jax.Array:
    """Return w x' - x' x' / 2 for each feature, [B, T, N, M] in full precision, x' = x / H^(1/4)."""
    full = full_precision(x_BTNH.dtype.name)
    scaled_BTNH = x_BTNH.astype(full) * x_BTNH.shape[-1] ** -0.25
    half_square_BTN1 = 0.5 * jnp.square(scaled_BTNH).sum(-1, keepdims=True)
    return jnp.einsum("BTNH,NMH->BTNM", scaled_BTNH, feature_NMH.astype(full)) - half_square_BTN1


class PerformerAttention(nn.Module):
    """Attend approximately to all earlier tokens: by products within a block, and by running sums before it."""

    config: ModelConfig

    def __call__(
        self, query_BTNH: jax.Array, key_BTNH: jax.Array, value_BTNH: jax.Array, positions: Positions
    ) -> jax.Array:
        """Return mixed_BTNH, see `attention.kind`."""
        del positions
        query_BTNM, key_BTNM = self._features(query_BTNH, key_BTNH)
        B, T, N, H = value_BTNH.shape
        block = min(self.config.attention.block, T)
        missing = -T % block

        def blocks(x: jax.Array) -> jax.Array:
            """Return [G, B, N, C, ...], with the axis of blocks first, for a scan."""
            padded = jnp.pad(x, ((0, 0), (0, missing), (0, 0), (0, 0)))
            return jnp.moveaxis(padded.reshape(B, -1, block, N, x.shape[-1]), (1, 3), (0, 2))

        full = query_BTNM.dtype
        # An additional value of one sums the weights: the denominator.
        value_BTNI = jnp.concatenate([value_BTNH.astype(full), jnp.ones((B, T, N, 1), full)], axis=-1)
        causal_CC = jnp.tril(jnp.ones((block, block), full))

        def take(past_BNMI: jax.Array, piece: tuple) -> tuple[jax.Array, jax.Array]:
            query_BNCM, key_BNCM, value_BNCI = piece
            inside_BNCC = jnp.einsum("BNCM,BNSM->BNCS", query_BNCM, key_BNCM) * causal_CC
            mixed_BNCI = jnp.einsum("BNCS,BNSI->BNCI", inside_BNCC, value_BNCI)
            mixed_BNCI += jnp.einsum("BNCM,BNMI->BNCI", query_BNCM, past_BNMI)
            return past_BNMI + jnp.einsum("BNCM,BNCI->BNMI", key_BNCM, value_BNCI), mixed_BNCI

        nothing = jnp.zeros((B, N, query_BTNM.shape[-1], H + 1), full)
        pieces = (blocks(query_BTNM), blocks(key_BTNM), blocks(value_BTNI))
        _, mixed_GBNCI = jax.lax.scan(jax.checkpoint(take), nothing, pieces)
        mixed_BTNI = jnp.moveaxis(mixed_GBNCI, (0, 2), (1, 3)).reshape(B, -1, N, H + 1)[:, :T]
        mixed_BTNH = mixed_BTNI[..., :-1] / (mixed_BTNI[..., -1:] + self._least(query_BTNM))
        return mixed_BTNH.astype(value_BTNH.dtype)

    def weights(
        self, query_BTNH: jax.Array, key_BTNH: jax.Array, value_BTNH: jax.Array, positions: Positions
    ) -> jax.Array:
        """Return weight_BNTS, see `attention.kind`: normalised products of features, T x T."""
        query_BTNM, key_BTNM = self._features(query_BTNH, key_BTNH)
        product_BNTS = jnp.tril(jnp.einsum("BTNM,BSNM->BNTS", query_BTNM, key_BTNM))
        least_BNT1 = jnp.swapaxes(self._least(query_BTNM), 1, 2)
        return product_BNTS / (product_BNTS.sum(-1, keepdims=True) + least_BNT1)

    def _features(self, query_BTNH: jax.Array, key_BTNH: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the features of queries and keys, positive, [B, T, N, M].

        A factor common to all features of a query cancels in its output, so each query is divided by its largest one.
        A factor common to all keys cancels too, but their largest feature would leak the future, so a constant bound is
        used instead, see `_offset`.
        """
        feature_NMH = jnp.asarray(self._directions())
        query_BTNM, key_BTNM = log_features(query_BTNH, feature_NMH), log_features(key_BTNH, feature_NMH)
        largest_BTN1 = jax.lax.stop_gradient(query_BTNM.max(-1, keepdims=True))
        return jnp.exp(query_BTNM - largest_BTN1), jnp.exp(key_BTNM - self._offset())

    def _directions(self) -> np.ndarray:
        config = self.config
        return orthogonal_features(config.n_heads, config.attention.random_features, config.head_width)

    def _offset(self) -> float:
        """Return the number to subtract from the exponents of keys; w k - k k / 2 <= w w / 2 for every key k."""
        return max(0.0, float(np.square(self._directions()).sum(-1).max()) / 2 - LARGEST_EXPONENT)

    def _least(self, query_BTNM: jax.Array) -> jax.Array:
        """Return what is added to a query's denominator, [B, T, N, 1]; the features of a key are 1 on average."""
        return LEAST_WEIGHT * float(np.exp(-self._offset())) * query_BTNM.sum(-1, keepdims=True)
