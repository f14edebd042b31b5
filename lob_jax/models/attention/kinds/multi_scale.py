"""Multi-scale attention: each head has a horizon in events or in seconds, or none."""

from lob_jax.models.attention.kind import AttentionKind, later

KIND = AttentionKind(
    module=later("multi_scale.MultiScaleAttention"),
    sees="in each head, the tokens within its own horizon: 16 events, 128 events, 10 seconds, or all",
    settings=("horizons",),
    pattern=later("multi_scale.within_horizons"),
    roles=lambda config: len(config.attention.horizons),
)
