"""A configuration by its name, by its file, and from the folder of a run; which of them is taken, and is said."""

import json
import os
import pathlib

import pytest

from lob_jax import later_keys
from lob_jax.config import sections
from lob_jax.config_sources import RUN_FILE, Source, load_config, run_config
from lob_jax.configs import bundled, modern
from lob_jax.errors import InputError
from lob_jax.later_keys import LaterKey
from lob_jax.runs.workdir import write_config
from lob_jax.settings import defaults

OWN = """from lob_jax.configs import tiny


def get_config():
    config = tiny.get_config()
    config.seed = 7
    return config
"""


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(named: str) -> Source:
    return load_config(named, defaults())


def refused(named: str) -> InputError:
    with pytest.raises(InputError) as caught:
        load(named)
    return caught.value


@pytest.mark.parametrize("name", bundled())
def test_every_bundled_configuration_is_taken_by_name_anywhere(name, elsewhere):
    found = load(name)
    assert (found.name, found.run_file, found.notes) == (name, None, ())
    assert found.config == load(str(bundled()[name])).config


def test_a_size_follows_a_name(elsewhere):
    config = load("multi_scale:tiny").config
    assert (config.model.attention.kind, config.model.d_model) == ("multi_scale", 64)
    assert "did you mean :tiny?" in refused("multi_scale:tny").remedy
    assert "leave out :tiny" in refused("tiny:tiny").remedy


@pytest.mark.parametrize("file", ["tiny.py", "tiny"])
def test_a_name_means_the_bundled_one_and_a_path_the_file(elsewhere, file):
    (elsewhere / file).write_text(OWN)
    by_name, by_path = load("tiny"), load(f"./{file}")
    assert (by_name.config.seed, by_path.config.seed) == (0, 7)
    assert by_name.notes == (f"--config=tiny: using the bundled configuration; the file here is --config=./{file}",)
    assert by_path.notes == () and load("base").notes == ()


def test_a_bundled_file_is_no_other_one_where_it_lies(monkeypatch):
    monkeypatch.chdir(bundled()["tiny"].parent)
    assert load("tiny").notes == load("tiny.py").notes == ()


def test_configs_name_py_is_the_file_or_else_the_bundled_one(elsewhere):
    found = load("configs/multi_scale.py:tiny")
    assert found.name == "multi_scale" and found.config.model.d_model == 64
    assert found.notes == (
        "--config=configs/multi_scale.py: there is no such file here; using the bundled configuration multi_scale",
    )
    (elsewhere / "configs").mkdir()
    (elsewhere / "configs" / "tiny.py").write_text(OWN)
    assert (load("configs/tiny.py").config.seed, load("configs/tiny.py").notes) == (7, ())


@pytest.mark.parametrize(
    ("named", "remedy"),
    [
        ("tny", "did you mean --config=tiny?"),
        ("configs/multiscale.py", "did you mean --config=multi_scale?"),
        ("tiny.py", "did you mean --config=tiny?"),
        ("mine", "did you mean --config=mine.py?"),
        ("here/mine", "did you mean --config=here/mine.py?"),
        ("here/mien.py", "did you mean --config=here/mine.py?"),
        ("runs/goog", "did you mean --config=runs/goog/config.json?"),
        ("xyzzy.py", "--mode=configs lists"),
    ],
)
def test_what_was_probably_meant_is_named(elsewhere, named, remedy):
    for path in ("mine.py", "here/mine.py", "runs/goog/config.json"):
        (elsewhere / path).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / path).write_text(OWN)
    assert remedy in refused(named).remedy


def left(folder: pathlib.Path, named: str = "tiny", **changes: object) -> pathlib.Path:
    """Write what a run leaves of a configuration, with other values of some keys."""
    saved = json.loads(load(named).config.to_json())
    for key, value in changes.items():
        *sections, last = key.split("__")
        section = saved
        for name in sections:
            section = section[name]
        section[last] = value
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RUN_FILE).write_text(json.dumps(saved))
    return folder / RUN_FILE


