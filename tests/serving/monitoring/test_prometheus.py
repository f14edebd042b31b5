"""A real Prometheus reads a real server, evaluates the rules, and tells a real Alertmanager: by the script of the page.

The normal day is neither one of those that the reference counts nor one of those that thresholds were chosen by. The
engine follows its book; scores are made up, since no model has been trained.
"""

import contextlib
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse

import httpx
import numpy as np
import pytest

from lob_jax.serving.http.app import build_app
from lob_jax.serving.http.keys import OneKey
from lob_jax.serving.http.serve import Listening
from lob_jax.serving.http.service import Service
from lob_jax.serving.monitoring import watch
from lob_jax.serving.monitoring.show_drift import main as show_drift
from lob_jax.serving.requests import Scored
from tests.serving.deploy.test_serve_script import free_ports
from tests.serving.engine.engines import serving
from tests.serving.monitoring.markets import EVENTS, reference
from tests.serving.settings import limits

ROOT = pathlib.Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "launch/serve/monitor.sh"
LOOKED = 5  # evaluations of the rules that are waited for: more than the script's patience


class Scorer:
    """Scores of a calibrated model, whose log-likelihood is as it is set."""

    def __init__(self):
        self.nats, self._rng = -12.0, np.random.default_rng(0)

    def __call__(self, asked):
        count = len(asked.history.events) - asked.first
        likelier = self._rng.integers(5, size=count) / 5  # five classes, one as likely as another
        columns = (np.full(count, 0.8), np.full(count, 0.2), likelier, np.full(count, 2.3), np.full(count, 0.5))
        return Scored((self.nats,) * count, ("",) * count, *(tuple(column.tolist()) for column in columns))


