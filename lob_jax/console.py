"""Show messages, tables and progress on the console, without breaking words or truncating numbers."""

import contextlib
import io
import os
import sys
import textwrap
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

COMPILING = "compiling, usually 5 s to 2 min"  # shown under a bar before the first step of a program
LINE_S = 30.0  # time between two lines of progress, where there is no terminal to show a bar
WIDE = 100_000  # columns; wider than any table

Advance = Callable[..., None]  # (done, figures="", total=None): figures under the bar; the total, once it is known


class FiguresBar(Progress):
    """Progress bars with a line of figures under each; next to the bar, 80 columns would truncate it."""

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield the bars, and the figures of each task."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            if task.fields["figures"]:
                yield Text(task.fields["figures"])


class Output(io.TextIOBase):
    """Standard output or standard error, looked up in `sys` at each write.

    If the output cannot be written (a pipe whose reader has exited, a closed terminal, a log on a full disk), it is
    discarded after one message on standard error: the results of a run are its files, so it continues without a reader.
    """

    def __init__(self, name: str):
        self._name, self._lost = name, False

    @property
    def _stream(self) -> io.TextIOBase | None:
        stream = getattr(sys, self._name)
        return getattr(stream, "rich_proxied_file", stream)  # while a bar is shown, rich replaces the stream

    @property
    def encoding(self) -> str:  # ty: ignore[incompatible-property-override]  # in io, not typeshed, it is read-only
        """Return the encoding of the stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Return whether the output goes to a terminal."""
        return self._stream is not None and not self._lost and self._stream.isatty()

    def fileno(self) -> int:
        """Return the stream's file descriptor."""
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write a text; characters that the stream's encoding lacks become question marks."""
        stream = self._stream
        if stream is not None and not self._lost:
            known = text.encode(self.encoding, "replace").decode(self.encoding)
            self._try(lambda: stream.write(known))
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        stream = self._stream
        if stream is not None and not self._lost:
            self._try(stream.flush)

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except (OSError, ValueError) as error:  # from the system; from a closed stream
            self._lose(error)

    def _lose(self, error: OSError | ValueError) -> None:
        self._lost = True
        with contextlib.suppress(OSError, ValueError):  # else flushing the stream's buffer at exit would fail again
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
        if self is not _stderr:
            _stderr.write(f"output can no longer be written ({error}); the command continues without it\n")
            _stderr.flush()


class Screen(Console):
    """A console that prints single texts unchanged, except that a terminal's lines are wrapped between words."""

    def print(self, *objects: Any, **how: Any) -> None:
        """Print like `rich.console.Console.print`, except for a single text."""
        if len(objects) == 1 and isinstance(objects[0], str):
            how.setdefault("soft_wrap", True)
            super().print(wrapped(objects[0], self.width if self.is_terminal else None), **how)
        else:
            super().print(*objects, **how)


def wrapped(sentence: str, width: int | None) -> str:
    """Wrap a text to a width, without breaking words; a line that begins with a space, such as a command, is kept."""
    if width is None:
        return sentence
    wrapper = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    lines = sentence.split("\n")
    return "\n".join(line if line[:1].isspace() else wrapper.fill(line) for line in lines)


def _screen(output: Output) -> Screen:
    return Screen(file=output, **PLAIN)  # ty: ignore[invalid-argument-type]  # typeshed: TextIOBase is no IO[str]


PLAIN: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}
_stderr = Output("stderr")
console, errors = _screen(Output("stdout")), _screen(_stderr)


def show(table: Table) -> None:
    """Print a table without truncating numbers, even if that makes it wider than the terminal.

    Without a terminal, no cell is folded either.
    """
    if _measured(table).maximum > console.width:
        if console.is_terminal:
            _keep_numbers(table)
            table.width = max(console.width, _measured(table).minimum)
        else:
            table.width = _measured(table).maximum
    console.print(table, soft_wrap=False, crop=False)


def _measured(shown: RenderableType) -> Measurement:
    return Measurement.get(console, console.options.update(max_width=WIDE), shown)


def _keep_numbers(table: Table) -> None:
    """Make the columns of numbers, which are right-aligned, as wide as their longest number; headings may wrap."""
    for column in table.columns:
        if column.justify == "right":
            headings = (_measured(heading).minimum for heading in (column.header, column.footer))
            column.width = max([*headings, *(_measured(cell).maximum for cell in column.cells)])


@contextlib.contextmanager
def waiting(doing: str, *, usually: str) -> Generator[None]:
    """Show an activity and its usual duration while it lasts, and afterwards the time it took."""
    begin = time.monotonic()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with FiguresBar(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task(doing, total=None, figures=f"usually {usually}")
        if not console.is_terminal:
            console.print(f"{doing}, usually {usually}")
        yield
    console.print(f"{doing} took {time.monotonic() - begin:.0f} s")


@contextlib.contextmanager
def bar(
    doing: str, *, total: int | None, unit: str, first: str = "", columns: tuple[ProgressColumn, ...] = ()
) -> Generator[Advance]:
    """Show the progress of an activity while it lasts; yield a function that advances the bar.

    Args:
      doing: the activity, such as "generating".
      total: the number of units; None if it is not known yet.
      unit: the unit of progress, such as "events".
      first: what happens before the first unit, such as "compiling, usually 5 s".
      columns: columns that replace the count.
    """
    count = columns or (MofNCompleteColumn(), TextColumn(unit))
    shown = (TextColumn(doing), *count, BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with FiguresBar(*shown, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(doing, total=total, figures=first)
        if first and not console.is_terminal:
            console.print(f"{doing}: {first}")
        due = time.monotonic() + LINE_S

        def advance(done: int, figures: str = "", total: int | None = total) -> None:
            nonlocal due
            progress.update(task, completed=done, total=total, figures=figures)
            if not console.is_terminal and time.monotonic() >= due:
                due = time.monotonic() + LINE_S
                of = "" if total is None else f" of {total:,}"
                console.print(f"{doing}: {done:,}{of} {unit}  {figures}".rstrip())

        yield advance
