"""What the command line may ask of experiments; there are no defaults, which are those of configs/base.py."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lob_jax.errors import InputError

DECISIONS = ("promote", "keep", "stop", "resume")
OF_AN_ARM = ("promote", "resume")


@dataclasses.dataclass(frozen=True)
class ExperimentsConfig:
    """The section `experiments` of a configuration.

    Attributes:
      name: the experiment that is shown; empty for a list of all.
      create: the file of JSON of an experiment to create; empty for none.
      decision: what is decided about the experiment; empty for nothing.
      arm: the arm that is promoted or resumed.
      because: the reason of the decision.

    Raises:
      InputError: values do not fit together.
    """

    name: str
    create: str
    decision: str
    arm: str
    because: str

    def __post_init__(self) -> None:
        if not self.decision:
            for key in ("arm", "because"):
                was = getattr(self, key)
                _require(not was, key, "nothing, since there is no decision", was, "name a decision, or leave it out")
            return
        choices = " | ".join(DECISIONS)
        _require(self.decision in DECISIONS, "decision", choices, self.decision, "choose one of these")
        _require(not self.create, "create", "nothing, since a decision is recorded", self.create, "do one at a time")
        _require(bool(self.name), "name", "the experiment that it is about", "nothing", "name the experiment")
        of_an_arm = self.decision in OF_AN_ARM
        arm = "an arm" if of_an_arm else "no arm"
        _require(bool(self.arm) == of_an_arm, "arm", arm, self.arm, f"{self.decision} takes {arm}")
        said = bool(self.because.strip())
        _require(said, "because", "the reason of the decision", self.because, "say why: it is kept with the decision")


def experiments_config(section: Mapping[str, Any]) -> ExperimentsConfig:
    """Return the settings of the section `experiments`."""
    return ExperimentsConfig(**{field.name: section[field.name] for field in dataclasses.fields(ExperimentsConfig)})


def _require(holds: bool, key: str, expected: object, was: object, remedy: str) -> None:
    if not holds:
        where = f"config.experiments.{key}"
        raise InputError("the configuration is invalid", where=where, expected=expected, was=was, remedy=remedy)