class Monitored:
    """A server, and what watches it.

    Attributes:
      url: of the server.
      keyfile: a file with its key.
      prometheus, alertmanager: clients.
      folder: what the script has written.
      process: the script.
      scorer: how likely events are.
    """

    def __init__(self, folder, url, key, scorer):
        first, self.scorer = free_ports(2), scorer
        self.url, self.folder, self.keyfile = url, folder / "monitoring", folder / "key"
        self.keyfile.write_text(key)
        self.prometheus, self.alertmanager = (
            httpx.Client(base_url=f"http://127.0.0.1:{first + k}", timeout=10) for k in range(2)
        )
        target = urllib.parse.urlsplit(url).netloc
        words = (
            f"--keyfile={self.keyfile} --targets={target} --folder={self.folder} --port={first} --alerts={first + 1}"
        )
        command = ["bash", SCRIPT, *words.split(), "--every=1", "--patience=2"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def until_ready(self):
        line = self.process.stdout.readline()
        assert line.startswith("Prometheus: http://127.0.0.1:"), line

    def query(self, expression):
        found = self.prometheus.get("/api/v1/query", params={"query": expression}).json()
        return {json.dumps(one["metric"], sort_keys=True): float(one["value"][1]) for one in found["data"]["result"]}

    def until(self, holds, seconds=60):
        limit = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < limit, self.prometheus.get("/api/v1/alerts").text
            time.sleep(0.3)

    def looked(self):
        """Wait until the rules have been evaluated several times from now on."""
        for _ in range(LOOKED):
            before = self.evaluated()
            self.until(lambda before=before: all(now != before[name] for name, now in self.evaluated().items()))

    def evaluated(self):
        """Return when each group of rules was evaluated last."""
        groups = self.prometheus.get("/api/v1/rules").json()["data"]["groups"]
        return {group["name"]: group["lastEvaluation"] for group in groups}

    def alerts(self):
        """Return the names of all alerts that are pending or firing."""
        return {one["labels"]["alertname"] for one in self.prometheus.get("/api/v1/alerts").json()["data"]["alerts"]}

    def told(self):
        """Return the names of the alerts that have reached Alertmanager."""
        return {one["labels"]["alertname"] for one in self.alertmanager.get("/api/v2/alerts").json()}


@pytest.fixture
def monitored(tmp_path, monkeypatch):
    for name in ("prometheus", "prometheus-alertmanager"):
        if shutil.which(name) is None:
            pytest.skip(f"needs {name}, of the Debian package of this name")
    monkeypatch.setattr(watch, "ROUND_S", 0.02)  # so that almost all additions are scored, one after another
    keys, scorer = OneKey(), Scorer()
    with serving("learned", reference=reference(), score=scorer) as (engine, _):
        service = Service({"model": engine}, keys, limits(), monitor_share=1.0)
        listening = Listening(build_app(service), service, host="127.0.0.1", port=0)
        place = Monitored(tmp_path, listening.url, keys.key, scorer)
        try:
            place.until_ready()
            yield place
        finally:
            place.process.send_signal(signal.SIGTERM)
            out, _ = place.process.communicate(timeout=30)
            place.prometheus.close()
            place.alertmanager.close()
            listening.drain(0.0)
        assert place.process.returncode == 0, out


def fed(place, *words):
    given = [f"--url={place.url}", f"--keyfile={place.keyfile}", f"--events={EVENTS}", f"--a-day={EVENTS}", *words]
    assert show_drift(given) == 0


@pytest.mark.slow
def test_an_alert_fires_on_drifted_events_and_none_on_a_normal_day(monitored, capsys):
    place = monitored
    assert (place.folder / "key").stat().st_mode & 0o777 == 0o600
    fed(place, "--normal")
    place.until(lambda: set(place.query('lob_drift_events{feature="size"}').values()) == {8192.0})
    scored = place.query("lob_quality_paired_events")
    assert sum(scored.values()) >= 1_000  # of so many events on, alerts may fire
    place.looked()
    assert place.query('up{job="lob_jax"}') and place.alerts() == place.told() == set()
    place.scorer.nats = -60.0
    fed(place)
    place.until(lambda: {"LobInputDrift", "LobModelWorseThanCounts"} <= place.told())
    firing = 'ALERTS{alertname="LobInputDrift", alertstate="firing"}'
    features = {json.loads(labels)["feature"] for labels in place.query(firing)}
    assert "size" in features
    assert place.alerts() == {"LobInputDrift", "LobModelWorseThanCounts"}


def test_the_script_prints_what_it_would_run(tmp_path):
    words = ["--keyfile=k", f"--folder={tmp_path}", "--port=9191", "--alerts=9192", "--dry-run"]
    done = subprocess.run(["bash", SCRIPT, *words], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and list(tmp_path.iterdir()) == []
    one, other = done.stdout.splitlines()
    assert one.startswith(f"prometheus --config.file={tmp_path}/prometheus.yml") and "=127.0.0.1:9191" in one
    assert other.startswith("prometheus-alertmanager ") and "=127.0.0.1:9192" in other
    assert "0.0.0.0" not in done.stdout and "--cluster.listen-address=" in other.split()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "--keyfile is missing"),
        (["--keyfile=nothing"], "there is no key in nothing"),
        (["--keyfile=k", "--port=x"], "--port=x is not a whole number"),
        (["--keyfile=k", "--speed=1"], "there is no argument --speed=1"),
    ],
)
def test_wrong_arguments_are_refused(words, told):
    if told.startswith("there is no key") and shutil.which("prometheus-alertmanager") is None:
        pytest.skip("needs prometheus-alertmanager, of the Debian package of this name")
    done = subprocess.run(["bash", SCRIPT, *words], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and told in done.stderr


def test_its_help_is_its_header():
    done = subprocess.run(["bash", SCRIPT, "--help"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and done.stdout.startswith("Run Prometheus and Alertmanager")


def test_shellcheck_has_nothing_to_say():
    shellcheck = pathlib.Path(sys.executable).with_name("shellcheck")
    done = subprocess.run(
        [shellcheck, "--external-sources", SCRIPT], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout


@contextlib.contextmanager
def configured(folder):
    (folder / "rules").mkdir()
    (folder / "key").write_text("k")
    for file in (ROOT / "lob_jax/serving/monitoring/rules").glob("*.yml"):
        shutil.copy(file, folder / "rules")
    for name in ("prometheus.yml", "alertmanager.yml"):
        shutil.copy(ROOT / "launch/serve/monitoring" / name, folder)
    yield folder


@pytest.mark.parametrize(
    ("program", "words"),
    [("promtool", "check config prometheus.yml"), ("amtool", "check-config alertmanager.yml")],
)
def test_the_configurations_are_accepted(tmp_path, program, words):
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"needs {program}, of the Debian packages prometheus and prometheus-alertmanager")
    with configured(tmp_path) as folder:
        done = subprocess.run([found, *words.split()], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
