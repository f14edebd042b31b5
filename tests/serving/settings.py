"""Settings of a server for tests: those of configs/base.py, with changes."""

import dataclasses

from lob_jax.configs import base
from lob_jax.serving.config import serve_config


def settings(**changes):
    """Return the section `serve` of base with changes, by key."""
    section = base.get_config().serve
    section.update(changes)
    return serve_config(section)


def limits(**changes):
    """Return the limits of base with changes."""
    return dataclasses.replace(settings().limits, **changes)
