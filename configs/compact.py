"""One token per event: the context holds as many events as positions, and each generated token is an event.

Prices, sizes and gaps are binned, with bins fitted to the training days; `--mode=prepare` reports what that loses.
"""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model of compact tokens."""
    config = sized.get_config(size)
    config.tokens.kind, config.tokens.time_digits = "compact", None
    config.model.mask = "book"
    config.model.queue_state = config.model.price_memory = config.model.pointer = False
    config.model.gap_components = config.model.counts = 0
    config.model.positions = "rotary"
    config.data.embargo_events = max(config.data.embargo_events, config.model.max_seq_length + 1)
    config.data.record_events = max(config.data.record_events, 2 * config.model.max_seq_length)
    return config
