"""What the routes of experiments return."""

from typing import Any

from pydantic import Field

from lob_jax.serving.http.described import SessionState, Told
from lob_jax.serving.http.trials.schemas import ArmAsked, GuardsAsked, RampAsked


class ArmScores(Told):
    """Scores of an arm, means over the events of an outcome."""

    nats: float
    brier: float


class OutcomeKept(Told):
    """An outcome that the session has followed."""

    experiment: str
    unit: str
    outcome: str
    arm: str = Field(description="the arm that answers the unit")
    events: int
    first: int | None = Field(description="events of the unit that were recorded before it; null if it is not recorded")
    recorded: str = Field(description="now, before, or not: the unit takes no part, or the experiment has ended")
    scores: dict[str, ArmScores] = Field(description="by arm; none if it is not recorded")
    state: SessionState


class Experiment(Told):
    """An experiment as it was created."""

    name: str
    design: str
    arms: list[ArmAsked]
    salt: str
    created_s: float
    block: int
    gap: int
    clip_nats: float
    alpha: float
    ramp: list[RampAsked]
    guards: GuardsAsked


class Standing(Told):
    """How an experiment stands."""

    status: str = Field(description="running, promoted or stopped")
    winner: str = Field(description="the arm that was promoted, else the control")
    tripped: list[str] = Field(description="arms that are taken out: the control answers their units")


class ExperimentStanding(Told):
    """An experiment, and how it stands."""

    experiment: Experiment
    standing: Standing


class Experiments(Told):
    """All experiments."""

    experiments: list[ExperimentStanding]


class Decision(Told):
    """What was decided, with what was known then."""

    decision: str
    arm: str
    by: str
    because: str
    at_s: float
    known: dict[str, Any]


class ExperimentResults(ExperimentStanding):
    """An experiment, how it stands, what may be concluded now, and what was decided."""

    analysis: dict[str, Any]
    decisions: list[Decision]
