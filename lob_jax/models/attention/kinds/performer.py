"""Performer (FAVOR+): softmax attention approximated by positive random features, with running sums over the past."""

from lob_jax.models.attention.kind import AttentionKind, later

KIND = AttentionKind(
    module=later("performer.PerformerAttention"),
    sees="all tokens before it, approximately, by random features: cost grows as T",
    settings=("block", "random_features"),
    # The block, and 2 M for M features: computing the features of queries and keys, adding keys to the running sums and
    # reading the sums cost M H each, 4 M H together, where a key costs 2 H.
    keys_a_query=lambda config, T: config.attention.block + 2.0 * config.attention.random_features,
    roles=lambda config: config.n_heads,  # each head has random features of its own, by its number
)