@pytest.mark.parametrize("named", ["tiny", "multi_task:small", "tft"])
def test_a_run_gives_the_configuration_that_it_had(elsewhere, named):
    path = left(elsewhere / "runs" / "goog", named)
    found = run_config(path, defaults())
    assert found.config == load(named).config  # tuples are tuples, not lists
    assert (found.name, found.run_file, found.notes) == ("goog", path, ())
    assert load("runs/goog/config.json").config == found.config
    os.chdir(path.parent)
    assert load("config.json").name == "goog"


def test_a_value_of_a_run_can_be_changed_to_another_of_its_kind(elsewhere):
    config = run_config(left(elsewhere), defaults()).config
    config.train.max_hours, config.train.steps = 2.5, None
    assert (config.train.max_hours, config.train.steps) == (2.5, None)


def test_what_training_writes_comes_back(elsewhere):
    config = modern.get_config("tiny")
    config.data.tick, config.train.max_hours, config.model.heads.outlook_events = "0.01", 1.5, (10, 20)
    write_config(elsewhere, sections.plain(config))
    assert json.loads((elsewhere / RUN_FILE).read_text())["version"] == later_keys.version()
    found = run_config(elsewhere / RUN_FILE, defaults())
    assert found.config == config and found.notes == ()
    assert found.config.model.heads.outlook_events == (10, 20) and found.config.train.steps == 600


def test_a_run_from_before_a_key_has_its_neutral_value_and_not_its_default(elsewhere, monkeypatch):
    path = left(elsewhere)
    saved = json.loads(path.read_text())
    del saved["train"]["clip"]  # as if the key had come after the first version
    path.write_text(json.dumps(saved))
    with pytest.raises(InputError, match="another version") as caught:
        run_config(path, defaults())
    assert caught.value.expected.endswith("train.clip")
    monkeypatch.setattr(later_keys, "LATER", (LaterKey("train.clip", 9.0, "0.2.0"),))
    found = run_config(path, defaults())
    assert found.config.train.clip == 9.0
    assert found.notes == (
        "the configuration was written by lob_jax 0.1.0, without keys that came later: train.clip = 9.0 (since 0.2.0)",
    )


def test_a_run_of_a_newer_version_is_refused_for_what_it_has_more(elsewhere):
    assert run_config(left(elsewhere, version="9.1"), defaults()).notes == ()
    with pytest.raises(InputError, match=f"newer version of lob_jax, 9.1; this is {later_keys.version()}") as caught:
        run_config(left(elsewhere, version="9.1", model__newer=1), defaults())
    assert (caught.value.where, caught.value.was) == (elsewhere / RUN_FILE, "model.newer")


def test_keys_that_there_are_not_are_of_another_version(elsewhere):
    for changes in ({"train__speed": 3, "gadget": {"x": 1}}, {"train": 5}):
        with pytest.raises(InputError, match="from another version of lob_jax") as caught:
            run_config(left(elsewhere, **changes), defaults())
        assert caught.value.where == elsewhere / RUN_FILE
        assert caught.value.was.endswith("with train" if "train" in changes else "with gadget.x, train.speed")


@pytest.mark.parametrize(
    "text", ["", '{"seed": 0', "[1, 2]", "\x00", "null", "{'seed': 0}", "[" * 100_000, "{}"], ids=range(8)
)
def test_a_damaged_file_of_a_run_is_refused(elsewhere, text):
    path = left(elsewhere)
    path.write_text(text)
    with pytest.raises(InputError, match="cannot be read") as caught:
        run_config(path, defaults())
    assert caught.value.where == path
    path.write_bytes(b'{"seed": "\xff"}')
    with pytest.raises(InputError, match="cannot be read"):
        run_config(path, defaults())


@pytest.mark.parametrize(("key", "value"), [("seed", "zero"), ("forecast__horizons", ["a"]), ("model__d_model", None)])
def test_a_value_of_another_type_is_refused(elsewhere, key, value):
    with pytest.raises(InputError, match="a value of the wrong type") as caught:
        run_config(left(elsewhere, **{key: value}), defaults())
    assert caught.value.where == f"{elsewhere / RUN_FILE}, {key.replace('__', '.')}"
