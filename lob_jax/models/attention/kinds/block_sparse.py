"""Block-sparse attention to neighbouring blocks, the first blocks, and blocks at distances of powers of two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lob_jax.models.attention.kind import AttentionKind, later

if TYPE_CHECKING:
    from lob_jax.models.config import AttentionConfig


def blocks_seen(config: AttentionConfig, context: int) -> int:
    """Return the number of blocks that the last block of a context sees."""
    last = -(-context // config.block) - 1
    local = range(max(0, last - config.local_blocks + 1), last + 1)
    strided = (last - 2**power for power in range(last.bit_length()))
    return len({*local, *range(min(config.global_blocks, last + 1)), *strided})


KIND = AttentionKind(
    module=later("block_sparse.BlockSparseAttention"),
    sees="neighbouring blocks, the first ones, and blocks at distances of powers of two: cost grows as T log T",
    settings=("block", "local_blocks", "global_blocks"),
    pattern=later("block_sparse.pattern"),
    # The keys of all blocks that the last block of the context sees.
    keys_a_query=lambda config, T: float(min(T, config.attention.block * blocks_seen(config.attention, T))),
)
