"""However a command fails, the user sees one readable error; a traceback, if needed, is in a file."""

import errno
import os
import pathlib
import subprocess
import sys
import threading

import pytest

from lob_jax import failures, main
from lob_jax.errors import InputError, TrainingError

ROOT = pathlib.Path(__file__).resolve().parents[1]
TINY = ["lob_jax/main.py", "--config=configs/tiny.py"]


@pytest.fixture
def ended(monkeypatch, capsys, tmp_path):
    """Return a function that runs a command whose mode raises, and returns its exit status and standard error."""

    def end(error: BaseException, *, workdir: pathlib.Path = tmp_path):
        def fail(_):
            raise error

        monkeypatch.setattr(main, "main", fail)
        with pytest.raises(SystemExit) as caught:
            main.start([*TINY, f"--workdir={workdir}"])
        return caught.value.code, capsys.readouterr().err

    return end


SYSTEM = [
    (errno.ENOSPC, "the disk is full", "free some space"),
    (errno.EROFS, "the disk is read-only", "choose a --workdir elsewhere"),
    (errno.EACCES, "permission is denied", "chmod"),
    (errno.EEXIST, "something else is where a folder is expected", "move it away"),
    (errno.ENOTDIR, "a file is where a folder is expected", "move the file away"),
    (errno.EMFILE, "too many files are open", "ulimit -n"),
    (errno.EDQUOT, "the disk quota is exceeded", "free some space"),
]


@pytest.mark.parametrize(("number", "what", "remedy"), SYSTEM)
def test_an_error_of_the_system_is_told_in_words(number, what, remedy, ended, tmp_path):
    status, told = ended(OSError(number, os.strerror(number), "runs/x/damaged"))
    assert status == 1 and told.startswith(f"error: {what}\n") and remedy in told
    assert "where:    runs/x/damaged" in told and os.strerror(number) in told
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_system_that_a_library_hands_on_is_told_in_words(ended, tmp_path):
    for error in (RuntimeError, ValueError):
        status, told = ended(error("RESOURCE_EXHAUSTED: write() failed: No space left on device; writing x.partial"))
        assert status == 1 and told.startswith("error: the disk is full") and "x.partial" in told
        assert f"where:    a file in {tmp_path}\n" in told
    assert f"where:    a file in {tmp_path}\n" in ended(OSError(errno.ENOSPC, "No space left on device"))[1]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 7 bytes")])
def test_memory_that_ran_out_is_told_in_words(error, ended):
    status, told = ended(error)
    assert status == 1 and told.startswith("error: memory ran out") and "--config.train.micro_batch" in told


def test_a_fault_of_the_program_leaves_its_trace_in_the_run(ended, tmp_path):
    status, told = ended(ZeroDivisionError("by zero"))
    (path,) = (tmp_path / "failures").iterdir()
    assert status == main.EXIT_FAULT == 70
    assert told.count("error: ") == 1 and "Traceback" not in told and "ZeroDivisionError: by zero" in told
    assert str(path) in told and "test_failures.py, line" in told
    text = path.read_text()
    assert "Traceback" in text and f"--workdir={tmp_path}" in text and "by zero" in text


def test_a_trace_that_the_run_cannot_hold_lies_in_the_temporary_folder(ended, tmp_path, monkeypatch):
    monkeypatch.setattr(failures.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "failures").touch()
    for workdir in (tmp_path / "run", tmp_path / "new"):
        status, told = ended(KeyError("x"), workdir=workdir)
        assert status == 70
        (path,) = (tmp_path / "temporary").glob("lob_jax_failure_*.txt")
        assert str(path) in told and "KeyError" in path.read_text()
        path.unlink()
    (tmp_path / "temporary").rmdir()
    (tmp_path / "temporary").touch()
    _, told = ended(KeyError("x"), workdir=tmp_path / "new")
    assert "report it, with this" in told and "KeyError" in told  # with nowhere to write it, it is shown instead


def test_errors_of_input_and_of_training_keep_their_status(ended):
    bad = InputError("a fault", where="here [red]", expected="x", was="y\ud800", remedy="z")
    assert ended(bad)[0] == 2
    status, told = ended(TrainingError("it diverged", step=3, remedy="lower it"))
    assert status == 1 and told == "error: it diverged\n  step:     3\n  remedy:   lower it\n"


def test_what_is_written_with_brackets_stays(ended):
    assert (
        'where:    runs/[a] :smile: ".[sweep]"'
        in ended(InputError("a fault", where='runs/[a] :smile: ".[sweep]"', expected="x", was="y", remedy="z"))[1]
    )


def test_a_success_has_no_message(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(main, "main", lambda _: None)
    with pytest.raises(SystemExit) as caught:
        main.start([*TINY, f"--workdir={tmp_path}"])
    assert caught.value.code is None and capsys.readouterr() == ("", "")


def test_traces_of_threads_and_libraries_are_kept_and_not_printed(monkeypatch, capsys, tmp_path):
    for module, name in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(module, name, getattr(module, name))  # restored at the end
    failures.divert_traces(TINY, tmp_path)
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    (path,) = (tmp_path / "failures").iterdir()
    assert "ZeroDivisionError" in path.read_text() and "Traceback" in path.read_text()
    sys.excepthook(KeyError, KeyError("first"), None)
    assert "KeyError" in path.parent.joinpath(sorted(os.listdir(path.parent))[-1]).read_text()
    assert capsys.readouterr() == ("", "")
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert "KeyboardInterrupt" in capsys.readouterr().err  # not an error: goes to the previous hook


def test_help_is_printed(capsys):
    main.start([*TINY, "--help"])
    assert "--mode" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("where", ["a file in place of records", "a folder that nothing can be written to"])
def test_a_command_that_cannot_write_shows_no_trace(where, tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    if where == "a file in place of records":
        (workdir / "records").touch()
    else:
        workdir = pathlib.Path("/proc/run")
    arguments = ["--config=configs/tiny.py", "--mode=prepare", "--config.data.synthetic_events=2000"]
    done = subprocess.run(
        [sys.executable, "-m", "lob_jax.main", *arguments, f"--workdir={workdir}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode in (1, 2) and done.stderr.count("error: ") == 1, done.stderr
    assert "Traceback" not in done.stderr and "remedy:" in done.stderr
