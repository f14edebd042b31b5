"""What becomes of a row that is not what its format says: an error, a count, or a line in a quarantine file."""

import collections
import json
import pathlib

from lob_jax.errors import InputError
from lob_jax.feeds.feed import Reading


class Faults:
    """The bad rows of one input file, treated as a `Reading` says.

    Attributes:
      dropped: how many rows were left out, by reason.
      path: the quarantine file, None if there is none.
    """

    def __init__(self, reading: Reading, input_name: str):
        """Begin a file; what an earlier reading put into its quarantine is removed."""
        self._strict = reading.on_error == "strict"
        self.dropped: collections.Counter[str] = collections.Counter()
        self.path: pathlib.Path | None = None
        if reading.on_error == "quarantine":
            reading.quarantine.mkdir(parents=True, exist_ok=True)
            self.path = reading.quarantine / f"{input_name}.jsonl"
            self.path.unlink(missing_ok=True)

    def refuse(self, error: InputError, *, raw: str | bytes, rows: int = 1) -> None:
        """Raise the error if reading is strict; else leave `rows` rows out, the reason being what the error says.

        Args:
          error: what is wrong, and where; its `what` must not hold anything that differs from row to row.
          raw: the row as it was found (or the first of several).
          rows: how many rows are lost by it.
        """
        if self._strict:
            raise error
        self.dropped[error.what] += rows
        if self.path is not None:
            text = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw
            entry = {"what": error.what, "where": str(error.where), "expected": str(error.expected)}
            entry |= {"was": str(error.was), "rows": rows, "raw": text}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
