import io
import json
import math

import pytest
import rich.console

from lob_jax.training.run.logs import TrainingLog, truncate_metrics

SPEED = {"step_s": 0.5, "tokens_per_s": 1234.0, "mfu": 0.25}
VALUES = {"loss": 2.0, "perplexity": math.exp(2.0), "skipped": 0}


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def console(**options):
    return rich.console.Console(file=io.StringIO(), width=200, **options)


def test_truncation_keeps_the_lines_up_to_a_step_and_drops_a_broken_one(tmp_path):
    path = tmp_path / "metrics.jsonl"
    text = '{"step": 1, "loss": 0.1}\n{"step": 2, "loss": 0.30000000000000004}\n{"step": 2, "val": 1}\n'
    path.write_text(text + '{"step": 3}\n{"step": 4, "lo')
    truncate_metrics(path, 2)
    assert path.read_text() == text
    truncate_metrics(path, 0)
    assert path.read_text() == ""
    assert list(tmp_path.iterdir()) == [path]


def test_there_may_be_nothing_to_truncate(tmp_path):
    truncate_metrics(tmp_path / "metrics.jsonl", 2)
    assert list(tmp_path.iterdir()) == []


def test_a_line_has_its_figures_and_its_speed_apart(tmp_path):
    with TrainingLog(tmp_path, first_step=0, total_steps=4, console=console()) as log:
        log.training(1, VALUES, SPEED)
        log.validation(2, 3.0, seconds=0.1)
        assert [line["step"] for line in lines(tmp_path)] == [1, 2]  # immediately, not when the file is closed
    assert lines(tmp_path)[0] == {"step": 1, **VALUES, "speed": SPEED}
    assert lines(tmp_path)[1]["validation_loss"] == 3.0
    assert lines(tmp_path)[1]["validation_perplexity"] == pytest.approx(math.exp(3.0))
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))


def test_a_figure_that_is_not_finite_is_null(tmp_path):
    with TrainingLog(tmp_path, first_step=0, total_steps=4, console=console()) as log:
        log.training(1, {"loss": math.nan, "perplexity": math.inf}, SPEED)
        log.validation(1, 1e4, seconds=0.1)
        log.validation(2, math.nan, seconds=0.1)
    assert [lines(tmp_path)[0][name] for name in ("loss", "perplexity")] == [None, None]
    assert (lines(tmp_path)[1]["validation_loss"], lines(tmp_path)[1]["validation_perplexity"]) == (1e4, None)
    assert lines(tmp_path)[2]["validation_loss"] is None


def test_what_is_not_finite_reaches_no_board_and_no_warning(tmp_path, caplog):
    """tensorboardX warns about each such value: twenty of them at every step of a diverged run."""
    with TrainingLog(tmp_path, first_step=0, total_steps=4, console=console()) as log:
        log.training(1, {"loss": math.nan, "perplexity": math.inf, "gradient_norm": 7.0}, SPEED)
        log.validation(1, math.nan, seconds=0.1)
    assert caplog.records == []
    (events,) = (tmp_path / "tensorboard").glob("events.out.tfevents.*")
    written = events.read_bytes()
    assert b"gradient_norm" in written and b"loss" not in written and b"perplexity" not in written


SKIPPED = VALUES | {"loss": math.nan, "skipped_in_row": 1}


def test_skipped_steps_are_told_at_once_then_by_the_minute_and_always_counted(tmp_path, monkeypatch):
    plain, now = console(), iter([100.0, 100.0, 120.0, 160.0, 160.0])
    with TrainingLog(tmp_path, first_step=0, total_steps=9, console=plain) as log:
        with monkeypatch.context() as patched:
            patched.setattr("lob_jax.training.run.logs.time.monotonic", lambda: next(now))
            log.skipped(3, SKIPPED | {"skipped": 1})
            log.skipped(4, SKIPPED | {"skipped": 2, "skipped_in_row": 2})
            log.skipped(5, SKIPPED | {"skipped": 1_003, "skipped_in_row": 3, "loss_scale": 512.0})
        log.training(6, VALUES | {"skipped": 1_003}, SPEED)
    reason = "was skipped, since its loss or gradient was not finite"
    assert plain.file.getvalue().splitlines()[:3] == [
        f"step 3 {reason}: 1 skipped so far, the last 1 in a row",
        f"step 5 {reason}: 1,003 skipped so far, the last 3 in a row; the loss scale is now 512",
        "step 6/9  skipped 1,003  loss 2.0000  tokens/s 1,234  MFU 25.0%  1.5 s left",
    ]


def test_the_bar_counts_skipped_steps(tmp_path):
    terminal = console(force_terminal=True, color_system=None)
    with TrainingLog(tmp_path, first_step=0, total_steps=200, console=terminal) as log:
        log.skipped(3, SKIPPED | {"skipped": 2})
        log.advance(3)
    assert "skipped 2" in terminal.file.getvalue()


def test_a_resumed_log_goes_on_from_its_step(tmp_path):
    for first_step, steps in ((0, (1, 2, 3)), (2, (3, 4))):
        with TrainingLog(tmp_path, first_step=first_step, total_steps=4, console=console()) as log:
            for step in steps:
                log.training(step, VALUES | {"loss": step / (1 + first_step)}, SPEED)
    assert [(line["step"], line["loss"]) for line in lines(tmp_path)] == [(1, 1.0), (2, 2.0), (3, 1.0), (4, 4 / 3)]


def test_without_a_terminal_progress_is_plain_lines(tmp_path):
    plain = console()
    with TrainingLog(tmp_path, first_step=0, total_steps=200, console=plain) as log:
        log.say("a sentence")
        log.training(80, VALUES, SPEED)
        log.validation(80, 2.5, seconds=0.1)
    assert plain.file.getvalue().splitlines()[:3] == [
        "a sentence",
        "step 80/200  loss 2.0000  tokens/s 1,234  MFU 25.0%  1 min 00 s left",
        "step 80/200  loss 2.0000  tokens/s 1,234  MFU 25.0%  val loss 2.5000",
    ]
    assert "\x1b" not in plain.file.getvalue()


def test_on_a_terminal_there_is_a_bar(tmp_path):
    terminal = console(force_terminal=True, color_system=None)
    with TrainingLog(tmp_path, first_step=0, total_steps=200, console=terminal) as log:
        log.training(80, VALUES, SPEED)
        log.validation(80, 2.5, seconds=0.1)
        log.advance(81)
    shown = terminal.file.getvalue()
    assert "81/200" in shown
    assert "loss 2.0000  tokens/s 1,234  MFU 25.0%  val loss 2.5000" in shown
