"""One process per folder: the error names the holder, and a file system without locks causes a warning."""

import errno
import fcntl
import json
import os
import socket

import pytest

from lob_jax.configs import tiny
from lob_jax.errors import InputError
from lob_jax.lock import locked
from lob_jax.stages import run as stages


def test_a_lock_says_who_holds_it_and_goes_with_its_holder(tmp_path):
    path = tmp_path / "folder" / "some.lock"
    with locked(path, doing="testing"):
        held = json.loads(path.read_text())
        assert (held["doing"], held["pid"], held["host"]) == ("testing", os.getpid(), socket.gethostname())
        with pytest.raises(InputError) as refused, locked(path, doing="testing too"):
            pass
    assert refused.value.was == f"process {os.getpid()} on {held['host']}, testing since {held['since']}"
    assert not path.exists()
    with locked(path):
        assert json.loads(path.read_text())["doing"] == "preparing records"


def test_what_a_holder_says_is_whole_after_one_that_said_more(tmp_path):
    path = tmp_path / "some.lock"
    path.write_text("x" * 4000)  # left by a killed process
    with locked(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_holder_that_has_said_nothing_yet_is_no_trouble(tmp_path):
    path = tmp_path / "some.lock"
    path.touch()
    with path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="a process that has just started"), locked(path):
            pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.warns(UserWarning, match="file system without locks") as warned, locked(tmp_path / "some.lock"):
        pass
    assert len(warned) == 1 and warned[0].filename == __file__
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
    with pytest.raises(OSError, match="broken"), locked(tmp_path / "some.lock"):
        pass


@pytest.mark.parametrize("mode", ["find_lr", "overfit", "forecast"])
def test_two_that_write_the_same_results_are_not_run_at_once(tmp_path, mode):
    with locked(tmp_path / f"{mode}.lock"), pytest.raises(InputError, match="another process is at work"):
        stages.run(mode, tiny.get_config(), workdir=tmp_path)
