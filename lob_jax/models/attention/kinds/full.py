"""Full attention: each token sees all earlier tokens or, in a model that is not causal, all tokens."""

from lob_jax.models.attention.kind import AttentionKind, later

KIND = AttentionKind(
    module=later("full.FullAttention"),
    sees="all tokens before it; in a model that is not causal, all tokens",
    pattern=lambda config, queries, keys: None,
    both_ways=True,
)
