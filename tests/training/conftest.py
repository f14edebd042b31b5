"""A model and a training configuration that compile fast, and windows to train on.

The subprocess of the kill test reads this file too, so everything that it needs is a plain function.
"""

import dataclasses
import functools
import pathlib
import time

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from lob_jax.config.sections import model_config, train_config
from lob_jax.configs import base
from lob_jax.data.windows.pipeline import batches, first_position
from lob_jax.training.run.data import TrainingData

MODEL = dataclasses.replace(
    model_config(base.get_config()),
    d_model=16,
    n_layers=1,
    n_heads=2,
    head_size=0,
    d_ff=32,
    vocab_size=40,
    max_seq_length=12,
    dropout=0.2,
    tie_embeddings=True,
    norm="pre",
    positions="learned",
    time_of_day=False,
    time_buckets=24,
    day_of_week=False,
    book_state=True,
    book_features=4,
    standardize_book=True,
    flow_state=False,
    queue_state=False,
    price_memory=False,
    latest_tokens=False,
    token_parts=False,
    digits_rank=0,
    gap_components=0,
    counts=0,
    pointer=False,
    dtype="float32",
)
TRAIN = dataclasses.replace(
    train_config(base.get_config()),
    batch_size=8,
    accumulation=1,
    micro_batch=8,
    parallel="jit",
    fsdp=1,
    tensor=1,
    loss_block=None,
    deterministic=False,
    epochs=1,
    steps=12,
    max_hours=None,
    optimizer="adamw",
    learning_rate=1e-2,
    schedule="cosine",
    decay_fraction=0.2,
    warmup_steps=2,
    final_lr_fraction=0.1,
    weight_decay=0.01,
    beta1=0.9,
    beta2=0.95,
    clip=1.0,
    ema_decay=None,
    max_skipped=10,
    log_every=1,
    validate_every=4,
    validation_windows=8,
    keep_best=3,
    patience=10,
    sample_events=0,
    profile_step=None,
    profile_steps=3,
)


def make_windows(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return windows of the tiny model, as a batch with a leading axis, with unequal numbers of scored tokens.

    Each token is the previous one plus one, which a model learns in a few dozen steps.
    """
    random, length = np.random.default_rng(seed), MODEL.max_seq_length + 1
    scored = np.arange(length) < random.integers(2, length + 1, (count, 1))
    return {
        "tokens": ((random.integers(0, 40, (count, 1)) + np.arange(length)) % 40).astype(np.int32),
        "time_of_day": random.integers(0, 24, (count, length)).astype(np.int32),
        "day_of_week": np.full((count, length), 2, np.int32),
        "book": random.normal(size=(count, length, 4)).astype(np.float32),
        "scored": scored,
        "position": np.zeros(count, np.int32),
    }


class SlowSource:
    """Windows by index, each read after a pause, so that a kill hits the middle of a run."""

    evaluation = False

    def __init__(self, batch: dict[str, np.ndarray], pause_s: float):
        self.batch, self.pause_s = batch, pause_s
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.batch["tokens"])

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        time.sleep(self.pause_s)
        self.read.append(int(index))
        return {name: leaf[index] for name, leaf in self.batch.items()}


def make_data(
    batch: dict[str, np.ndarray] | None = None,
    *,
    pause_s: float = 0.0,
    epochs: int | None = None,
    source: SlowSource | None = None,
    processes: int = 1,
    process: int = 0,
    batch_size: int = 8,
):
    """Return 40 shuffled training windows (or those given) in batches of 8, and 11 validation windows.

    Each of P processes has every P-th of the shuffled windows, in batches of 8 / P.
    """
    batch = make_windows(40) if batch is None else batch
    source = SlowSource(batch, pause_s) if source is None else source
    cut = {"batch_size": batch_size // processes, "host_count": processes}
    return TrainingData(
        batches=functools.partial(batches, source, seed=5, epochs=epochs, shuffle=True, host_index=process, **cut),
        start=first_position(source, **cut),
        windows=len(batch["tokens"]),
        validation=[make_windows(8, seed=1), make_windows(3, seed=2)],
        vocabulary_hash="abc",
    )


def use_compilation_cache(folder: pathlib.Path) -> None:
    """Cache everything that is compiled, so that no program is compiled twice."""
    compilation_cache.reset_cache()  # JAX checks only once whether there is a cache, at its first compilation
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture(scope="session")
def model_config():
    """Return a function that returns the tiny model's configuration, with changes."""
    return lambda **changes: dataclasses.replace(MODEL, **changes)


@pytest.fixture(scope="session")
def train_config():
    """Return a function that returns a short run's configuration, with changes."""
    return lambda **changes: dataclasses.replace(TRAIN, **changes)


@pytest.fixture(scope="session")
def windows():
    """Return `make_windows`."""
    return make_windows


@pytest.fixture(scope="session")
def slow_source():
    """Return `SlowSource`, which records what was read from it."""
    return SlowSource


@pytest.fixture(scope="session")
def training_data():
    """Return `make_data`."""
    return make_data
