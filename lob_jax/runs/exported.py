"""Continue a day with a bundle, in a process that needs neither JAX nor the run's folder."""

import dataclasses
from collections.abc import Callable
from typing import Any

from lob_jax.book.day import MarketDay
from lob_jax.data.windows.known import Beside
from lob_jax.errors import InputError
from lob_jax.export.bundle import Bundle
from lob_jax.export.decoder import OnnxDecoder
from lob_jax.export.generate import generate
from lob_jax.export.score import beside_of
from lob_jax.generation.paths import path_day
from lob_jax.generation.prompt import NO_REVEALS, Prompt, RevealDistribution
from lob_jax.generation.settings import SamplingConfig, Truncation
from lob_jax.runs.prompt import prompt_from_day


def beside_of_bundle(bundle: Bundle) -> Beside:
    """Return what a bundle's model reads in addition to tokens, with the thresholds of its training split."""
    return beside_of(bundle.contents, bundle.tokenizer)


def prompt_for(bundle: Bundle, day: MarketDay, *, events: int | None = None) -> Prompt:
    """Return the last events of a day as a prompt for a bundle's model.

    Args:
      bundle: the bundle.
      day: a day of the bundle's instrument.
      events: how many events; as many as the run's configuration says if None.

    Raises:
      InputError: the day is of another instrument, has no events, or has one that the tokenizer cannot encode.
    """
    own = bundle.instrument
    if (day.instrument.symbol, day.instrument.tick) != (own.symbol, own.tick):
        raise InputError(
            "the day is of another instrument than the bundle",
            where="the prompt",
            expected=f"{own.symbol}, tick {own.tick}",
            was=f"{day.instrument.symbol}, tick {day.instrument.tick}",
            remedy="pass a day of this instrument, or a bundle of the other one",
        )
    made = prompt_from_day(
        day,
        events=bundle.settings.sampling.prompt_events if events is None else events,
        tokenizer=bundle.tokenizer,
        book_levels=bundle.settings.book_levels,
        time_buckets=bundle.model.time_buckets,
        beside=beside_of_bundle(bundle),
    )
    contents = bundle.contents
    reveals = RevealDistribution(*contents.reveals) if made.book.window else NO_REVEALS
    return dataclasses.replace(made, reveals=reveals, largest=contents.largest)


def sampling_of(bundle: Bundle) -> SamplingConfig:
    """Return how the run of a bundle sampled."""
    own = bundle.settings.sampling
    return SamplingConfig(
        paths=own.paths,
        events=own.events,
        temperature=own.temperature,
        truncation=Truncation(own.top_k, own.top_p, own.min_p),
        seed=own.seed,
        limit_sizes=own.limit_sizes,
    )


def continue_day(
    bundle: Bundle,
    day: MarketDay,
    *,
    prompt_events: int | None = None,
    sampling: SamplingConfig | None = None,
    decoder: OnnxDecoder | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> list[MarketDay]:
    """Continue a day after its last event, on several paths; each path is a day that begins there.

    Args:
      bundle: the bundle.
      day: a day of the bundle's instrument.
      prompt_events: real events that the model reads; as many as the run's configuration says if None.
      sampling: how many paths and events, and how they are drawn; as the run's configuration says if None.
      decoder: the network, see `export.generate.open_decoder`.
      on_progress: called from time to time with the smallest number of events in any path.

    Raises:
      InputError: see `prompt_for`.
    """
    prompt, sampling = prompt_for(bundle, day, events=prompt_events), sampling or sampling_of(bundle)
    drawn = generate(bundle, prompt, sampling=sampling, decoder=decoder, on_progress=on_progress)
    each = zip(drawn.tokens, drawn.corrections, drawn.own, strict=True)
    how: dict[str, Any] = {"start": prompt.start, "tokenizer": bundle.tokenizer, "instrument": bundle.instrument}
    return [path_day(*one, **how) for one in each]
