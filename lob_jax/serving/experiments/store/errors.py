"""What goes wrong with the database of experiments."""

from lob_jax.errors import InputError


class Missing(InputError):
    """There is no such experiment, or no such unit in it."""


class Conflict(InputError):
    """What is asked contradicts what is kept."""


class Unavailable(Exception):
    """The database does not answer, or not in time; whatever was asked may be asked again: nothing is counted twice."""


def missing(name: str) -> Missing:
    """Return the error for an experiment that is not there."""
    return Missing(
        "there is no such experiment",
        where="the database of experiments",
        expected="the name of an experiment",
        was=name,
        remedy="--mode=experiments lists them",
    )
