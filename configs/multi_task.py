"""Beside the next token: the mid price's direction and its realised volatility, 10 to 100 events ahead."""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model of events, price moves and volatility."""
    config = sized.get_config(size)
    config.model.heads.outlook_events = (10, 20, 50, 100)
    config.model.book_state = True
    return config
