"""Divide days into training, validation and test splits, by event index and before anything is tokenized."""

import dataclasses
from collections.abc import Sequence

from lob_jax.errors import InputError

SPLITS = ("train", "validation", "test")
SHORTEST_EVENT_TOKENS = 2  # assumed when embargo and lead are computed from a context, see `context_of`


@dataclasses.dataclass(frozen=True)
class Part:
    """Consecutive events of one day that belong to one split.

    Attributes:
      name: "train", "validation" or "test".
      first: index in the day of the first event.
      last: index after the last event.
      lead: number of events before `first` that may serve as context but are never scored; they are in the embargo.
    """

    name: str
    first: int
    last: int
    lead: int

    @property
    def events(self) -> int:
        """Return the number of events of the part."""
        return self.last - self.first


def context_of(context_tokens: int, *, fewest_event_tokens: int) -> int:
    """Convert a context length to the tokens that as many events have if the shortest has SHORTEST_EVENT_TOKENS.

    Args:
      context_tokens: context length of the model, in tokens.
      fewest_event_tokens: number of tokens of the shortest event, see `Tokenizer`.
    """
    return -(-context_tokens * SHORTEST_EVENT_TOKENS // fewest_event_tokens)


def required_embargo(context_tokens: int) -> int:
    """Return the minimum number of events between two splits of one day.

    A position sees `context_tokens` tokens, which are at most half as many events and a part of one more.
    """
    return context_tokens // SHORTEST_EVENT_TOKENS + 1


def lead_events(context_tokens: int) -> int:
    """Return how many events, even if all are the shortest, contain the context before a record's first target."""
    history_tokens = context_tokens + 1 - context_tokens // 2
    return -(-history_tokens // SHORTEST_EVENT_TOKENS)


def check_embargo(embargo_events: int, *, context_tokens: int) -> None:
    """Check that no context can reach across the embargo.

    Raises:
      InputError: the embargo is shorter than `required_embargo(context_tokens)`.
    """
    least = required_embargo(context_tokens)
    if embargo_events < least:
        raise InputError(
            "the embargo between splits is shorter than a context",
            where="config.data.embargo_events",
            expected=f"at least {least} events for a context of {context_tokens} tokens",
            was=embargo_events,
            remedy="lengthen the embargo or shorten config.model.max_seq_length",
        )


def split_names(day: int, days: int) -> tuple[str, ...]:
    """Return the splits of trading day number `day` (from 0, oldest first) of `days`.

    A single day is divided into all three splits. Of two days, the first is for training, and the second is divided
    into validation and test. Of three or more, the last is the test split, the one before it the validation split, and
    the others are for training. All instruments of a trading day have the same splits. A day is divided by the event
    index of each instrument separately, so the parts of two instruments may overlap in time.
    """
    if days == 1:
        return SPLITS
    if day == days - 1:
        return ("validation", "test") if days == 2 else ("test",)
    return ("validation",) if days > 2 and day == days - 2 else ("train",)


def number_days(days: Sequence[tuple[str, str]]) -> tuple[list[int], int]:
    """Return the number of each entry's trading day, from 0, and how many trading days there are.

    Args:
      days: (trading day as ISO date, symbol), oldest first.

    Raises:
      InputError: a day is older than the one before it, or a symbol's day occurs twice.
    """
    numbers: list[int] = []
    seen: set[str] = set()
    for index, (day, symbol) in enumerate(days):
        before = days[index - 1][0] if index else day
        if before != day:
            seen.clear()
        if day < before or symbol in seen:
            raise InputError(
                "the days are not sorted from the oldest" if day < before else "a day of an instrument occurs twice",
                where=f"day {index + 1} of {len(days)}",
                expected=f"{before} or a later day" if day < before else f"one {symbol} on {day}",
                was=f"{symbol} {day}",
                remedy="sort the days from the oldest, and list each day of an instrument once",
            )
        seen.add(symbol)
        numbers.append((numbers[-1] + (day > before)) if numbers else 0)
    return numbers, numbers[-1] + 1 if numbers else 0


def split_day(
    n_events: int,
    *,
    train_fraction: float,
    validation_fraction: float,
    embargo_events: int,
    names: tuple[str, ...] = SPLITS,
) -> list[Part]:
    """Divide one day into consecutive parts, with an embargo before every part except the first.

    Args:
      n_events: number of events of the day.
      train_fraction: share of the day's events before the first embargo.
      validation_fraction: share of the events from there to the second embargo, including the first embargo.
      embargo_events: number of events between two parts, which belong to neither.
      names: the splits to make; without "train", the other two share the day in proportion.

    Raises:
      InputError: the fractions leave nothing for a split, or a part would have no event.
    """
    fractions = (train_fraction, validation_fraction, 1 - train_fraction - validation_fraction)
    shares = dict(zip(SPLITS, fractions, strict=True))
    if min(shares.values()) <= 0:
        raise InputError(
            "the fractions leave a split without events",
            where="config.data.train_fraction, config.data.validation_fraction",
            expected="both above 0 and together below 1",
            was=(train_fraction, validation_fraction),
            remedy="lower the larger one",
        )
    whole = sum(shares[name] for name in names)
    parts: list[Part] = []
    cut, share = 0, 0.0
    for name in names:
        lead = embargo_events if parts else 0
        share += shares[name]
        end = round(n_events * min(share / whole, 1.0))  # the sum of rounded fractions may exceed 1
        parts.append(Part(name, cut + lead, end, lead))
        cut = end
    for part in parts:
        if part.events <= 0:
            raise InputError(
                f"the day is too short for its {part.name} part",
                where=f"a day of {n_events} events",
                expected=f"a share of more than {part.lead} events, which is the embargo before it",
                was=part.events + part.lead,
                remedy="use more events, or a shorter context and embargo",
            )
    return parts


def day_parts(
    n_events: int,
    *,
    day: int,
    days: int,
    train_fraction: float,
    validation_fraction: float,
    embargo_events: int,
) -> list[Part]:
    """Return one instrument's parts of trading day number `day` of `days`; two days need no embargo between them.

    With a `train_fraction` of 1, which is for flow that is trained on alone, all events of any day are in the training
    split.

    Raises:
      InputError: see `split_day`.
    """
    if train_fraction == 1:
        return [Part("train", 0, n_events, lead=0)]
    return split_day(
        n_events,
        train_fraction=train_fraction,
        validation_fraction=validation_fraction,
        embargo_events=embargo_events,
        names=split_names(day, days),
    )
