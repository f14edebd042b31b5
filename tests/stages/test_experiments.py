"""The stage `experiments`: create, list, show and decide, in a database of SQLite."""

import json
import os
import sys

import numpy as np
import pytest

from lob_jax.command_line import parse
from lob_jax.errors import InputError
from lob_jax.main import checked
from lob_jax.serving.experiments.results import Decision, Outcome, Requests
from lob_jax.serving.experiments.store.errors import Conflict, Missing, Unavailable
from lob_jax.serving.experiments.store.store import Store
from lob_jax.stages import experiments as stage
from lob_jax.stages.run import run

ARMS = [{"name": "control", "model": "old"}, {"name": "new", "model": "tiny"}, {"name": "bad", "model": "bad"}]
PLAIN = {"name": "night", "design": "paired", "arms": ARMS, "block": 4, "gap": 1}


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'experiments.db'}"


@pytest.fixture
def ask(url, tmp_path, capsys, monkeypatch):
    """Return a function: run the mode with keys of its section, and return what it prints."""
    monkeypatch.setenv("LOGNAME", "ada")

    def ask(**keys):
        given = [f"--config.experiments.{key}={value}" for key, value in keys.items()]
        where = [f"--config.serve.database={url}", f"--workdir={tmp_path / 'none'}"]
        command = checked(["lob_jax/main.py", "--mode=experiments", *where, *given])
        assert run("experiments", command.config, workdir=command.workdir) is None
        assert not (tmp_path / "none").exists()
        return capsys.readouterr().out

    return ask


@pytest.fixture
def created(ask, tmp_path):
    file = tmp_path / "night.json"
    file.write_text(json.dumps(PLAIN))
    assert "created night: paired, control (old), new (tiny), bad (bad), blocks of 4 events" in ask(create=file)
    return file


def fill(url, units=40):
    """Record units for which the new arm is better and the bad one worse, and slow."""
    store = Store(url)
    experiment = store.experiment("night")
    random = np.random.default_rng(1)
    gains = {"control": 0.0, "new": 0.5, "bad": -0.5}
    for number in range(units):
        store.assign(experiment, f"{number}", at_s=experiment.created_s)
        nats = {arm: gain + random.normal(-3.0, 0.1, 40) for arm, gain in gains.items()}
        brier = {arm: np.full(40, 0.5 - 0.1 * gain) for arm, gain in gains.items()}
        sent = Outcome(f"{number}", "1", "sha", nats, brier, dict.fromkeys(gains, 0.1))
        store.record(experiment, sent, at_s=0.0)
    store.count("night", {"bad": Requests(answered=100, slow=50), "new": Requests(answered=100)})
    store.close()


def row(printed, text):
    """Return the cells of the row of a table with a text in one of them."""
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in printed.splitlines() if line[:1] == "│"]
    (found,) = [cells for cells in rows if text in cells]
    return found


def test_an_experiment_from_its_creation_to_its_end(created, ask, url):
    assert row(ask(), "night") == ["night", "paired", "running", "control, new, bad", "0", "0", "keep"]
    fill(url)
    assert row(ask(), "night")[-3:] == ["40", "400", "promote new"]
    shown = ask(name="night")
    assert row(shown, "control")[1:5] == ["40", "400", "-", "-"] and row(shown, "control")[-1] == "control"
    new, bad = row(shown, "new"), row(shown, "bad")
    assert (
        new[:3] == ["new", "40", "400"]
        and new[-1] == "better"
        and new[5:8]
        == ["0.00% of 5.00%"]
        + [
            "0.00% of 1.00%",
            "0.00% of 5.00%",
        ]
    )
    assert new[3].startswith("+0.") and "[+" in new[3] and new[4].startswith("-0.05")
    assert bad[-1] == "worse" and bad[5] == "50.00% of 5.00%, too often"
    assert "units by arm: as expected" in shown and "advice: promote new, because new is better than control" in shown
    assert "decisions" not in shown
    kept = ask(name="night", decision="keep", because="a week, first")
    assert "; running" in kept and row(kept, "ada")[1:] == ["keep", "-", "ada", "a week, first"]
    end = ask(name="night", decision="promote", arm="new", because="better for a week")
    assert "promoted, new answers" in end and "advice" not in end
    assert row(ask(), "night")[2] == "promoted, new answers" and row(ask(), "night")[-1] == "-"
    with pytest.raises(Conflict, match="has ended"):
        ask(name="night", decision="stop", because="too late")
    store = Store(url)
    keep, promote = store.decisions("night")
    store.close()
    assert (promote.arm, promote.by, promote.because) == ("new", "ada", "better for a week")
    assert promote.known["advice"] == "promote new" and promote.known["arms"]["new"]["blocks"] == 400


