"""What a run writes and shows while it trains: metrics.jsonl, tensorboard, a heartbeat, a bar or plain lines."""

import contextlib
import datetime
import json
import math
import os
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import rich.console
import rich.progress
import tensorboardX

from lob_jax.console import FiguresBar, wrapped
from lob_jax.errors import TrainingError
from lob_jax.training.run.budget import readable_time

HEARTBEAT_S = 5.0  # between two beats, if steps do not take longer
SKIPPED_S = 60.0  # between two sentences on skipped steps
COLUMNS = (
    rich.progress.TextColumn("step"),
    rich.progress.MofNCompleteColumn(),
    rich.progress.BarColumn(bar_width=None),
    rich.progress.TimeElapsedColumn(),
    rich.progress.TimeRemainingColumn(),
)


def read_metrics(path: pathlib.Path) -> list[tuple[bytes, dict[str, Any] | None]]:
    """Return the lines of a file such as metrics.jsonl, each with its figures; None for what is no line of it.

    A kill may have cut the last one short; any other that is none is damaged.
    """
    return [(line, _figures(line)) for line in path.read_bytes().split(b"\n") if line] if path.exists() else []


def _figures(line: bytes) -> dict[str, Any] | None:
    try:
        figures = json.loads(line)
    except ValueError:  # of JSON, or of its encoding
        return None
    whole = isinstance(figures, dict) and type(figures.get("step")) is int
    return figures if whole else None


def truncate_metrics(path: pathlib.Path, last_step: int) -> int:
    """Drop the lines of later steps, and a line that was cut short, so that a resumed run writes them anew.

    The file is replaced in one move: a kill leaves the old one or the new one. Damaged lines are dropped, too; return
    how many there were.
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
    """Return the values with null for what JSON cannot hold."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def say(console: rich.console.Console, sentence: str) -> None:
    """Show a sentence, in lines as wide as a terminal; in one line where there is none."""
    console.out(wrapped(sentence, console.width if console.is_terminal else None), highlight=False)


@contextlib.contextmanager
def _told_clearly(folder: pathlib.Path, step: int) -> Iterator[None]:
    """Turn what a full or broken disk raises into one clear error."""
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"figures could not be written in {folder}: {error}",
            step=step,
            remedy="make room or mend the disk and start the same command again: it goes on from the last checkpoint",
        ) from error


class TrainingLog:
    """Where the figures of a run go; a context manager.

    A line of metrics.jsonl has the step and its figures; what depends on the machine's speed is nested under "speed",
    so that the rest of two runs can be compared bit for bit.
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
            self.say(f"{self._path}: {self._damaged} damaged line(s) are left out")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._bar.stop()
        # If an error is on its way, it says more than that the last figures could not be written either.
        with contextlib.suppress(OSError) if kind is not None else _told_clearly(self._path.parent, self._step):
            self._board.close()

    def say(self, sentence: str) -> None:
        """Show a sentence, above the bar if there is one."""
        say(self.console, sentence)

    @contextlib.contextmanager
    def during(self, doing: str, *, usually: str) -> Iterator[None]:
        """Show what is being done before the first step, and how long it usually takes; then how long it was."""
        begin = time.monotonic()
        self.beat(self._step, doing)
        self._bar.update(self._task, figures=f"{doing}, usually {usually}")
        if not self.console.is_terminal:
            self.say(f"{doing}, usually {usually}")
        yield
        self._bar.update(self._task, figures="")
        self.say(f"{doing} took {time.monotonic() - begin:.0f} s")

    def advance(self, step: int) -> None:
        """Move the bar, and show that the run is alive."""
        self._bar.update(self._task, completed=step)
        if time.monotonic() >= self._next_beat:
            self.beat(step, "training")

    def beat(self, step: int, doing: str) -> None:
        """Write heartbeat.json: step, what the run is doing, when, and its process; whole or not at all.

        While it trains, a file older than some HEARTBEAT_S and the time of a step means a run that hangs.
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
        """Bring what TensorBoard has not been given yet to its file, before a process that ends without more ado."""
        with _told_clearly(self._path.parent, self._step):
            self._board.flush()

    def training(self, step: int, values: dict[str, float | int], speed: dict[str, float]) -> None:
        """Record the figures of a step; `speed` has step_s, tokens_per_s and mfu."""
        self._write(step, values, speed)
        if values.get("skipped"):
            self._figures["skipped"] = f"{values['skipped']:,}"
        self._figures |= {
            "loss": f"{values['loss']:.4f}",
            "tokens/s": f"{speed['tokens_per_s']:,.0f}",
            "MFU": f"{speed['mfu']:.1%}",
        }
        self._show(step, left_s=(self._total - step) * speed["step_s"])

    def skipped(self, step: int, values: dict[str, float | int]) -> None:
        """Say that a step was skipped, though no more often than every SKIPPED_S; the bar counts all of them."""
        self._figures["skipped"] = f"{values['skipped']:,}"
        self._bar.update(self._task, figures=self._shown_figures())
        if time.monotonic() < self._next_skipped:
            return
        self._next_skipped = time.monotonic() + SKIPPED_S
        scale = f"; the loss scale is {values['loss_scale']:g} now" if "loss_scale" in values else ""
        self.say(
            f"step {step} was skipped, since its loss or gradient was not finite: {values['skipped']:,} steps so far,"
            f" the last {values['skipped_in_row']:,} in a row{scale}"
        )

    def validation(self, step: int, loss: float, seconds: float) -> None:
        """Record a validation: its loss, in nats a scored token, and the time it took."""
        values = {"validation_loss": loss, "validation_perplexity": math.exp(loss) if loss < 700 else math.inf}
        self._write(step, values, {"validation_s": seconds})
        self._figures["val loss"] = f"{loss:.4f}"
        self._show(step, left_s=None)

    def _write(self, step: int, values: dict[str, float | int], speed: dict[str, float]) -> None:
        line = {"step": step, **_finite(values), "speed": _finite(speed)}
        # Closed each time: no checkpoint may outlive its lines.
        with _told_clearly(self._path.parent, step), self._path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line, allow_nan=False) + "\n")
        for name, value in {**values, **{f"speed/{key}": value for key, value in speed.items()}}.items():
            if math.isfinite(value):  # tensorboardX would warn of each other one, figure by figure and step by step
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
