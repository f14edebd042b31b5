"""Performer: softmax attention approximated by random features, in time that grows as T.

It has no cache: it is trained and tested on whole windows. For longer contexts: performer.py:small with
--config.model.max_seq_length=8192 --config.data.embargo_events=4104.
"""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a Performer."""
    config = sized.get_config(size)
    config.model.attention.kind = "performer"
    config.model.attention.qk_norm = True  # queries and keys of bounded length keep the features' error small
    return config
