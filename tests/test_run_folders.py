"""A command line that names the folder of a run alone has the configuration of that run."""

import pathlib

import pytest

from lob_jax.command_line import Command, parse
from lob_jax.errors import InputError

PROGRAM = "lob_jax/main.py"


def refused(*arguments: str) -> InputError:
    with pytest.raises(InputError) as caught:
        parse([PROGRAM, *arguments])
    return caught.value


def tiny(*arguments: str) -> Command:
    return parse([PROGRAM, "--config=tiny", *arguments])


def test_a_run_is_enough_by_itself(tmp_path):
    """What is given beside its folder is taken in place of its own, and said."""
    (tmp_path / "config.json").write_text(tiny("--config.seed=5", "--config.train.steps=7").config.to_json())
    run = f"--workdir={tmp_path}"
    found = parse([PROGRAM, run, "--mode=generate"])
    assert (found.config.seed, found.config.train.steps, found.workdir, found.mode) == (5, 7, tmp_path, "generate")
    assert found.config == parse([PROGRAM, run]).config and found.config.is_locked
    assert found.notes == (f"configuration: {tmp_path / 'config.json'}",)
    found = parse([PROGRAM, run, "--config.seed=6", "--config.train.steps=7", "--config.model.heads.outlook_events=10"])
    assert (found.config.seed, found.config.model.heads.outlook_events) == (6, (10,))
    told = "changed here: model.heads.outlook_events () -> (10,), seed 5 -> 6"
    assert found.notes == (f"configuration: {tmp_path / 'config.json'}; {told}",)
    found = parse([PROGRAM, run, "--config=tiny"])
    assert (found.config.seed, found.notes) == (0, ())
    found = parse([PROGRAM, f"--config={tmp_path / 'config.json'}", "--workdir=again"])
    assert (found.config.seed, found.workdir) == (5, pathlib.Path("again"))


def test_a_run_whose_data_is_gone_has_its_records(tmp_path):
    (tmp_path / "day.csv").touch()
    given = ("--config.data.feed=lobster", f"--config.data.path={tmp_path / 'day.csv'}")
    (tmp_path / "config.json").write_text(tiny(*given).config.to_json())

    def data(*arguments):
        found = parse([PROGRAM, f"--workdir={tmp_path}", *arguments])
        return (found.config.data.feed, found.config.data.path, found.notes[1:])

    kept = ("lobster", str(tmp_path / "day.csv"), ())
    assert data("--mode=generate") == kept
    (tmp_path / "day.csv").unlink()
    told = f"the data at {tmp_path / 'day.csv'} no longer exist: using the run's records unchecked"
    assert [data(f"--mode={mode}") for mode in ("evaluate", "audit", "generate")] == [("auto", "", (told,))] * 3
    assert data("--mode=train") == data("--mode=show_config") == kept
    assert data("--mode=generate", "--config.data.path=x") == ("lobster", "x", ())
    own = tmp_path / "mine.py"
    own.write_text(f"""from lob_jax.configs import tiny


def get_config():
    config = tiny.get_config()
    config.data.feed, config.data.path = "lobster", {str(tmp_path / "day.csv")!r}
    return config
""")
    assert data("--mode=generate", f"--config={own}") == kept  # no run's configuration: its data is asked for


def test_a_folder_without_a_configuration_is_no_run(tmp_path):
    error = refused(f"--workdir={tmp_path}", "--mode=generate")
    assert (error.where, f"{tmp_path / 'config.json'}, which training writes, does not exist" in error.was) == (
        "--config",
        True,
    )
    assert "--config=tiny" in refused().remedy and "did you mean --mode?" in refused("--moed=configs").remedy
