"""The queue that the device shows is that of the host along the decoded path, after every token."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.book.queue import QUEUE_NUMBERS, QueueColumn
from lob_jax.generation import loop, speculative
from lob_jax.generation.device.known import known_at
from lob_jax.generation.device.orders import Order, order_table
from lob_jax.generation.loop import generate
from lob_jax.generation.paths import Row, corrections_of, path_day, rows_of
from lob_jax.generation.speculative import generate_speculatively
from lob_jax.generation.start import start_paths
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.exact import ExactTokenizer
from tests.generation.market import INSTRUMENT, MODEL, START, TOKENIZER, lively, prompt
from tests.generation.test_windowed_paths import BEHIND, REVEALS, SHOWN

QUEUE = dataclasses.replace(MODEL, queue_state=True, max_seq_length=256)
TOKENS = 240