def test_circuit_breakers_are_shown_and_closed(created, ask, url):
    store = Store(url)
    why = "slow \x1b[31m[red]text"
    store.decide("night", Decision(decision="trip", arm="new", by="server", because=why, at_s=0.0, known={}))
    store.close()
    shown = ask(name="night")
    assert "running; circuit breaker open: new" in shown and row(shown, "open, tripped")[0] == "new"
    assert "1970-01-01 00:00:00 UTC" in shown and "slow  [31m[red]text" in shown and "\x1b" not in shown
    assert "circuit" not in ask(name="night", decision="resume", arm="new", because="repaired")


def test_nothing_is_promoted_while_the_ratio_is_broken(created, ask, monkeypatch):
    monkeypatch.setattr(stage, "analysed", broken(stage.analysed))
    assert "units are not distributed as the weights say" in ask(name="night")
    with pytest.raises(Conflict, match="new salt"):
        ask(name="night", decision="promote", arm="new", because="I want to")
    assert "stopped, control answers" in ask(name="night", decision="stop", because="broken")


def broken(analysed):
    def found(experiment, kept):
        analysis = analysed(experiment, kept)
        object.__setattr__(analysis, "ratio_broken", True)
        return analysis

    return found


def test_a_file_may_leave_out_salt_and_beginning(created, ask, url, tmp_path):
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**PLAIN, "name": "other", "salt": "mine", "created_s": 5}))
    ask(create=other)
    ask(create=other)
    store = Store(url)
    other, night = store.experiments()
    store.close()
    assert (other.salt, other.created_s) == ("mine", 5.0)
    assert len(bytes.fromhex(night.salt)) == 16 and night.created_s > 1_700_000_000 and night.block == 4
    with pytest.raises(Conflict, match="another experiment of this name"):
        ask(create=created)  # it has another salt each time


@pytest.mark.parametrize(
    "text", [None, "{", "[1]", "\xff", "{}", '{"name": "a", "arm": []}', '{"arms": [{"weight": "a"}]}']
)
def test_a_file_that_is_no_experiment_is_named(ask, tmp_path, text):
    file = tmp_path / "a.json"
    if text is not None:
        file.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="the experiment"):
        ask(create=file)


@pytest.mark.parametrize(
    ("keys", "where"),
    [
        ({"decision": "promote", "because": "x", "name": "night"}, "arm"),
        ({"decision": "stop", "because": "x", "name": "night", "arm": "new"}, "arm"),
        ({"decision": "stop", "name": "night"}, "because"),
        ({"decision": "stop", "name": "night", "because": " "}, "because"),
        ({"decision": "stop", "because": "x"}, "name"),
        ({"decision": "trip", "name": "night", "because": "x", "arm": "new"}, "decision"),
        ({"arm": "new"}, "arm"),
        ({"because": "x"}, "because"),
        ({"decision": "stop", "name": "night", "because": "x", "create": "a"}, "create"),
    ],
)
def test_keys_that_do_not_fit_together_are_refused_before_anything_is_opened(keys, where, ask, url, tmp_path):
    with pytest.raises(InputError) as caught:
        ask(**keys)
    assert caught.value.where == f"config.experiments.{where}" and not (tmp_path / "experiments.db").exists()


def test_what_is_not_there_is_named(created, ask):
    with pytest.raises(Missing):
        ask(name="day")
    with pytest.raises(InputError, match="no such arm"):
        ask(name="night", decision="promote", arm="newer", because="x")


def test_without_a_database_it_says_which_key(tmp_path):
    config = parse(["lob_jax/main.py", "--mode=experiments"]).config
    with pytest.raises(InputError, match="config.serve.database"):
        stage.experiments(config, tmp_path)


def test_an_installation_without_the_packages_is_told(created, ask, monkeypatch):
    monkeypatch.setitem(sys.modules, "lob_jax.serving.experiments.store.store", None)
    with pytest.raises(InputError, match="not installed") as caught:
        ask()
    assert "[experiments]" in caught.value.remedy


def test_a_database_that_does_not_answer_is_told(created, ask, monkeypatch):
    def away(self):
        raise Unavailable("gone")

    monkeypatch.setattr(Store, "experiments", away)
    with pytest.raises(InputError, match="does not answer"):
        ask()


def test_a_user_without_a_name_is_a_number(monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(stage.getpass, "getuser", nobody)
    assert stage.user() == f"uid {os.getuid()}"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("salt", 5),
        ("created_s", "2026-01-01"),
        ("created_s", float("nan")),
        ("created_s", 1e20),
        ("block", 4.0),
        ("gap", 0.5),
        ("ramp", [{"after_s": 0, "share": float("nan")}]),
    ],
)
def test_values_of_other_kinds_in_a_file_are_refused_and_not_kept(ask, tmp_path, key, value):
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps({**PLAIN, key: value}))
    with pytest.raises(InputError, match=f"experiment.{key}"):
        ask(create=file)
    assert "night" not in ask()
