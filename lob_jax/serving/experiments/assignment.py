"""Which arm a unit has: by a salted hash, so that nothing needs to be kept to find it again."""

from lob_jax.serving.experiments.buckets import ARM, ENROL, bucket, chosen, is_below, share
from lob_jax.serving.experiments.experiment import Experiment
from lob_jax.serving.experiments.results import Assignment


def assigned(experiment: Experiment, unit: str, *, at_s: float) -> Assignment:
    """Return the arm of a unit at a time.

    Whether a unit takes part, and which arm it has, are decided by two hashes that are independent of each other. A
    unit that takes part still does so when the ramp has grown, and always has the same arm.

    In the paired design every unit is answered by the control, and all arms are scored on its events: `arm` is the
    control, with chance 1, also for units that take part.

    Args:
      experiment: the experiment.
      unit: the unit.
      at_s: when the unit comes, UNIX seconds, for the ramp.

    Returns:
      The assignment. Of a unit that does not take part, the arm is the control and the chance 1.
    """
    enrolled = is_below(bucket(experiment.salt, ENROL, unit), share_at(experiment, at_s))
    if not enrolled or experiment.design == "paired":
        return Assignment(unit=unit, arm=experiment.control.name, enrolled=enrolled, chance=1.0)
    weights = [arm.weight for arm in experiment.arms]
    index = chosen(bucket(experiment.salt, ARM, unit), weights)
    return Assignment(unit=unit, arm=experiment.arms[index].name, enrolled=True, chance=share(weights, index))


def share_at(experiment: Experiment, at_s: float) -> float:
    """Return which share of all units takes part at a time: of the ramp's last step by then, 0 before the first."""
    if not experiment.ramp:
        return 1.0
    passed = [step.share for step in experiment.ramp if step.after_s <= at_s - experiment.created_s]
    return passed[-1] if passed else 0.0
