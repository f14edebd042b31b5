"""Keys: what is kept of them, who is let in, and the command that writes the file."""

import datetime
import json
import stat
import subprocess
import sys

import pytest

from lob_jax.errors import InputError
from lob_jax.serving.http import keys
from lob_jax.serving.http.keys import KeysFile, OneKey, add, main, read_keys, revoke


@pytest.fixture
def file(tmp_path):
    return tmp_path / "keys.json"


def test_a_file_holds_no_keys_and_is_its_owners(file):
    key = add(file, "alice")
    text = file.read_text()
    assert key.startswith("lob_") and len(key) >= 47 and key not in text and key[4:] not in text
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [entry.name for entry in read_keys(file)] == ["alice"]
    assert [*file.parent.iterdir()] == [file]


def test_keys_have_owners_and_nothing_else_has(file):
    alice, bob = add(file, "alice"), add(file, "bob")
    found = KeysFile(file)
    assert (found.owner(alice), found.owner(bob)) == ("alice", "bob")
    for key in ("", "x", alice[:-1], alice + "x", bob.lower(), "é", alice + "x" * 1000):
        assert found.owner(key) is None


def test_the_same_key_has_another_hash_with_another_salt():
    assert keys.hash_of("a", "00") != keys.hash_of("a", "01")


def test_a_revoked_key_is_refused_without_a_restart(file):
    alice, bob = add(file, "alice"), add(file, "bob")
    found = KeysFile(file, look_s=0.0)
    assert found.owner(alice) == "alice"
    revoke(file, "alice")
    assert (found.owner(alice), found.owner(bob)) == (None, "bob")
    carol = add(file, "carol")
    assert found.owner(carol) == "carol"


def test_the_file_is_not_looked_at_for_every_request(file):
    alice = add(file, "alice")
    found = KeysFile(file, look_s=3600.0)
    revoke(file, "alice")
    assert found.owner(alice) == "alice"


def test_a_file_that_is_gone_or_damaged_lets_nobody_in_until_it_is_back(file):
    alice = add(file, "alice")
    text, found = file.read_text(), KeysFile(file, look_s=0.0)
    file.write_text("[")
    assert found.owner(alice) is None
    file.unlink()
    assert found.owner(alice) is None
    file.write_text(text)
    assert found.owner(alice) == "alice"


@pytest.mark.parametrize("changes", [{"hash": 5}, {"hash": "é" * 64}, {"salt": None}, {"name": 5}, {"expires": "x"}])
def test_entries_that_are_none_let_nobody_in(file, changes):
    alice = add(file, "alice")
    found = KeysFile(file, look_s=0.0)
    file.write_text(json.dumps([json.loads(file.read_text())[0] | changes]))
    assert found.owner(alice) is None
    file.write_text("[" * 100_000)
    assert found.owner(alice) is None


def test_a_key_that_is_revoked_through_a_link_is_refused(file, tmp_path):
    alice, link = add(file, "alice"), tmp_path / "link"
    found = KeysFile(file, look_s=0.0)
    link.symlink_to(file)
    revoke(link, "alice")
    assert link.is_symlink() and found.owner(alice) is None


def test_a_key_expires(file):
    alice, bob = add(file, "alice", days=1), add(file, "bob", days=-1)
    found = KeysFile(file)
    assert (found.owner(alice), found.owner(bob)) == ("alice", None)
    until = datetime.datetime.fromisoformat(read_keys(file)[0].expires)
    assert abs(until - datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)) < datetime.timedelta(minutes=5)


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "a\n", "é", "a" * 65])
def test_names_are_simple(file, name):
    with pytest.raises(InputError, match="name of the key"):
        add(file, name)
    assert not file.exists()


def test_a_name_is_never_given_twice(file):
    add(file, "alice")
    revoke(file, "alice")
    with pytest.raises(InputError, match="name of the key"):
        add(file, "alice")


@pytest.mark.parametrize(
    "text", ["", "{}x", '[{"name": "a"}]', "[1]", '[{"name":"a","salt":"x","hash":"","created":""}]']
)
def test_what_is_no_file_of_keys_is_refused(file, text):
    file.write_text(text)
    with pytest.raises(InputError, match="file of keys"):
        read_keys(file)


def test_a_key_for_one_process():
    one, other = OneKey(), OneKey()
    assert one.owner(one.key) == "local" and one.owner(other.key) is None and one.owner("é") is None


def test_the_command_adds_lists_and_revokes(file, capsys):
    command = [sys.executable, "-m", "lob_jax.serving.http.keys", "add", "--file", str(file), "alice"]
    added = subprocess.run(command, capture_output=True, text=True, check=True)
    assert KeysFile(file).owner(added.stdout.strip()) == "alice" and added.stderr == ""
    assert main(["add", "bob", "--file", str(file), "--days", "2"]) == 0
    assert main(["revoke", "alice", "--file", str(file)]) == 0
    capsys.readouterr()
    assert main(["list", "--file", str(file)]) == 0
    alice, bob = capsys.readouterr().out.splitlines()
    assert alice.startswith("alice") and "revoked" in alice and "expires" in bob
    assert json.loads(file.read_text())[0]["revoked"]
    assert main(["revoke", "carol", "--file", str(file)]) == 2
    assert "alice, bob" in capsys.readouterr().err
