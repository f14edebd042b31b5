"""What a command shows: sentences that no line end cuts, tables that keep their numbers, and what takes its time."""

import contextlib
import io
import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterator

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

COMPILING = "compiling, usually 5 s to 2 min"  # what a bar waits for before the first step of a program
LINE_S = 30.0  # between two lines of progress, where no terminal shows a bar
WIDE = 100_000  # columns; more than any table has

Advance = Callable[..., None]  # (done, figures="", total=None): figures beside the bar; a total known by now


class FiguresBar(Progress):
    """Bars with a line of figures under each: beside them, it would be cut on a terminal of 80 columns."""

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield what is shown."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            if task.fields["figures"]:
                yield Text(task.fields["figures"])


class Output(io.TextIOBase):
    """Standard output or standard error, whichever they are at the moment of writing.

    Where nothing takes what is written (a pipe whose reader has gone, a terminal that was closed, a log on a full
    disk), it is let go, once told of on standard error: a run's results are its files, and it goes on without a reader.
    """

    def __init__(self, name: str):
        self._name, self._lost = name, False

    @property
    def _stream(self) -> io.TextIOBase | None:
        stream = getattr(sys, self._name)
        return getattr(stream, "rich_proxied_file", stream)  # while a bar is shown, rich stands in its place

    @property
    def encoding(self) -> str:
        """Return the encoding of the stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Return whether a terminal shows what is written."""
        return self._stream is not None and not self._lost and self._stream.isatty()

    def fileno(self) -> int:
        """Return the stream's file descriptor."""
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write a text; letters that the stream's encoding does not have become question marks."""
        if self._stream is not None and not self._lost:
            known = text.encode(self.encoding, "replace").decode(self.encoding)
            self._try(lambda stream: stream.write(known))
        return len(text)

    def flush(self) -> None:
        """Hand what was written to the system."""
        if self._stream is not None and not self._lost:
            self._try(lambda stream: stream.flush())

    def _try(self, act: Callable[[io.TextIOBase], object]) -> None:
        try:
            act(self._stream)
        except (OSError, ValueError) as error:  # of the system; of a stream that was closed
            self._lose(error)

    def _lose(self, error: OSError | ValueError) -> None:
        self._lost = True
        with contextlib.suppress(OSError, ValueError):  # what is left in its buffer would fail again at the exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        if self is not _stderr:
            _stderr.write(f"nothing takes the output any more ({error}); the command goes on without it\n")
            _stderr.flush()


class Screen(Console):
    """A console that prints sentences as they are: a terminal's lines end between words, all others where they end."""

    def print(self, *objects: object, **how: object) -> None:
        """Print as `rich.console.Console.print` does, but for a single text."""
        if len(objects) == 1 and isinstance(objects[0], str):
            super().print(wrapped(objects[0], self.width if self.is_terminal else None), **{"soft_wrap": True, **how})
        else:
            super().print(*objects, **how)


def wrapped(sentence: str, width: int | None) -> str:
    """Return a text with lines of a width; no word is cut, nor a line that begins with blanks, such as a command."""
    if width is None:
        return sentence
    how = {"break_long_words": False, "break_on_hyphens": False}
    lines = sentence.split("\n")
    return "\n".join(line if line[:1].isspace() else textwrap.fill(line, width, **how) for line in lines)


_stderr = Output("stderr")
PLAIN = {"markup": False, "emoji": False, "highlight": False}
console = Screen(file=Output("stdout"), **PLAIN)
errors = Screen(file=_stderr, **PLAIN)


def show(table: Table) -> None:
    """Print a table without cutting a number: where it must be it is wider than the terminal.

    Where there is no terminal nothing in it is folded either.
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
    """Give the columns of numbers, which stand on the right, the width of their longest; headings go over lines."""
    for column in table.columns:
        if column.justify == "right":
            headings = (_measured(heading).minimum for heading in (column.header, column.footer))
            column.width = max([*headings, *(_measured(cell).maximum for cell in column.cells)])


@contextlib.contextmanager
def waiting(doing: str, *, usually: str) -> Iterator[None]:
    """Say what is being done for as long as it lasts, how long that usually is, and how long it was."""
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
) -> Iterator[Advance]:
    """Show how far something is for as long as it lasts; yield what moves it.

    Args:
      doing: such as "generating".
      total: of the units; None if it is not known yet.
      unit: what is counted, such as "events".
      first: what it waits for before anything moves, such as "compiling, usually 5 s".
      columns: in place of the count.
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
