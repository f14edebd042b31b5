"""Augmentation settings: `AugmentConfig`, the augment section of the data, as plain values."""

import dataclasses
from typing import Any

from lob_jax.data.windows.augment.altered import Alteration
from lob_jax.data.windows.augment.dropout import EventDropout
from lob_jax.data.windows.augment.manipulation.draw import PATTERNS, Manipulation
from lob_jax.data.windows.augment.warp import Warp
from lob_jax.errors import InputError

SHARES = ("event_dropout", "token_dropout", "manipulation", "synthetic", "own_flow")
COUNTS = ("warp_events", "own_events")
# Keys that matter only where another one, their switch, is above 0.
OF_SWITCH = {
    "warp": ("warp_events",),
    "manipulation": ("patterns",),
    "synthetic": ("synthetic_run",),
    "own_flow": ("own_events", "own_prompts"),
}


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """The augment section of the data section. It has no defaults: those live in configs/base.py alone.

    Attributes:
      warp: standard deviation of the log of the factor by which gaps are stretched, see `augment.warp`; 0 for none.
      warp_events: events over which the factor changes.
      event_dropout: share of the orders that are left out, see `augment.dropout`.
      token_dropout: share of the tokens that the model reads as MASK, see `augment.token_dropout`.
      manipulation: share of the windows into which a manipulation is spliced, see `augment.manipulation`.
      patterns: the kinds of manipulation, of which one is drawn for each of these windows.
      synthetic: share of the windows that are replaced by synthetic flow, see `augment.synthetic`.
      synthetic_run: folder of the run whose training records are that flow; empty to simulate it.
      own_flow: share of the windows into which flow of a model is spliced, see `augment.own_flow`.
      own_events: most events of that flow in a window.
      own_prompts: number of places at which the model continues the market; None for one in as many windows as
        `own_flow` asks for.
    """

    warp: float
    warp_events: int
    event_dropout: float
    token_dropout: float
    manipulation: float
    patterns: tuple[str, ...]
    synthetic: float
    synthetic_run: str
    own_flow: float
    own_events: int
    own_prompts: int | None

    def __post_init__(self):
        self._require("warp", 0 <= self.warp <= 1, "in [0, 1], so that times stay in their range")
        for name in COUNTS:
            self._require(name, getattr(self, name) >= 1, "a whole number, 1 or more")
        few = self.own_prompts is not None and self.own_prompts < 1
        self._require("own_prompts", not few, "a whole number, 1 or more, or None")
        for name in SHARES:
            self._require(name, 0 <= getattr(self, name) <= 1, "a share, in [0, 1]")
        self._require("event_dropout", self.event_dropout <= 0.5, "at most 0.5: a window needs events")
        known = bool(self.patterns) and set(self.patterns) <= set(PATTERNS)
        self._require("patterns", known, f"at least one of {', '.join(PATTERNS)}")

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise InputError(
                f"{name} is out of range",
                where=f"config.data.augment.{name}",
                expected=expected,
                was=getattr(self, name),
                remedy=f"set it with --config.data.augment.{name}=...",
            )

    @property
    def alters_events(self) -> bool:
        """Return whether events are altered, which tokens must give back."""
        return any((self.warp, self.event_dropout, self.manipulation, self.own_flow))

    def alterations(self) -> tuple[Alteration, ...]:
        """Return what is altered in the events of a window, in this order."""
        found: list[Alteration] = []
        if self.event_dropout:
            found.append(EventDropout(self.event_dropout))
        if self.warp:
            found.append(Warp(self.warp, self.warp_events))
        if self.manipulation:
            found.append(Manipulation(self.manipulation, self.patterns))
        return tuple(found)

    def settings(self) -> dict[str, Any]:
        """Return the settings that decide what is in the windows, by key under "augment", as plain JSON.

        Those of an augmentation that is off are left out.
        """
        values = dataclasses.asdict(self)
        used = {"warp", *SHARES} & {name for name, value in values.items() if value}
        named = [name for name in values if name in used or any(name in OF_SWITCH.get(on, ()) for on in used)]
        plain = {name: list(values[name]) if name == "patterns" else values[name] for name in named}
        return {"augment": plain} if plain else {}
