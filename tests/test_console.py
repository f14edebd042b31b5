"""Console output keeps paths and numbers complete: on an 80-column terminal, without one, and without a reader."""

import io
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from lob_jax import console as shown
from lob_jax.generation.fan import QUANTILES, Fan
from lob_jax.stages.generate import _expected, _figure
from lob_jax.training.run.logs import TrainingLog

ROOT = pathlib.Path(__file__).resolve().parents[1]
PATH = "/data/" + "/".join(f"folder_{number}" for number in range(20))


@pytest.fixture
def screen(monkeypatch):
    """Return a function that sets the console's width and whether it is a terminal, and returns its output buffer."""

    def make(width: int, *, terminal: bool) -> io.StringIO:
        out = io.StringIO()
        options = {**shown.PLAIN, "color_system": None, "force_terminal": terminal}
        monkeypatch.setattr(shown, "console", shown.Screen(file=out, width=width, **options))
        return out

    return make


def table(columns: int) -> Table:
    made = Table(title="numbers")
    made.add_column("what this row is about")
    for number in range(columns):
        made.add_column(f"the heading of column {number}", justify="right")
    for name, least in {"the first of some rows": 7 * 10**9, "the second of some rows": 1}.items():
        made.add_row(name, *(f"{least + number:,}" for number in range(columns)))
    return made


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("columns", [1, 3, 5, 9])
def test_a_table_keeps_its_numbers(screen, terminal, columns):
    out = screen(80, terminal=terminal)
    shown.show(table(columns))
    text = out.getvalue()
    assert "…" not in text
    for number in range(columns):
        assert text.count(f"{7 * 10**9 + number:,}") == 1
    if not terminal:
        assert "the second of some rows │" in text and f"the heading of column {columns - 1} ┃" in text
    if terminal and columns <= 3:
        assert max(len(line) for line in text.splitlines()) <= 80


def test_a_sentence_is_one_line_and_stays_as_it_is(screen):
    for terminal in (True, False):
        out = screen(80, terminal=terminal)
        shown.console.print(f"written to {PATH}/[red]x[/red] :smile:")
        assert " ".join(out.getvalue().split("\n")) == f"written to {PATH}/[red]x[/red] :smile: "
        assert (out.getvalue().count("\n") == 1) == (not terminal)


def test_a_sentence_ends_its_lines_between_words_and_a_command_is_one(screen):
    out = screen(20, terminal=True)
    shown.console.print("six steps of two micro-steps\n  python -m lob_jax.main --config=configs/tiny.py")
    assert out.getvalue() == "six steps of two\nmicro-steps\n  python -m lob_jax.main --config=configs/tiny.py\n"


def test_what_takes_its_time_is_told_without_a_terminal(screen, monkeypatch):
    out = screen(80, terminal=False)
    with shown.waiting("compiling", usually="5 s"):
        assert out.getvalue() == "compiling, usually 5 s\n"
    assert out.getvalue() == "compiling, usually 5 s\ncompiling took 0 s\n"
    out = screen(80, terminal=False)
    monkeypatch.setattr(shown, "LINE_S", 0.0)
    with shown.bar("generating", total=40, unit="events", first="compiling") as advance:
        advance(12, "slowly")
        advance(40)
    assert out.getvalue() == "generating: compiling\ngenerating: 12 of 40 events  slowly\ngenerating: 40 of 40 events\n"


def test_a_bar_leaves_nothing_without_a_terminal_and_moves_on_one(screen):
    out = screen(80, terminal=False)
    with shown.bar("generating", total=40, unit="events") as advance:
        advance(12)
    assert out.getvalue() == ""
    out = screen(80, terminal=True)
    with shown.bar("generating", total=40, unit="events") as advance:
        advance(12, "compiling")
    with shown.waiting("testing", usually="5 s"):
        pass
    assert "12/40" in out.getvalue() and "events" in out.getvalue() and "usually 5 s" in out.getvalue()


class Broken(io.StringIO):
    encoding = "ascii"

    def __init__(self, error: OSError):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


