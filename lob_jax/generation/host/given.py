"""What the loop reads and does not change: the rules of the book, the grammar as ranges, the sampler's settings."""

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

from lob_jax.book.loops import correction_columns
from lob_jax.book.snapshot import Corrections
from lob_jax.events.halts import HALTS
from lob_jax.events.instrument import Instrument
from lob_jax.generation.host.draw import Sampler, new_scratch
from lob_jax.generation.host.orders import orders_of
from lob_jax.generation.host.state import Given, Reveals
from lob_jax.generation.prompt import ANY_SIZES, Prompt, RevealDistribution
from lob_jax.generation.settings import SamplingConfig
from lob_jax.models.config import ModelConfig
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.bins import GAP_BINS, MOST_DISTANCE, MOST_LOTS
from lob_jax.tokens.grammar import Automaton
from lob_jax.tokens.numbers import ALL_DIGITS
from lob_jax.tokens.sets.bins import Bins, bins_of
from lob_jax.tokens.sets.limits import Rules

if TYPE_CHECKING:
    from lob_jax.tokens.tokenizer import Tokenizer

_NO_BINS = Bins(*(np.zeros((0, 0), np.int64) for _ in range(5)))


def given_of(
    prompt: Prompt,
    tokenizer: "Tokenizer",
    instrument: Instrument,
    sampling: SamplingConfig,
    model: ModelConfig,
    *,
    room: dict[str, int],
) -> Given:
    """Return what the loop reads and does not change.

    Args:
      prompt: a prompt, for the sizes in training and the levels that come into view.
      tokenizer: the tokenizer.
      instrument: the instrument.
      sampling: the settings of the sampler.
      model: the model, whose mask decides what the kind of an event is sampled from.
      room: see `book_room`.
    """
    vocabulary = tokenizer.vocabulary
    largest = prompt.largest if sampling.limit_sizes else ANY_SIZES
    rules = Rules(
        tick=int(instrument.tick),
        signed=int(instrument.signed),
        most_distance=MOST_DISTANCE,
        most_lots=MOST_LOTS,
        gap_digits=vocabulary.time_digits or ALL_DIGITS,
        ranks=int(vocabulary.has_ranks),
        largest=largest.astype(np.int64),
        most_orders=room["orders"],
        most_levels=room["places"],
    )
    drawable_V = drawable(vocabulary.tokenizer)
    first, last, offset = _drawable_ranges(tokenizer.grammar, vocabulary.tokenizer)
    return Given(
        rules=rules,
        bins=_NO_BINS if vocabulary.bins is None else bins_of(vocabulary.bins),
        corrections=correction_columns(Corrections.none(), 0),
        sampler=_sampler(sampling, model),
        scratch=new_scratch(),
        reveals=_reveals(prompt.reveals),
        orders=orders_of(sampling.inject),
        transition=np.require(tokenizer.grammar.transition, None, ["C", "W"]),
        first=first,
        last=last,
        offset=offset,
        drawable=np.ascontiguousarray(drawable_V[: v.CLASS_SIZE]),
    )


def drawable(tokenizer: str) -> np.ndarray:
    """Return which tokens may be drawn, bool [V]: no framing tokens, no clocks running backwards, and of CONTROL codes
    only those that are halts, since the others describe the feed or the session; ranks as the grammar has them.
    """
    drawable_V = np.arange(v.VOCAB_SIZE) >= v.CLASS_SIZE
    gaps = GAP_BINS if tokenizer == "compact" else 1
    drawable_V[[v.CONTROL_BASE + code + v.CONTROL_GAP * gap for code in HALTS for gap in range(gaps)]] = True
    if tokenizer != "compact":
        drawable_V[v.TIME_SKIP] = drawable_V[v.RANK_BASE : v.RANK_END] = True
    return drawable_V


@functools.lru_cache(maxsize=8)
def _drawable_ranges(grammar: Automaton, tokenizer: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ranges of tokens that a grammar allows and that may be drawn; found once, in milliseconds."""
    return ranges_of_states(grammar.allowed & drawable(tokenizer))


def ranges_of_states(allowed_SV: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ranges of tokens that each state allows, int64, and where those of each state begin, see `Given`."""
    edges_SV = np.diff(np.pad(allowed_SV, [(0, 0), (1, 1)]).astype(np.int8), axis=1)
    begin, end = (np.nonzero(edges_SV == sign) for sign in (1, -1))
    offset = np.searchsorted(begin[0], np.arange(len(allowed_SV) + 1))
    return begin[1].astype(np.int64), end[1].astype(np.int64) - 1, offset.astype(np.int64)


def _sampler(sampling: SamplingConfig, model: ModelConfig) -> Sampler:
    truncation = sampling.truncation
    return Sampler(
        greedy=int(sampling.temperature == 0),
        kinds_first=int(model.mask != "book"),
        top_k=truncation.top_k,
        top_p=float(truncation.top_p),
        log_min_p=np.float32(math.log(truncation.min_p) if truncation.min_p > 0 else -np.inf),
    )


def _reveals(reveals: RevealDistribution) -> Reveals:
    ticks, lots, count = (np.asarray(leaf).astype(np.int64) for leaf in reveals)
    return Reveals(ticks, lots, count)
