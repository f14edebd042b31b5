"""launch/serve/lob-jax@.service is a unit that systemd accepts, with time to drain and few rights."""

import pathlib
import shutil
import subprocess
import sys

import pytest

from lob_jax.configs import base

ROOT = pathlib.Path(__file__).resolve().parents[3]
UNIT = (ROOT / "launch/serve/lob-jax@.service").read_text()
PYTHON = "/opt/lob-jax/.venv/bin/python"


def settings(text: str) -> dict[str, list[str]]:
    """Return the values of a unit's settings, in all of its sections."""
    found: dict[str, list[str]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def options() -> dict[str, str]:
    (command,) = settings(UNIT)["ExecStart"]
    assert "-m lob_jax.main --mode=serve " in command
    words = [word.removeprefix("--config.serve.") for word in command.split() if word.startswith("--config.serve.")]
    return dict(word.split("=", 1) for word in words)


def verified(text: str, folder: pathlib.Path) -> subprocess.CompletedProcess:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    (folder / "lob-jax@.service").write_text(text.replace(PYTHON, sys.executable))
    command = ["systemd-analyze", "verify", "--recursive-errors=yes", "--man=no", str(folder / "lob-jax@8000.service")]
    return subprocess.run(command, text=True, capture_output=True, timeout=60)


def test_systemd_accepts_it(tmp_path):
    done = verified(UNIT, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_sees_a_mistake(tmp_path):
    done = verified(UNIT.replace("ProtectSystem=strict", "ProtectSystems=strict"), tmp_path)
    assert "ProtectSystems" in done.stderr


def test_requests_at_work_are_finished():
    (stop,) = settings(UNIT)["TimeoutStopSec"]
    assert int(options()["drain_s"]) < int(stop)
    assert settings(UNIT)["KillSignal"] == ["SIGTERM"]
    assert settings(UNIT)["Restart"] == ["on-failure"]


def test_it_may_do_little():
    wanted = {"DynamicUser": "yes", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes"}
    found = settings(UNIT)
    assert {name: found[name] for name in wanted} == {name: [value] for name, value in wanted.items()}
    assert found["CapabilityBoundingSet"] == [""] and found["MemoryMax"]


def test_each_instance_has_its_port_and_reads_the_keys_as_a_credential():
    assert options()["port"] == "%i" and options()["host"] == "127.0.0.1"
    (credential,) = settings(UNIT)["LoadCredential"]
    assert options()["keys_file"] == "${CREDENTIALS_DIRECTORY}/" + credential.partition(":")[0]


def test_its_options_are_settings_of_a_server():
    assert options().keys() <= set(base.get_config().serve.keys())
