"""What an experiment has found: what is kept of it, and what may be concluded; plain data."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from lob_jax.export.plain import finite


@dataclasses.dataclass(frozen=True)
class Assignment:
    """Which arm a unit has.

    Attributes:
      unit: the unit.
      arm: the name of its arm; the control for units that do not take part.
      enrolled: whether it takes part.
      chance: the probability with which it got this arm.
    """

    unit: str
    arm: str
    enrolled: bool
    chance: float


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What happened to a unit: the scores of events that were realised, under each arm on the same context.

    Attributes:
      unit: the unit.
      outcome: the client's own name of it, by which it is counted once.
      digest: of what the client has sent, so that another outcome of the same name is seen.
      nats: float64 [N] log-likelihoods by arm: of all arms in the paired design, of the unit's own in the split one.
      brier: float64 [N], 0 to 2, by arm likewise.
      seconds: how long each arm took to score them.
    """

    unit: str
    outcome: str
    digest: str
    nats: Mapping[str, np.ndarray]
    brier: Mapping[str, np.ndarray]
    seconds: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Recorded:
    """An outcome that is kept, and lasts.

    Attributes:
      unit: the unit.
      outcome: the client's name of it.
      events: its number of events.
      first: how many events of the unit were kept before it.
      before: whether it was kept before this call, which has changed nothing then.
      nats: mean log-likelihood of its events by arm.
      brier: mean Brier score of its events by arm.
    """

    unit: str
    outcome: str
    events: int
    first: int
    before: bool
    nats: Mapping[str, float]
    brier: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Requests:
    """What an arm has done with requests; a sum over time and servers.

    Attributes:
      answered: requests, whatever came of them.
      slow: those that took longer than the guard's limit.
      failed: those that failed by a fault of the server.
      refused: those that were refused: no room, or too late.
      seconds: time that all took together.
    """

    answered: int = 0
    slow: int = 0
    failed: int = 0
    refused: int = 0
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class Kept:
    """All that statistics need, in the order in which it was kept.

    Attributes:
      units: assignments of enrolled units.
      unit_B: int64 [B], index of the unit of each complete block; of a unit's first block only in the split design.
      nats_BA: float64 [B, A], by arm in the order of the experiment: mean over the scored events of the block. Paired:
        of the differences from the control, each clipped; 0 for the control. Split: the unit's own log-likelihood,
        NaN for the other arms.
      brier_BA: float64 [B, A], likewise: of differences, and of the unit's own score.
      requests: by arm.
      taken_out: arms that were ever taken out, also those that were resumed: units of theirs have lost observations.
    """

    units: tuple[Assignment, ...]
    unit_B: np.ndarray
    nats_BA: np.ndarray
    brier_BA: np.ndarray
    requests: Mapping[str, Requests]
    taken_out: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Interval:
    """A difference from the control, with a confidence sequence: it holds at all times at once.

    Attributes:
      mean: the estimate; NaN if there is none.
      low, high: the bounds; infinite while nothing can be said.
    """

    mean: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Guard:
    """How a guard of an arm stands.

    Attributes:
      share: the share of its requests, NaN for none.
      tolerated: what is tolerated.
      evidence: e-value against at most the tolerated share.
      tripped: whether the evidence has reached 1 / alpha.
    """

    share: float
    tolerated: float
    evidence: float
    tripped: bool


@dataclasses.dataclass(frozen=True)
class ArmResult:
    """What is known of an arm.

    Attributes:
      units: enrolled units that have it.
      blocks: observations of it.
      nats: its log-likelihood per event minus the control's; above 0 is better.
      brier: its Brier score minus the control's; below 0 is better.
      guards: by name: slow, failed, refused.
      verdict: "better", "worse" or "open", by nats alone.
    """

    units: int
    blocks: int
    nats: Interval
    brier: Interval
    guards: Mapping[str, Guard]
    verdict: str


@dataclasses.dataclass(frozen=True)
class Analysis:
    """What may be concluded from an experiment, at any time.

    Attributes:
      arms: results by arm, the control among them.
      ratio_evidence: e-value against the shares of units being those of the weights.
      ratio_broken: whether it has reached 1000: assignment or enrolment is broken, and nothing can be concluded.
      advice: "promote NAME", "stop" or "keep".
      because: why, in a sentence.
    """

    arms: Mapping[str, ArmResult]
    ratio_evidence: float
    ratio_broken: bool
    advice: str
    because: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; None for what is not finite."""
        return finite(dataclasses.asdict(self))


@dataclasses.dataclass(frozen=True)
class Decision:
    """What somebody decided, with what was known then.

    Attributes:
      decision: "promote", "keep", "stop", "trip" (a circuit breaker, by the server) or "resume" (of a tripped arm).
      arm: the arm concerned; empty for none.
      by: who: the name of a key, or of a user.
      because: the reason.
      at_s: when, UNIX seconds.
      known: the JSON of the analysis at that time.
    """

    decision: str
    arm: str
    by: str
    because: str
    at_s: float
    known: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Standing:
    """How an experiment stands, by its decisions.

    Attributes:
      status: "running", "promoted" or "stopped".
      winner: the arm that was promoted, else the control: what answers units when it does not run.
      tripped: arms whose circuit breaker is open: their units are answered by the control.
    """

    status: str
    winner: str
    tripped: frozenset[str]
