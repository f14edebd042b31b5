"""The stage `serve`: which models it opens, and what it tells."""

import pathlib
import subprocess
import sys
import threading
import types

import pytest

from lob_jax.command_line import parse
from lob_jax.configs import base
from lob_jax.errors import InputError
from lob_jax.serving.http import serve as http_serve
from lob_jax.serving.http.keys import KeysFile, OneKey, add
from lob_jax.serving.stub import StubServer, stub_facts
from lob_jax.stages import serve as stage

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def served(monkeypatch):
    """Put a stub in the place of engines and of the server; return what both were called with."""
    calls = []

    def open_server(folder, *, name, settings):
        calls.append((str(folder), name, settings))
        return StubServer(stub_facts(name))

    opener = types.SimpleNamespace(open_server=open_server, open_run=open_server)
    for module in (stage.BUNDLES, stage.RUNS):
        monkeypatch.setitem(sys.modules, module, opener)

    def serve(servers, settings, *, keys, on_listening, experiments):
        calls.append((servers, settings, keys))
        assert (experiments is None) == (not settings.database)
        on_listening("http://127.0.0.1:8000")

    monkeypatch.setattr(http_serve, "serve", serve)
    return calls


def test_bundles_are_served_by_their_names(served, tmp_path, capsys):
    config = base.get_config()
    config.serve.bundle = ("runs/tiny/bundle", "other=somewhere")
    config.serve.rows = 5
    stage.serve(config, tmp_path)
    (folder, name, settings), (other, second, _), (servers, whole, keys) = served
    assert (folder, name, other, second) == ("runs/tiny/bundle", "tiny", "somewhere", "other")
    assert settings.rows == 5 and whole.engine == settings and [*servers] == ["tiny", "other"]
    printed = capsys.readouterr()
    assert isinstance(keys, OneKey) and keys.key in printed.err and keys.key not in printed.out
    assert "listening at http://127.0.0.1:8000" in printed.out
    assert not [*tmp_path.iterdir()]


def test_without_bundles_the_run_is_served(served, tmp_path, monkeypatch):
    from lob_jax.stages import model

    monkeypatch.setattr(model, "trained_run", lambda config, workdir: f"run in {workdir}")
    stage.serve(base.get_config(), tmp_path / "mine")
    assert served[0][:2] == (f"run in {tmp_path / 'mine'}", "mine")


def test_a_run_that_is_not_trained_is_named(served, tmp_path):
    with pytest.raises(InputError, match="no trained model yet"):
        stage.serve(base.get_config(), tmp_path)
    assert served == []


def test_a_file_of_keys_is_used_and_no_key_is_shown(served, tmp_path, capsys):
    alice = add(tmp_path / "keys.json", "alice")
    config = base.get_config()
    config.serve.bundle, config.serve.keys_file = ("a=b",), str(tmp_path / "keys.json")
    stage.serve(config, tmp_path)
    keys = served[-1][2]
    assert isinstance(keys, KeysFile) and keys.owner(alice) == "alice"
    assert "lob_" not in "".join(capsys.readouterr()).replace("lob_jax", "")


def test_an_installation_without_the_packages_is_told(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "lob_jax.serving.http.serve", None)
    with pytest.raises(InputError, match="not installed") as caught:
        stage.serve(base.get_config(), tmp_path)
    assert "[serve]" in caught.value.remedy


def test_the_mode_needs_neither_a_run_nor_a_configuration():
    command = parse(["main", "--mode=serve", "--config.serve.bundle=a=runs/x/bundle,b=y", "--config.serve.port=0"])
    assert command.config.serve.bundle == ("a=runs/x/bundle", "b=y")
    assert (command.config.serve.port, str(command.workdir)) == (0, "runs/serve")


def test_a_database_has_the_experiments(served, tmp_path):
    config = base.get_config()
    config.serve.bundle, config.serve.database = ("a=b",), f"sqlite:///{tmp_path / 'experiments.db'}"
    before = threading.enumerate()  # other tests of the process may have experiments
    stage.serve(config, tmp_path)
    assert (tmp_path / "experiments.db").exists()
    assert not [thread for thread in threading.enumerate() if thread.name == "experiments" and thread not in before]


def test_a_database_that_cannot_be_opened_is_told_before_models_are_opened(served, tmp_path):
    config = base.get_config()
    config.serve.bundle, config.serve.database = ("a=b",), f"sqlite:///{tmp_path / 'none' / 'experiments.db'}"
    with pytest.raises(InputError):
        stage.serve(config, tmp_path)
    assert served == []


def test_without_a_database_nothing_of_experiments_is_imported():
    """SQLAlchemy is in an extra of its own."""
    code = """
import sys
from lob_jax.serving.http import app, serve
from lob_jax.stages import serve as stage
found = [name for name in sys.modules if name.startswith(("lob_jax.serving.experiments", "sqlalchemy"))]
found += [name for name in sys.modules if name.startswith("lob_jax.serving.http.trials")]
print(found)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "[]\n", done.stderr


def test_an_installation_without_the_packages_of_experiments_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "lob_jax.serving.experiments.store.store", None)
    with pytest.raises(InputError, match="not installed") as caught:
        stage.opened_experiments("sqlite:///x")
    assert "[experiments]" in caught.value.remedy
