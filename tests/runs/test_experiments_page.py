"""docs/experiments.md stays true: its commands and its code are run against a server of two models with a database."""

import contextlib
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import httpx
import pytest

from lob_jax.bench.server_process import served_bundle
from tests.runs.test_served import BLOCK, SEPARATOR, alike, shape

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "experiments.md").read_text()
BLOCKS = [match.groups() for match in BLOCK.finditer(PAGE)]
RUN = [block for block in BLOCKS if block[0] == "bash" and "--mode=serve" not in block[1]]
CODE = [block for block in BLOCKS if block[0] == "python"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("experiments")


@pytest.fixture(scope="module")
def server(exported, folder):
    bundles = f"now={exported.bundle.folder},next={exported.bundle.folder}"
    database = f"--config.serve.database=sqlite:///{folder / 'experiments.db'}"
    with served_bundle(bundles, ["--config.serve.threads=1", "--config.serve.operators=bench", database]) as target:
        yield {"URL": f"http://{target.host}:{target.port}", "KEY": target.key}


@pytest.fixture(scope="module")
def written(server, folder):
    """Run all commands of the page in one shell; return what each wrote."""
    if shutil.which("curl") is None:
        pytest.skip("needs curl, 7.82 or newer")
    script = "".join(f"{code}\nprintf '{SEPARATOR}'\n" for _, code, _, _ in RUN)
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, **server, "PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.split(SEPARATOR)[:-1]


def test_commands_answer_what_is_shown(written):
    assert len(written) == len(RUN) == 6
    for (_, code, kind, shown), was in zip(RUN, written, strict=True):
        assert kind == "json" and alike(shape(json.loads(shown)), shape(json.loads(was))), f"{code}\n{was}"


def test_an_outcome_is_recorded_once(written):
    first, second = (json.loads(text) for text in written[2:4])
    assert (first["recorded"], second["recorded"]) == ("now", "before") and first["scores"] == second["scores"]
    assert first["scores"]["now"] == first["scores"]["next"]  # the same model


def test_code_prints_what_is_shown(server, written, monkeypatch):
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    ((_, code, _, shown),) = CODE
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "docs/experiments.md", "exec"), {})
    assert out.getvalue() == shown


def test_the_mode_shows_the_same(server, written, folder):
    (command,) = re.findall(r"`python (-m lob_jax.main --mode=experiments [^`]*)`", PAGE)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, *command.split()]
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "wider" in done.stdout and "three days are not enough" in done.stdout, done.stderr


def test_every_route_of_experiments_is_described(server):
    headers = {"Authorization": f"Bearer {server['KEY']}"}
    listed = httpx.get(f"{server['URL']}/openapi.json", headers=headers).json()["paths"]
    mine = [path for path in listed if "experiments" in path or "outcomes" in path]
    page = PAGE.replace("experiments/wider", "experiments/{name}")
    assert len(mine) == 4 and [path for path in mine if path not in page] == []


def test_fields_that_are_explained_exist(server):
    headers = {"Authorization": f"Bearer {server['KEY']}"}
    schemas = httpx.get(f"{server['URL']}/openapi.json", headers=headers).json()["components"]["schemas"]
    table = PAGE.partition("| field | is |")[2].partition("**Paired**")[0]
    named = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))))
    assert named == set(schemas["ExperimentAsked"]["properties"]) - {"name"}
    decisions = re.findall(
        r"^\| `(\w+)`.* \|$", PAGE.partition("| decision |")[2].partition("Each is")[0], re.MULTILINE
    )
    assert decisions == schemas["DecisionAsked"]["properties"]["decision"]["enum"]
