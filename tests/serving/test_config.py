"""The settings of a server: what they hold, and what is refused."""

import dataclasses
import pathlib

import pytest

from lob_jax.configs import base
from lob_jax.errors import InputError
from lob_jax.serving.config import EngineConfig, Limits, is_loopback, models
from tests.serving.settings import settings


def test_every_key_of_the_section_is_a_setting():
    own = {"bundle", "host", "port", "keys_file", "access_log", "database", "operators", "drain_s", "monitor_share"}
    fields = {field.name for of in (EngineConfig, Limits) for field in dataclasses.fields(of)}
    assert {*base.get_config().serve} == own | fields - {"sessions_per_owner"} | {"sessions_per_key"}
    assert settings(sessions_per_key=3).engine.sessions_per_owner == 3
    assert settings(paths=7).limits.paths == 7


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("port", -1),
        ("port", 65_536),
        ("host", "0.0.0.0"),
        ("host", "example.com"),
        ("drain_s", -1.0),
        ("monitor_share", -0.1),
        ("monitor_share", 1.5),
        ("precision", "int5"),
        ("rows", 0),
        ("queue", -1),
        ("sessions_per_key", 0),
        ("deadline_s", 0.0),
        ("body_bytes", 0),
        ("rate_per_s", -0.5),
        ("operators", ("a b",)),
        ("bundle", ("a b",)),
        ("bundle", ("one/bundle", "here/one/bundle")),
        ("bundle", ("x~y=folder",)),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(key, value):
    with pytest.raises(InputError) as caught:
        settings(**{key: value})
    assert caught.value.where == f"config.serve.{key}"


def test_other_machines_are_served_with_keys_only():
    assert settings(host="0.0.0.0", keys_file="keys.json").host == "0.0.0.0"
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "10.0.0.1", "")] == (
        [True] * 3 + [False] * 4
    )


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:secret@host/name",
        "postgresql+psycopg://me:se/cr@et@host:5432/name",
        "postgresql://host/name?password=secret",
        "postgresql://host/name?user=me&sslpassword=secret",
    ],
)
def test_a_password_in_the_address_of_the_database_is_refused_and_not_shown(url):
    with pytest.raises(InputError, match="PGPASSWORD") as caught:
        settings(database=url)
    assert caught.value.where == "config.serve.database" and "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "sqlite:///a:b@c.db", "postgresql://me@host:5432/name", "postgresql:///name?host=/run/postgresql"]
)
def test_addresses_of_databases_without_a_password_are_taken(url):
    assert settings(database=url).database == url


def test_a_model_is_named_after_its_run():
    found = models(["runs/tiny/bundle", "other=runs/tiny/bundle", "exported/small"])
    assert found == {
        "tiny": pathlib.Path("runs/tiny/bundle"),
        "other": pathlib.Path("runs/tiny/bundle"),
        "small": pathlib.Path("exported/small"),
    }
