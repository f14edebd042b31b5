"""Write and show the progress of training: metrics.jsonl, TensorBoard, a heartbeat, a progress bar or plain lines."""

import contextlib
import datetime
import json
import math
import os
import pathlib
import time
from collections.abc import Generator
from typing import Any

import rich.console
import rich.progress
import tensorboardX

from lob_jax.console import FiguresBar, wrapped
from lob_jax.errors import TrainingError
from lob_jax.training.run.budget import readable_time

HEARTBEAT_S = 5.0  # minimum time between two heartbeats
SKIPPED_S = 60.0  # minimum time between two messages about skipped steps
COLUMNS = (
    rich.progress.TextColumn("step"),
    rich.progress.MofNCompleteColumn(),
    rich.progress.BarColumn(bar_width=None),
    rich.progress.TimeElapsedColumn(),
    rich.progress.TimeRemainingColumn(),
)


def read_metrics(path: pathlib.Path) -> list[tuple[bytes, dict[str, Any] | None]]:
    """Return the lines of a file such as metrics.jsonl, each with its figures, or None for an invalid line.

    A killed process may leave the last line incomplete; any other invalid line is damaged.
    """
    return [(line, _figures(line)) for line in path.read_bytes().split(b"\n") if line] if path.exists() else []


def _figures(line: bytes) -> dict[str, Any] | None:
    try:
        figures = json.loads(line)
    except ValueError:  # invalid JSON, or invalid UTF-8
        return None
    whole = isinstance(figures, dict) and type(figures.get("step")) is int
    return figures if whole else None


