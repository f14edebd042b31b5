"""Causal Linformer: attention to learned summaries of the past, and to the tokens of the query's own block."""

from lob_jax.models.attention.kind import AttentionKind, later

KIND = AttentionKind(
    module=later("linformer.LinformerAttention"),
    sees="its own block, and learned summaries of the past, blockwise, so that it stays causal: cost grows as T",
    settings=("block", "summaries"),
    # The block and K summaries, and as much again for computing the summaries.
    keys_a_query=lambda config, T: config.attention.block + 2.0 * config.attention.summaries,
)
