"""docs/serving.md stays true: its commands and its code are run against a server of a bundle.

Answers depend on the model. They are compared by their shape: the same fields with values of the same kind, the same
names of events.
"""

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
from lob_jax.configs import base
from lob_jax.serving.http.problems import KINDS

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text()
BLOCK = re.compile(r"```(bash|python)\n(.*?)```(?:\n\n```(json|text)\n(.*?)```)?", re.DOTALL)
BLOCKS = [match.groups() for match in BLOCK.finditer(PAGE)]
STARTS = ("lob_jax.main", "launch/")  # what starts or exports is tested elsewhere
RUN = [block for block in BLOCKS if block[0] == "bash" and not any(word in block[1] for word in STARTS)]
CODE = [block for block in BLOCKS if block[0] == "python"]
SEPARATOR = "\x1e"


@pytest.fixture(scope="module")
def server(exported):
    with served_bundle(f"demo={exported.bundle.folder}", ["--config.serve.threads=1"]) as target:
        yield {"URL": f"http://{target.host}:{target.port}", "KEY": target.key}


def shape(value):
    """Return a value with the kind of each number and text in its place; lists by their first element."""
    if isinstance(value, dict):
        return {name: shape(inside) for name, inside in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def alike(shown, was) -> bool:
    """Return whether two shapes differ only where one has null, or a list that is empty."""
    if isinstance(shown, dict) and isinstance(was, dict):
        return shown.keys() == was.keys() and all(alike(shown[name], was[name]) for name in shown)
    if isinstance(shown, list) and isinstance(was, list):
        return not (shown and was) or alike(shown[0], was[0])
    return shown == was or "NoneType" in (shown, was)


def lines_of(text: str) -> list[str]:
    """Return the lines of an answer that is no JSON, without values: names of events, of metrics, of fields."""
    plain = [re.sub(r"[\d.e+-]+(?![\w.])|demo~[\w-]+", "N", line) for line in text.strip().splitlines()]
    return [line.partition("{")[0] for line in plain if line]


@pytest.fixture(scope="module")
def workplace(server, tmp_path_factory):
    """Run all commands of the page in one shell; return its folder and what each command wrote."""
    if shutil.which("curl") is None:
        pytest.skip("needs curl, 7.82 or newer")
    folder = tmp_path_factory.mktemp("page")
    script = "".join(f"{code}\nprintf '{SEPARATOR}'\n" for _, code, _, _ in RUN)
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, **server, "PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return folder, done.stdout.split(SEPARATOR)[:-1]


def test_commands_answer_what_is_shown(workplace):
    _, written = workplace
    assert len(written) == len(RUN) >= 14
    for (_, code, kind, shown), was in zip(RUN, written, strict=True):
        if kind == "json":
            assert alike(shape(json.loads(shown)), shape(json.loads(was))), f"{code}\n{was}"
        elif kind == "text":
            assert lines_of(was) == lines_of(shown), f"{code}\n{was}"


def test_an_answer_of_another_shape_is_seen():
    one = {"a": [{"b": 1, "c": None}], "d": []}
    assert alike(shape(one), shape({"a": [{"b": 2.5, "c": "x"}, {}], "d": [1]}))
    for other in ({"a": [{"b": "1", "c": None}], "d": []}, {"a": [{"b": 1}], "d": []}, {"a": [{"b": 1, "c": None}]}):
        assert not alike(shape(one), shape(other))
    assert lines_of("event: done\nx 1\n") != lines_of("event: error\nx 1\n")


def test_code_prints_what_is_shown(server, workplace, monkeypatch):
    folder, _ = workplace
    monkeypatch.chdir(folder)
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    known: dict = {}
    assert len(CODE) == 4
    for _, code, _, shown in CODE:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, "docs/serving.md", "exec"), known)
        assert out.getvalue().strip() == shown.strip()


def test_settings_that_are_named_exist():
    keys = set(base.get_config().serve.keys())
    named = set(re.findall(r"config\.serve\.(\w+)", PAGE))
    limits = PAGE.partition("## Limits")[2].partition("`rows`")[0]
    rows = "".join(re.findall(r"^\| (`.*?) \|", limits, re.MULTILINE))
    named |= set(re.findall(r"`(\w+)`", rows))
    assert len(named) > 20 and named <= keys


def test_every_kind_of_problem_is_listed():
    rows = re.findall(r"^\| (\d{3}) \| `([\w-]+)` \| (.*) \|$", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted((str(kind.status), name, kind.means) for name, kind in KINDS.items())


def test_every_route_is_described(server):
    listed = httpx.get(f"{server['URL']}/openapi.json", headers={"Authorization": f"Bearer {server['KEY']}"}).json()
    page = PAGE.replace("$SESSION", "{session_id}").replace("/v1/models/demo", "/v1/models/{name}")
    assert [path for path in listed["paths"] if path not in page] == []
