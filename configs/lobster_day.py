"""One LOBSTER day on two CPU cores: pass --config.data.path=<the message file>.

On GOOG's sample day of 10 levels this takes a quarter of an hour to an hour; BUILD_NOTES.md has the results.
"""

import ml_collections

from lob_jax.configs import base


def get_config() -> ml_collections.ConfigDict:
    """Return the configuration of a single day's run."""
    config = base.get_config()
    config.data.feed = "lobster"
    config.data.book_levels = 10
    config.data.mirror = True  # within a single morning, one side may well be the busier one
    config.tokens.time_digits = 5
    config.model.d_model = 128
    config.model.n_layers = 4
    config.model.n_heads = 4
    config.model.d_ff = 512
    config.model.max_seq_length = 256
    config.model.positions = "rotary"
    config.model.book_state = True
    config.model.flow_state = True
    config.model.queue_state = True
    config.model.pointer = True
    config.model.token_parts = True
    config.model.digits_rank = 4
    config.model.dropout = 0.2
    config.model.mask = "book"
    config.model.time_of_day = False  # within a single day, the test split is at hours that training never saw
    config.model.day_of_week = False
    config.model.dtype = "float32"
    config.train.batch_size = 16
    config.train.accumulation = 1
    config.train.steps = 1600
    config.train.warmup_steps = 100
    config.train.learning_rate = 2e-3
    config.train.weight_decay = 0.1
    config.train.validate_every = 100
    config.train.validation_windows = 128
    return config
