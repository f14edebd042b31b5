"""A model and a training configuration small enough to compile in a second, and windows to train them on."""

import dataclasses

import numpy as np
import pytest

from lob_jax.models.config import ModelConfig
from lob_jax.training.config import TrainConfig

MODEL = ModelConfig(
    d_model=16,
    n_layers=1,
    n_heads=2,
    d_ff=32,
    vocab_size=40,
    max_seq_length=12,
    dropout=0.2,
    tie_embeddings=True,
    norm="pre",
    positions="learned",
    time_of_day=True,
    time_buckets=24,
    day_of_week=True,
    book_state=True,
    book_features=4,
    dtype="float32",
)
TRAIN = TrainConfig(
    batch_size=8,
    accumulation=1,
    micro_batch=None,
    epochs=1,
    steps=12,
    learning_rate=1e-2,
    warmup_steps=2,
    final_lr_fraction=0.1,
    weight_decay=0.01,
    beta1=0.9,
    beta2=0.95,
    clip=1.0,
    log_every=1,
    validate_every=4,
    validation_windows=8,
    keep_best=3,
    patience=10,
)


@pytest.fixture(scope="session")
def model_config():
    """Return a function: the tiny model's configuration, with changes."""
    return lambda **changes: dataclasses.replace(MODEL, **changes)


@pytest.fixture(scope="session")
def train_config():
    """Return a function: a short run's configuration, with changes."""
    return lambda **changes: dataclasses.replace(TRAIN, **changes)


@pytest.fixture(scope="session")
def windows():
    """Return a function: W windows of the tiny model, as a batch with a leading W axis, scored unequally."""

    def make(count: int, seed: int = 0) -> dict[str, np.ndarray]:
        random, length = np.random.default_rng(seed), MODEL.max_seq_length + 1
        # Each token is the one before plus one: a rule that a model learns in a few steps.
        tokens = (random.integers(0, 40, (count, 1)) + np.arange(length)) % 40
        scored = np.arange(length) < random.integers(2, length + 1, (count, 1))
        return {
            "tokens": tokens.astype(np.int32),
            "time_of_day": random.integers(0, 24, (count, length)).astype(np.int32),
            "day_of_week": np.full((count, length), 2, np.int32),
            "book": random.normal(size=(count, length, 4)).astype(np.float32),
            "scored": scored,
            "event": np.broadcast_to(np.arange(length, dtype=np.int32) // 3, (count, length)).copy(),
            "record": np.zeros(count, np.int32),
            "position": np.zeros(count, np.int32),
        }

    return make
