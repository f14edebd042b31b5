"""Which events train, validate and test: fixed by event index, before anything is tokenized."""

import dataclasses
from collections.abc import Sequence

from lob_jax.errors import InputError

SPLITS = ("train", "validation", "test")
SHORTEST_EVENT_TOKENS = 2  # that embargo and lead are counted by, see `context_of`


@dataclasses.dataclass(frozen=True)
class Part:
    """A run of one day's events that belong to one split.

    Attributes:
      name: "train", "validation" or "test".
      first: index in the day of the first event.
      last: index behind the last event.
      lead: events in front of `first` that may be shown as context, never scored; they lie in the embargo.
    """

    name: str
    first: int
    last: int
    lead: int

    @property
    def events(self) -> int:
        """How many events the part holds."""
        return self.last - self.first


def context_of(context_tokens: int, *, fewest_event_tokens: int) -> int:
    """Return the context of as many events, in tokens of which the shortest event has SHORTEST_EVENT_TOKENS.

    Args:
      context_tokens: that a model sees.
      fewest_event_tokens: tokens of the shortest event, see `Tokenizer`.
    """
    return -(-context_tokens * SHORTEST_EVENT_TOKENS // fewest_event_tokens)


def required_embargo(context_tokens: int) -> int:
    """Return the fewest events that must lie between two splits of one day.

    A position sees `context_tokens` tokens: at most half as many events, and a piece of one more.
    """
    return context_tokens // SHORTEST_EVENT_TOKENS + 1


def lead_events(context_tokens: int) -> int:
    """Return how many events, however short, hold the tokens shown in front of a record's first target."""
    history_tokens = context_tokens + 1 - context_tokens // 2
    return -(-history_tokens // SHORTEST_EVENT_TOKENS)


def check_embargo(embargo_events: int, *, context_tokens: int) -> None:
    """Refuse an embargo that a context could reach across.

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
    """Return the splits that trading day number `day` (from 0, oldest first) of `days` gives events to.

    One day is cut into all three; of two days the first trains and the second is cut in two; of three
    and more the last one tests, the one before validates and the others train. All instruments of a trading
    day share its splits; a day that is cut is cut by each instrument's own events, so that the parts of two
    instruments may overlap in time.
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
      InputError: a day that is older than the one before it, or a symbol's day that comes twice.
    """
    numbers: list[int] = []
    seen: set[str] = set()
    for place, (day, symbol) in enumerate(days):
        before = days[place - 1][0] if place else day
        if before != day:
            seen.clear()
        if day < before or symbol in seen:
            raise InputError(
                "the days do not lie oldest first" if day < before else "a day of an instrument comes twice",
                where=f"day {place + 1} of {len(days)}",
                expected=f"{before} or a later day" if day < before else f"one {symbol} on {day}",
                was=f"{symbol} {day}",
                remedy="give the days oldest first, one day of an instrument once",
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
    """Cut one day into consecutive parts with an embargo in front of every part but the first.

    Args:
      n_events: events in the day.
      train_fraction: share of the day's events that lie before the first embargo.
      validation_fraction: share from there to the second embargo, the embargo in front included.
      embargo_events: events between two parts, in neither of them.
      names: the splits to make; without "train", the other two share the day in their proportion.

    Raises:
      InputError: fractions that leave no share for a split, or a part that would hold no event.
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
        end = round(n_events * min(share / whole, 1.0))
        parts.append(Part(name, cut + lead, end, lead))
        cut = end
    for part in parts:
        if part.events <= 0:
            raise InputError(
                f"the day is too short for its {part.name} part",
                where=f"a day of {n_events} events",
                expected=f"a share of more than {part.lead} events, the embargo in front of it",
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
    """Return one instrument's parts of trading day number `day` of `days`; a night between two is embargo enough.

    Raises:
      InputError: see `split_day`.
    """
    return split_day(
        n_events,
        train_fraction=train_fraction,
        validation_fraction=validation_fraction,
        embargo_events=embargo_events,
        names=split_names(day, days),
    )
