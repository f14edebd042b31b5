"""One token an event: a context of as many events as positions, and generation of an event a step.

Prices, sizes and gaps are known by bins alone, fitted to the training days; `--mode=prepare` says what that loses.
"""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model of compact tokens."""
    config = sized.get_config(size)
    config.tokens.kind, config.tokens.time_digits = "compact", None
    config.model.positions = "rotary"
    config.data.embargo_events = max(config.data.embargo_events, config.model.max_seq_length + 1)
    config.data.record_events = max(config.data.record_events, 2 * config.model.max_seq_length)
    return config
