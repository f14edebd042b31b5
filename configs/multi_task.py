"""Next tokens, and the direction and realised volatility of the mid price 10 to 100 events ahead.

How much each of them counts is learned, by its uncertainty.
"""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model of events, price direction and volatility."""
    config = sized.get_config(size)
    config.model.heads.outlook_events = (10, 20, 50, 100)
    config.model.book_state = True
    config.train.task_weights = "learned"
    return config
