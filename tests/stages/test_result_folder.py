"""Results lie beside one another: none is replaced, none appears by halves."""

import pytest

from lob_jax.errors import InputError
from lob_jax.stages.result_folder import check_name, partial_folder, take_name


def write(folder, name=None, text="x"):
    with partial_folder(folder) as partial:
        (partial / "path_0").mkdir()
        (partial / "path_0" / "events").write_text(text)
        return take_name(partial, name)


def test_results_are_numbered_and_named_beside_one_another(tmp_path):
    folder = tmp_path / "run" / "generated"
    written = [write(folder, text="1"), write(folder, "wide", "2"), write(folder, text="3")]
    assert [path.name for path in written] == ["001", "wide", "002"]
    assert [(path / "path_0" / "events").read_text() for path in written] == ["1", "2", "3"]
    (folder / "041").mkdir()
    (folder / "042").touch()
    (folder / "path_0").mkdir()  # of an earlier version
    assert write(folder).name == "043"
    assert sorted(path.name for path in folder.iterdir()) == ["001", "002", "041", "042", "043", "path_0", "wide"]


def test_a_name_that_is_taken_is_refused_and_what_it_names_is_left_alone(tmp_path):
    write(tmp_path, "mine", "first")
    with pytest.raises(InputError, match="there already is a result with this name"):
        check_name("mine", tmp_path)
    with pytest.raises(InputError, match="there already is a result with this name"):
        write(tmp_path, "mine", "second")
    assert (tmp_path / "mine" / "path_0" / "events").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/tmp/x", ".hidden", "a\0b", "a b", "x" * 200, "-x", "ü", "a."])
def test_a_name_that_no_result_can_have_is_refused(name, tmp_path):
    with pytest.raises(InputError, match="a result cannot have this name"):
        check_name(name, tmp_path)


def test_a_number_that_another_call_takes_in_the_meantime_is_passed_over(tmp_path, monkeypatch):
    with partial_folder(tmp_path) as partial:
        (partial / "mine").touch()
        (tmp_path / "001").mkdir()
        (tmp_path / "001" / "theirs").touch()
        monkeypatch.setattr(type(tmp_path), "iterdir", lambda _: iter(()))  # it was not there a moment ago
        taken = take_name(partial, None)
    assert taken.name == "002" and (taken / "mine").exists() and (tmp_path / "001" / "theirs").exists()


def test_a_result_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), partial_folder(tmp_path) as partial:
        (partial / "path_0").mkdir()
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
