"""About a million parameters, for a laptop CPU: from the simulator to generated events in about ten minutes.

It demonstrates the pipeline: expect about 25.5 bits per event, where zero-order frequencies need 29.2, the n-gram model
28.4, and counts that know the book 25.6.
"""

import ml_collections

from lob_jax.configs import base


def get_config() -> ml_collections.ConfigDict:
    """Return the configuration of the demo."""
    config = base.get_config()
    config.data.synthetic_days = 5
    config.data.synthetic_events = 40_000
    config.data.embargo_events = 160
    config.tokens.time_digits = 5
    config.model.d_model = 64
    config.model.n_layers = 3
    config.model.n_heads = 4
    config.model.d_ff = 256
    config.model.max_seq_length = 256
    config.model.book_state = True
    config.model.flow_state = True
    config.model.queue_state = True
    config.model.pointer = True
    config.model.latest_tokens = True
    config.model.token_parts = True
    config.model.digits_rank = 4
    config.model.mask = "book"
    config.model.dtype = "float32"
    config.train.accumulation = 1
    config.train.batch_size = 16
    config.train.steps = 600
    config.train.warmup_steps = 30
    config.train.optimizer = "muon"
    config.train.learning_rate = 5e-3
    config.train.log_every = 25
    config.train.validate_every = 75
    config.train.validation_windows = 64
    config.find_lr.steps = 120
    config.sweep.trials = 6
    config.sweep.startup_trials = 3
    config.sweep.space = "train.learning_rate=log(1e-3,1e-2) model.dropout=uniform(0,0.2)"
    config.forecast.history = 40
    config.forecast.horizons = (10, 20, 50)
    config.forecast.steps = 300
    config.forecast.validate_every = 100
    config.evaluate.direction_events = 500
    config.generate.paths = 2
    config.generate.events = 200
    return config
