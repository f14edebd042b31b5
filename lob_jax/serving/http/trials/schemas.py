"""What the routes of experiments take."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from lob_jax.serving.config import NAME
from lob_jax.serving.experiments.experiment import LATEST_S, MOST_ARMS, Arm, Experiment, Guards
from lob_jax.serving.http.schemas import Printable, Real, Records, Strict, printable

MOST_BLOCK = 1_000_000
Name = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
Reason = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(printable)]
Count = Annotated[int, Field(ge=0, le=MOST_BLOCK)]


class OutcomeAsked(Strict):
    """Events that were realised in a session of an experiment; the session follows them, all or none."""

    session: str
    outcome: Printable = Field(description="the client's name of it, by which it is counted once for its unit")
    events: Records


class ArmAsked(Strict):
    """One of the models that are compared."""

    name: Name
    model: Name
    weight: Real = Field(Arm.weight, gt=0, le=1e6)


class RampAsked(Strict):
    """From a time on, which share of all units takes part."""

    after_s: Real = Field(ge=0, le=1e10)
    share: Real = Field(ge=0, le=1)


class GuardsAsked(Strict):
    """What an arm may not do more often than it is tolerated, as shares of its requests."""

    latency_s: Real = Field(Guards.latency_s, gt=0, le=1e6)
    slow: Real = Field(Guards.slow, gt=0, lt=1)
    failed: Real = Field(Guards.failed, gt=0, lt=1)
    refused: Real = Field(Guards.refused, gt=0, lt=1)
    alpha: Real = Field(Guards.alpha, gt=0, le=0.5)


class ExperimentAsked(Strict):
    """An experiment; the first of its arms is the control."""

    name: Name
    design: Literal["paired", "split"]
    arms: list[ArmAsked] = Field(min_length=2, max_length=MOST_ARMS)
    salt: Printable | None = Field(None, description="of the hash that assigns units; left out: a random one")
    created_s: Real | None = Field(None, ge=0, le=LATEST_S, description="UNIX seconds; left out: now")
    block: Annotated[int, Field(ge=1, le=MOST_BLOCK)] = Experiment.block
    gap: Count = Experiment.gap
    clip_nats: Real = Field(Experiment.clip_nats, gt=0, le=1e6)
    alpha: Real = Field(Experiment.alpha, gt=0, le=0.5)
    ramp: list[RampAsked] = Field(default_factory=list, max_length=100)
    guards: GuardsAsked = Field(default_factory=lambda: GuardsAsked())


class DecisionAsked(Strict):
    """Decide about an experiment."""

    decision: Literal["promote", "keep", "stop", "resume"]
    arm: Name | None = Field(None, description="which arm is promoted or resumed")
    because: Reason
