"""Configurations that were stored, by this version and by others, become configurations again."""

import json

import pytest

from configs import base, modern
from lob_jax import later_keys
from lob_jax.config import sections
from lob_jax.errors import InputError
from lob_jax.later_keys import LaterKey
from lob_jax.stages.workdir import CONFIG, write_config


def stored(config, tmp_path):
    write_config(tmp_path, sections.plain(config))
    return json.loads((tmp_path / CONFIG).read_text())


def test_a_configuration_comes_back_from_its_file_with_the_types_of_its_values(tmp_path):
    config = modern.get_config("tiny")
    config.data.tick, config.train.max_hours, config.model.heads.outlook_events = "0.01", 1.5, (10, 20)
    content = stored(config, tmp_path)
    assert content["version"] == later_keys.version()
    found, remarks = sections.restored(content, where="config.json")
    assert found == config and remarks == []
    assert found.model.heads.outlook_events == (10, 20) and found.train.steps == 450


def test_a_configuration_from_before_a_key_has_its_neutral_value_and_not_its_default(tmp_path, monkeypatch):
    content = stored(base.get_config(), tmp_path)
    del content["version"], content["train"]["clip"]  # as if the key had come after the first version
    with pytest.raises(InputError, match="another version") as caught:
        sections.restored(content, where="config.json")
    assert caught.value.expected.endswith("train.clip")
    monkeypatch.setattr(later_keys, "LATER", (LaterKey("train.clip", 9.0, "0.2.0"),))
    found, remarks = sections.restored(content, where="config.json")
    assert found.train.clip == 9.0
    assert remarks == [
        "the configuration was written by lob_jax 0.1.0, before there was train.clip (since 0.2.0): it is taken as 9.0"
    ]


def test_a_configuration_of_a_newer_version_is_refused_for_what_it_has_more(tmp_path):
    content = stored(base.get_config(), tmp_path) | {"version": "9.1"}
    assert sections.restored(content, where="config.json").config == base.get_config()
    content["model"]["newer"] = 1
    with pytest.raises(InputError, match=f"newer version of lob_jax, 9.1; this is {later_keys.version()}") as caught:
        sections.restored(content, where="config.json")
    assert (caught.value.where, caught.value.was) == ("config.json", "model.newer")


@pytest.mark.parametrize(("key", "value"), [("d_model", "wide"), ("d_model", None), ("norm", 3)])
def test_a_stored_value_of_another_kind_is_refused_by_its_key(tmp_path, key, value):
    content = stored(base.get_config(), tmp_path)
    content["model"][key] = value
    with pytest.raises(InputError, match=f"config.model.{key}"):
        sections.restored(content, where="config.json")
