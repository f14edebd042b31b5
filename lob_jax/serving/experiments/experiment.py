"""What an experiment is: plain data, with its JSON."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from lob_jax.errors import InputError
from lob_jax.serving.config import NAME

DESIGNS = ("paired", "split")
GUARDS = ("slow", "failed", "refused")  # what is counted of requests, and tolerated in a share of them
MOST_ARMS = 8
MOST_NATS = 1000.0
SPREAD = 1e6  # of weights: chances have to be numbers by which one can divide
LATEST_S = 1e11  # UNIX seconds: in the year 5138


@dataclasses.dataclass(frozen=True)
class Arm:
    """One of the models that are compared.

    Attributes:
      name: its name in the experiment.
      model: the name under which the model is served.
      weight: its share of the units, up to a factor.
    """

    name: str
    model: str
    weight: float = 1.0


@dataclasses.dataclass(frozen=True)
class RampStep:
    """From a time on, which share of all units takes part.

    Attributes:
      after_s: seconds since the experiment was created.
      share: 0 to 1; not less than that of the step before.
    """

    after_s: float
    share: float


@dataclasses.dataclass(frozen=True)
class Guards:
    """What an arm may not do more often than it is tolerated, as shares of its requests.

    Attributes:
      latency_s: a request that takes longer is slow.
      slow: tolerated share of slow requests.
      failed: tolerated share of requests that fail by a fault of the server.
      refused: tolerated share of requests that are refused: no room, or too late.
      alpha: how likely a guard may trip by chance, however often one looks.
    """

    latency_s: float = 1.0
    slow: float = 0.05
    failed: float = 0.01
    refused: float = 0.05
    alpha: float = 0.001


@dataclasses.dataclass(frozen=True)
class Experiment:
    """An experiment, which does not change once it has begun.

    Attributes:
      name: its name.
      design: "paired": the control answers, and all arms are scored on the same events; "split": each unit is answered
        by its own arm, and scored on it.
      arms: at least two; the first is the control.
      salt: of the hash by which units get their arms.
      created_s: when it began, UNIX seconds.
      block: events of a block, which is one observation: in the paired design each block of a unit's events, one after
        another; in the split design a unit's first block alone.
      gap: the first events of each block, which are not scored, so that what is averaged lies apart.
      clip_nats: differences of scores of an event beyond this count as this; in the split design, distances of a
        unit's score from the median of units before it.
      alpha: how likely a wrong conclusion about any arm may be, however often one looks.
      ramp: which share of units takes part; none for all from the start.
      guards: what trips an arm.
    """

    name: str
    design: str
    arms: tuple[Arm, ...]
    salt: str
    created_s: float
    block: int = 200
    gap: int = 50
    clip_nats: float = 2.0
    alpha: float = 0.05
    ramp: tuple[RampStep, ...] = ()
    guards: Guards = Guards()

    def __post_init__(self) -> None:
        names, models = [arm.name for arm in self.arms], [arm.model for arm in self.arms]
        for name in (self.name, *names, *models):
            _require(bool(NAME.fullmatch(name)), "name", "letters, digits, _, - and .", name)
        _require(self.design in DESIGNS, "design", " | ".join(DESIGNS), self.design)
        _require(2 <= len(self.arms) <= MOST_ARMS, "arms", f"2 to {MOST_ARMS}", len(self.arms))
        _require(len(set(names)) == len(names), "arms", "names that differ", names)
        _require(isinstance(self.salt, str) and bool(self.salt), "salt", "a text", self.salt)
        _require(_is_number(self.created_s, LATEST_S), "created_s", f"UNIX seconds up to {LATEST_S:g}", self.created_s)
        for key in ("block", "gap"):  # 200.0 would be kept, and no outcome after it
            _require(type(getattr(self, key)) is int, key, "a whole number", getattr(self, key))
        for arm in self.arms:
            _require(0 < arm.weight < math.inf, "weight", "a number above 0", arm.weight)
        weights = [arm.weight for arm in self.arms]
        _require(max(weights) <= SPREAD * min(weights), "weights", f"all within a factor of {SPREAD:,.0f}", weights)
        _require(0 <= self.gap < self.block, "gap", f"0 to {self.block - 1}, below block", self.gap)
        _require(0 < self.clip_nats <= MOST_NATS, "clip_nats", f"above 0, at most {MOST_NATS}", self.clip_nats)
        for step in self.ramp:
            numbers = _is_number(step.after_s) and _is_number(step.share)
            _require(numbers, "ramp", "numbers from 0 on", dataclasses.astuple(step))
        shares = [0.0, *(step.share for step in self.ramp), 1.0]
        times = [step.after_s for step in self.ramp]
        _require(shares == sorted(shares), "ramp", "shares from 0 to 1 that do not fall", shares[1:-1])
        _require(times == sorted(times) and min(times, default=0.0) >= 0, "ramp", "times that do not fall", times)
        guards = self.guards
        for key in GUARDS:
            _require(0 < getattr(guards, key) < 1, key, "above 0 and below 1", getattr(guards, key))
        _require(0 < guards.latency_s < math.inf, "latency_s", "a number above 0", guards.latency_s)
        for key, alpha in (("alpha", self.alpha), ("guards.alpha", guards.alpha)):
            _require(0 < alpha <= 0.5, key, "above 0, at most 0.5", alpha)

    @property
    def control(self) -> Arm:
        """Return the arm that the others are compared with."""
        return self.arms[0]

    def arm(self, name: str) -> Arm:
        """Return an arm by its name; raise InputError if there is none such."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise InputError(
            "the experiment has no such arm",
            where=f"experiment {self.name}",
            expected=" | ".join(arm.name for arm in self.arms),
            was=name,
            remedy="name one of its arms",
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return dataclasses.asdict(self)


def experiment_of(plain: Mapping[str, Any]) -> Experiment:
    """Return the experiment of its JSON.

    Raises:
      InputError: a key is missing or unknown, or a value is invalid.
    """
    parts: dict[str, Any] = dict(plain)
    try:
        parts["arms"] = tuple(Arm(**arm) for arm in parts["arms"])
        parts["ramp"] = tuple(RampStep(**step) for step in parts.get("ramp", ()))
        parts["guards"] = Guards(**parts.get("guards", {}))
        return Experiment(**parts)
    except (TypeError, KeyError) as error:
        raise InputError(
            "the experiment is invalid",
            where="experiment",
            expected="the keys of lob_jax.serving.experiments.experiment.Experiment",
            was=error,
            remedy="correct the keys",
        ) from error


def _is_number(value: object, most: float = math.inf) -> bool:
    """Return whether a value is a finite number from 0 to `most`: JSON files hold texts and NaN, too."""
    return isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= most


def _require(holds: bool, key: str, expected: object, was: object) -> None:
    if not holds:
        raise InputError(
            "the experiment is invalid", where=f"experiment.{key}", expected=expected, was=was, remedy="correct it"
        )
