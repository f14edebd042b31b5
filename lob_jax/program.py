"""The command `lob-jax`, the same as `python -m lob_jax.main`.

It is separate from `lob_jax.main` so that signal handling starts before the slow imports.
"""

from lob_jax.signals import listen


def run() -> None:
    """Start signal handling, and run the program, which exits the process."""
    listen()
    from lob_jax.main import start

    start()
