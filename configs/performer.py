"""Performer: softmax attention approximated by random features; the cost grows as T.

It has no key-value cache, so it cannot generate: it is trained and tested on complete windows. For longer contexts:
performer.py:small with
--config.model.max_seq_length=8192 --config.data.embargo_events=4104.
"""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a Performer."""
    config = sized.get_config(size)
    config.model.attention.kind = "performer"
    config.model.attention.qk_norm = True  # bounded queries and keys keep the approximation error small
    return config
