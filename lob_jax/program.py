"""The command `lob-jax`, which an installation puts on the path; it does what `python -m lob_jax.main` does.

It is apart from `lob_jax.main` so that signals are listened to before all that takes time to import.
"""

from lob_jax.signals import listen


def run() -> None:
    """Listen to signals, and run the program; it exits."""
    listen()
    from lob_jax.main import start

    start()
