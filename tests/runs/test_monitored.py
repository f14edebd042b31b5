"""docs/monitoring.md stays true: its commands are run in order, with a bundle, Prometheus and Alertmanager.

Ports are others, and so are the values of alerts: the bundle of tests is of other days than the demo's.
"""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import pytest

from lob_jax.bench.server_process import served_bundle
from tests.serving.deploy.test_serve_script import free_ports

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/monitoring.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```(?:\n\n```text\n(.*?)```)?", PAGE, re.DOTALL)
PORTS = ("8000", "9090", "9093")  # of the page


@pytest.fixture
def place(exported, tmp_path):
    for name in ("prometheus", "prometheus-alertmanager", "curl"):
        if shutil.which(name) is None:
            pytest.skip(f"needs {name}")
    with served_bundle(f"demo={exported.bundle.folder}", ["--config.serve.threads=1"]) as target:
        first = free_ports(2)
        yield tmp_path, dict(zip(PORTS, map(str, (target.port, first, first + 1)), strict=True)), target.key


def here(text, ports):
    """Return a command of the page with other ports, and with options that say them."""
    given = re.sub(r"127\.0\.0\.1:(\d+)", lambda found: f"127.0.0.1:{ports[found[1]]}", text)
    server = f"--url=http://127.0.0.1:{ports['8000']} --keyfile"
    given = given.replace("show_drift --keyfile", f"show_drift {server}")
    own = f"--targets=127.0.0.1:{ports['8000']} --port={ports['9090']} --alerts={ports['9093']} --keyfile"
    return given.replace("launch/serve/monitor.sh --keyfile", f"{ROOT}/launch/serve/monitor.sh --folder=$PWD/m {own}")


@contextlib.contextmanager
def running(command, folder, environment):
    process = subprocess.Popen(
        ["bash", "-c", f"exec {command}"], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process.stdout.readline()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


@pytest.mark.slow
def test_the_commands_of_the_page_do_what_it_says(place):
    folder, ports, key = place
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}

    def run(command):
        words = ["bash", "-e", "-c", here(command, ports)]
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    commands = [command for command, _ in BLOCKS if "--mode=serve" not in command]
    starts, feeds, asks = commands
    make_key = next(line for command, _ in BLOCKS for line in command.splitlines() if "serving.http.keys" in line)
    run(make_key)
    made = folder / "prometheus.key"
    assert made.stat().st_mode & 0o777 == 0o600 and made.read_text().startswith("lob_")
    made.write_text(key)  # that of the server of this test
    with running(here(starts, ports).replace("prometheus.key", str(made)), folder, environment) as line:
        assert re.fullmatch(r"Prometheus: http://127.0.0.1:\d+, Alertmanager: http://127.0.0.1:\d+\n", line)
        normal, *both = run(feeds).splitlines()
        shown = [text for _, text in BLOCKS if "events fed" in text] or re.findall(
            r"```text\n(10,000 .*?)```", PAGE, re.DOTALL
        )
        assert both == shown[0].splitlines() and normal == both[0]
        told = run(asks)
    assert "The stability index of size of demo" in told
