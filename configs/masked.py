"""Masked events, predicted from both sides as in BERT, so this model cannot generate.

All tokens of an event are masked together, since one that is left says much about the others. The model does not
see the book or the flow, since those after an event reveal the event.
"""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model of masked tokens."""
    config = sized.get_config(size)
    config.train.objective = "masked"
    config.train.mask_events = True
    config.model.causal = False
    config.model.mask = "none"
    config.model.book_state = config.model.flow_state = config.model.queue_state = False
    config.model.price_memory = config.model.latest_tokens = config.model.pointer = False
    config.model.counts = 0
    config.train.sample_events = 0
    return config