def truncate_metrics(path: pathlib.Path, last_step: int) -> int:
    """Drop the lines after `last_step` and incomplete lines, so that a resumed run can write them again.

    The file is replaced atomically: a kill leaves either the old file or the new one.

    Returns:
      The number of damaged lines, which are dropped too.
    """
    lines = read_metrics(path)
    if not lines:
        return 0
    kept = [line for line, figures in lines if figures is not None and figures["step"] <= last_step]
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(b"".join(line + b"\n" for line in kept))
    os.replace(temporary, path)
    return sum(figures is None for _, figures in lines[:-1])


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    """Return the values, with None for those that JSON cannot represent."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def say(console: rich.console.Console, sentence: str) -> None:
    """Show a sentence, in lines as wide as a terminal; in one line where there is none."""
    console.out(wrapped(sentence, console.width if console.is_terminal else None), highlight=False)


@contextlib.contextmanager
def _told_clearly(folder: pathlib.Path, step: int) -> Generator[None]:
    """Convert the OSError of a full or failing disk into a TrainingError with a remedy."""
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"metrics could not be written to {folder}: {error}",
            step=step,
            remedy="free or repair the disk, then run the same command again: it resumes from the last checkpoint",
        ) from error


class TrainingLog:
    """Record the figures of a run, as a context manager.

    A line of metrics.jsonl has the step and its figures. Those that depend on the speed of the machine are nested under
    "speed", so that the other figures of two runs can be compared bit for bit.
    """

    def __init__(
        self, folder: pathlib.Path, *, first_step: int, total_steps: int, console: rich.console.Console | None = None
    ):
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._heartbeat, self._next_beat = folder / "metrics.jsonl", folder / "heartbeat.json", 0.0
        self._damaged = truncate_metrics(self._path, first_step)
        self.console = console or rich.console.Console()
        self._board = tensorboardX.SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1)
        self._total, self._step = total_steps, first_step
        self._figures: dict[str, str] = {}
        self._next_skipped = 0.0
        self._bar = FiguresBar(*COLUMNS, console=self.console, disable=not self.console.is_terminal)
        self._task = self._bar.add_task("train", total=total_steps, completed=first_step, figures="")

    def __enter__(self) -> "TrainingLog":
        self._bar.start()
        if self._damaged:
            self.say(f"{self._path}: dropped {self._damaged} damaged line(s)")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._bar.stop()
        # An exception in flight is more informative than a failure to write the last figures.
        with contextlib.suppress(OSError) if kind is not None else _told_clearly(self._path.parent, self._step):
            self._board.close()

    def say(self, sentence: str) -> None:
        """Show a sentence, above the bar if there is one."""
        say(self.console, sentence)

    @contextlib.contextmanager
    def during(self, doing: str, *, usually: str) -> Generator[None]:
        """Show an activity before the first step and its usual duration, and afterwards the time it took."""
        begin = time.monotonic()
        self.beat(self._step, doing)
        self._bar.update(self._task, figures=f"{doing}, usually {usually}")
        if not self.console.is_terminal:
            self.say(f"{doing}, usually {usually}")
        yield
        self._bar.update(self._task, figures="")
        self.say(f"{doing} took {time.monotonic() - begin:.0f} s")

    def advance(self, step: int) -> None:
        """Advance the bar, and write a heartbeat if one is due."""
        self._bar.update(self._task, completed=step)
        if time.monotonic() >= self._next_beat:
            self.beat(step, "training")

    def beat(self, step: int, doing: str) -> None:
        """Write heartbeat.json atomically: step, current activity, time and process id.

        During training, a file older than a few HEARTBEAT_S plus the time of a step means that the run hangs.
        """
        self._step = step
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        told = {"step": step, "of": self._total, "doing": doing, "time": now, "pid": os.getpid()}
        partial = self._heartbeat.with_name(f"{self._heartbeat.name}.partial")
        with _told_clearly(self._heartbeat.parent, step):
            partial.write_text(json.dumps(told) + "\n", encoding="utf-8")
            os.replace(partial, self._heartbeat)
        self._next_beat = time.monotonic() + HEARTBEAT_S

    def flush(self) -> None:
        """Write the buffered TensorBoard events, before the process exits without Python's shutdown."""
        with _told_clearly(self._path.parent, self._step):
            self._board.flush()

    def training(self, step: int, values: dict[str, float | int], speed: dict[str, float]) -> None:
        """Record the metrics of a step; `speed` has step_s, tokens_per_s and mfu."""
        self._write(step, values, speed)
        if "zeros" in values:
            self._figures["zeros"] = f"{values['zeros']:.1%}"
        if values.get("skipped"):
            self._figures["skipped"] = f"{values['skipped']:,}"
        self._figures |= {
            "loss": f"{values['loss']:.4f}",
            "tokens/s": f"{speed['tokens_per_s']:,.0f}",
            "MFU": f"{speed['mfu']:.1%}",
        }
        self._show(step, left_s=(self._total - step) * speed["step_s"])

    def skipped(self, step: int, values: dict[str, float | int]) -> None:
        """Report a skipped step, at most once every SKIPPED_S seconds; the bar counts all of them."""
        self._figures["skipped"] = f"{values['skipped']:,}"
        self._bar.update(self._task, figures=self._shown_figures())
        if time.monotonic() < self._next_skipped:
            return
        self._next_skipped = time.monotonic() + SKIPPED_S
        scale = f"; the loss scale is now {values['loss_scale']:g}" if "loss_scale" in values else ""
        self.say(
            f"step {step} was skipped, since its loss or gradient was not finite: {values['skipped']:,} skipped so far,"
            f" the last {values['skipped_in_row']:,} in a row{scale}"
        )

    def validation(self, step: int, loss: float, seconds: float) -> None:
        """Record a validation: its loss, in nats per scored token, and the time it took."""
        values = {"validation_loss": loss, "validation_perplexity": math.exp(loss) if loss < 700 else math.inf}
        self._write(step, values, {"validation_s": seconds})
        self._figures["val loss"] = f"{loss:.4f}"
        self._show(step, left_s=None)

    def _write(self, step: int, values: dict[str, float | int], speed: dict[str, float]) -> None:
        line = {"step": step, **_finite(values), "speed": _finite(speed)}
        # Opened and closed each time, so that a line reaches the file before the checkpoint of its step does.
        with _told_clearly(self._path.parent, step), self._path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line, allow_nan=False) + "\n")
        for name, value in {**values, **{f"speed/{key}": value for key, value in speed.items()}}.items():
            if math.isfinite(value):  # tensorboardX logs a warning for every NaN or infinity
                self._board.add_scalar(name, value, step)

    def _shown_figures(self) -> str:
        return "  ".join(f"{name} {figure}" for name, figure in self._figures.items())

    def _show(self, step: int, *, left_s: float | None) -> None:
        figures = self._shown_figures()
        if self.console.is_terminal:
            self._bar.update(self._task, figures=figures)
            return
        left = "" if left_s is None else f"  {readable_time(left_s)} left"
        self.say(f"step {step}/{self._total}  {figures}{left}")
