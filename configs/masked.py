"""Hidden tokens from those around them (BERT): no token is predicted from the past alone, so it cannot generate.

The book is left out, since the one after an event tells what the event was.
"""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model of hidden tokens."""
    config = sized.get_config(size)
    config.train.objective = "masked"
    config.model.causal = False
    config.model.book_state = False
    config.train.sample_events = 0
    return config
