"""Which texts can be kept."""

from lob_jax.errors import InputError

LONGEST_NAME = 200  # characters; an entry of an index of PostgreSQL holds 2,704 bytes
LONGEST = 10_000


def check_name(key: str, text: str) -> None:
    """Check a name by which something is found again; raise InputError if it cannot be kept."""
    _require(bool(text), key, "a text", "nothing", "give it one")
    check_text(key, text, longest=LONGEST_NAME)


def check_text(key: str, text: str, *, longest: int = LONGEST) -> None:
    """Check a text; raise InputError if it is too long, or holds what databases do not take."""
    _require(len(text) <= longest, key, f"at most {longest:,} characters", f"{len(text):,}", "shorten it")
    # Zero characters, and halves of pairs of UTF-16.
    kept = "\0" not in text and text.encode("utf-8", "replace").decode() == text
    _require(kept, key, "a text that can be written as UTF-8, without characters 0", ascii(text), "leave these out")


def _require(holds: bool, key: str, expected: object, was: object, remedy: str) -> None:
    if not holds:
        raise InputError("a text cannot be kept", where=key, expected=expected, was=was, remedy=remedy)