@pytest.mark.parametrize(
    "error", [BrokenPipeError(32, "Broken pipe"), OSError(5, "Input/output error"), OSError(28, "full")]
)
def test_an_output_that_nothing_takes_is_let_go_and_told_once(error, monkeypatch):
    told = io.StringIO()
    monkeypatch.setattr(sys, "stdout", Broken(error))
    monkeypatch.setattr(sys, "stderr", told)
    monkeypatch.setattr(shown, "_stderr", shown.Output("stderr"))
    console = Console(file=shown.Output("stdout"))
    for _ in range(3):
        console.print("a line")
    assert told.getvalue() == f"output can no longer be written ({error}); the command continues without it\n"
    monkeypatch.setattr(sys, "stderr", Broken(error))
    shown.Output("stderr").write("x")  # this does not raise either


def test_letters_that_an_encoding_lacks_become_question_marks(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    Console(file=shown.Output("stdout"), soft_wrap=True).print("Zürich \ud800 ━ 10 ×")
    assert raw.getvalue() == b"Z?rich ? ? 10 ?\n"


def test_there_may_be_no_output_at_all(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    output = shown.Output("stdout")
    assert output.write("x") == 1 and not output.isatty()
    Console(file=output).print("x")


def test_a_log_says_what_is_done_before_the_first_step_and_what_was_damaged(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n\xff\xfe\n[1]\n{"step": "x"}\n{"step": 2}\n{"st')
    console = Console(file=io.StringIO(), width=200)
    with (
        TrainingLog(tmp_path, first_step=2, total_steps=4, console=console) as log,
        log.during("compiling", usually="5 s"),
    ):
        pass
    lines = console.file.getvalue().splitlines()
    assert lines == [
        f"{tmp_path / 'metrics.jsonl'}: dropped 3 damaged line(s)",
        "compiling, usually 5 s",
        "compiling took 0 s",
    ]
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1}\n{"step": 2}\n'


@pytest.mark.parametrize("value", [0.0, 1 / 3, 1e-9, -0.00001234, 123456.789, 999_999.994, 391_112_300.0, -7e15, 1e300])
def test_a_figure_has_few_letters(value):
    assert len(_figure(value)) <= 12 and float(_figure(value).replace(",", "")) == pytest.approx(
        value, rel=1e-2, abs=1e-2
    )


def forecast_of(paths: int) -> Fan:
    values_PH = {name: np.linspace(0, 4e9, paths)[:, None] for name in ("mid", "spread", "volume", "volatility")}
    quantiles = {f"{name}_HQ": np.quantile(of, QUANTILES, axis=0).T for name, of in values_PH.items()}
    moments = {"by": "events", "moment_H": np.array([40.0]), "paths_H": np.array([paths])}
    return Fan(**moments, quantile_Q=np.array(QUANTILES), paths_PH=values_PH, **quantiles)


@pytest.mark.parametrize("paths", [1, 19, 20, 100])
def test_what_paths_expect_fits_on_a_terminal_and_has_units(paths, screen):
    out = screen(80, terminal=True)
    shown.show(_expected(forecast_of(paths)))
    text = out.getvalue()
    assert max(len(line) for line in text.splitlines()) <= 80
    for unit in ("mid, price", "spread, price", "volume, lots", "volatility, price"):
        assert unit in text
    assert ("5%" in text) == (paths >= 20) and ("mean" in text) == (paths < 20)


@pytest.mark.slow
def test_a_command_without_a_reader_ends_without_a_trace():
    """As in `... --mode=summary | head -1`; here nothing ever reads from the pipe."""
    reader, writer = os.pipe()
    os.close(reader)
    arguments = [sys.executable, "-m", "lob_jax.main", "--config=configs/tiny.py", "--mode=summary"]
    done = subprocess.run(arguments, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(writer)
    assert done.returncode == 0
    assert done.stderr == "output can no longer be written ([Errno 32] Broken pipe); the command continues without it\n"
