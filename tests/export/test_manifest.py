"""What is in the folder of a bundle is exactly what its manifest says: regular files, below the folder, unchanged."""

import json
import os
import pathlib
import shutil

import hypothesis
import hypothesis.strategies as st
import pytest

from lob_jax.errors import InputError
from lob_jax.export import manifest
from lob_jax.export.bundle import ALWAYS, open_bundle
from lob_jax.export.manifest import MANIFEST, fingerprint_of, is_inside
from lob_jax.export.plain import text_of
from tests.export.sample import FILES, refused, reseal


def change(folder, changes):
    """Change the manifest of a bundle, with a fingerprint that fits."""
    path = folder / MANIFEST
    content = json.loads(path.read_text())
    changes(content)
    path.write_text(text_of({**content, "fingerprint": fingerprint_of(content)}))


# --- damaged files


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_refused_and_its_file_named(folder, name):
    path = folder / name
    content = path.read_bytes()
    for place in (0, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        error = refused(folder)
        assert name in str(error.where) or name == MANIFEST
        if name != MANIFEST:
            assert error.what == "a file of the bundle has another content" and error.where == path
            assert error.expected.startswith("SHA-256 ") and error.was != error.expected.removeprefix("SHA-256 ")
    path.write_bytes(content)
    open_bundle(folder)


@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=60)
def test_a_manifest_with_any_other_byte_is_refused(written, data):
    path = written.folder / MANIFEST
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]))
    try:
        path.write_bytes(content[:place] + bytes([byte]) + content[place + 1 :])
        refused(written.folder)
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_refused(folder, name):
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    error = refused(folder)
    if name == MANIFEST:
        assert error.what == "the manifest of the bundle is not as it was written"  # without its last line's end
    else:
        assert error.what == "a file of the bundle has another size" and error.where == path
        assert (error.expected, error.was) == (f"{len(content):,} bytes", f"{len(content) - 1:,} bytes")
    path.write_bytes(b"")
    refused(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(folder, name):
    (folder / name).unlink()
    if name == "stablehlo/forward.bin":
        (folder / name).parent.rmdir()
    error = refused(folder)
    if name == MANIFEST:
        assert error.what == "this is not a bundle" and error.was == [one for one in FILES if one != MANIFEST][:5]
    else:
        assert error.what == "the files of the bundle are not those of its manifest"
        assert error.was == [f"no {name}"]


@pytest.mark.parametrize("name", ["extra.bin", "stablehlo/extra.bin", ".hidden", "more/a.py", "model.json~"])
def test_an_extra_file_is_refused(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("more")
    error = refused(folder)
    assert error.what == "the files of the bundle are not those of its manifest" and error.where == folder
    assert error.was == [f"{name}, which is not listed"]


@pytest.mark.parametrize("name", ALWAYS)
def test_a_bundle_without_a_file_that_all_have_is_refused(folder, name):
    (folder / name).unlink()
    reseal(folder)
    error = refused(folder)
    assert error.what == "the bundle is not complete" and error.was == f"none of {name}"


@pytest.mark.parametrize("kind", ["nothing", "file", "empty folder"])
def test_what_is_no_bundle_is_refused(tmp_path, kind):
    if kind == "file":
        (tmp_path / "bundle").write_text("{}")
    elif kind == "empty folder":
        (tmp_path / "bundle").mkdir()
    error = refused(tmp_path / "bundle")
    assert error.what == ("this is not a bundle" if kind == "empty folder" else "there is no bundle")
    assert "--mode=export" in error.remedy


# --- links and what is no file


@pytest.mark.parametrize("name", FILES)
def test_a_link_in_the_place_of_a_file_is_refused_even_to_the_same_content(folder, tmp_path, name):
    shutil.move(folder / name, tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    error = refused(folder)
    assert error.what == "there is more than files in the bundle" and error.where == folder / name
    assert (error.expected, error.was) == ("a regular file", "a symbolic link")


@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_a_link_to_a_folder_and_a_broken_one_are_refused(folder, tmp_path, target):
    shutil.move(folder / "stablehlo", tmp_path / "elsewhere")
    (folder / "stablehlo").symlink_to(tmp_path / target)
    assert refused(folder).was == "a symbolic link"


def test_the_folder_itself_may_not_be_a_link(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    error = refused(tmp_path / "link")
    assert (error.what, error.expected, error.was) == ("there is no bundle", "a folder, by its own path", "a link")


def test_a_pipe_and_an_empty_folder_are_refused(folder):
    os.mkfifo(folder / "pipe")
    assert refused(folder).was == "neither a file nor a folder"
    (folder / "pipe").unlink()
    (folder / "void").mkdir()
    assert refused(folder).what == "there is an empty folder in the bundle"


def test_a_link_that_takes_the_place_of_a_file_after_the_folder_was_listed_is_not_followed(folder, tmp_path):
    shutil.move(folder / "model.json", tmp_path / "elsewhere")
    (folder / "model.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="cannot be read") as caught:
        manifest._listed(folder / "model.json")
    assert caught.value.where == folder / "model.json" and caught.value.expected == "a regular file"


# --- the manifest


OUTSIDE = ["../x", "/etc/passwd", "a/../../x", "a/..", "./model.json", "a//b", "", "..", "C:\\x", "a\\b", "a/", "~/x"]
OUTSIDE += ["a\0b", "-rf", ".hidden", "a/.hidden", "é.json", "a b", "file:///etc/passwd", "model.json\n"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_file_outside_the_folder_is_refused(folder, name):
    change(folder, lambda content: content["files"].update({name: content["files"]["model.json"]}))
    error = refused(folder)
    assert error.what == "a path leaves the folder of the bundle" and error.was == repr(name)
    assert str(error.where).endswith("files") and "without .." in error.expected


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", None, 3])
def test_a_role_outside_the_folder_is_refused(folder, name):
    change(folder, lambda content: content["roles"]["graphs"].update(step=name))
    error = refused(folder)
    assert error.what == "a path leaves the folder of the bundle" and error.was == repr(name)
    assert str(error.where).endswith("roles.graphs.step")


@hypothesis.given(st.text(st.sampled_from("ab./\\-~: \0"), max_size=8) | st.text(max_size=8))
def test_a_path_that_is_inside_stays_there(name):
    if is_inside(name):
        path = pathlib.PurePosixPath(name)
        assert str(path) == name and not path.is_absolute() and ".." not in path.parts
        assert not pathlib.PureWindowsPath(name).drive and "\\" not in name
        assert os.path.normpath(f"/folder/{name}") == f"/folder/{name}"


def test_the_manifest_itself_is_not_listed(folder):
    change(folder, lambda content: content["files"].update({MANIFEST: content["files"]["model.json"]}))
    assert refused(folder).was == repr(MANIFEST)


@pytest.mark.parametrize("number", [0, 2, "1", 1.0, True, None, [1]])
def test_an_unknown_format_is_refused_before_anything_else_of_it_is_read(folder, number):
    (folder / MANIFEST).write_text(json.dumps({"bundle": number, "of tomorrow": {}}))
    error = refused(folder)
    assert error.what == "the bundle is of another format" and error.was == number
    assert error.expected == "bundle = 1" and "version" in error.remedy
    (folder / MANIFEST).write_text("{}")
    assert refused(folder).was == "no such key"


@pytest.mark.parametrize(
    "changes",
    [
        lambda content: content.pop("files"),
        lambda content: content.pop("roles"),
        lambda content: content.pop("version"),
        lambda content: content.update(more=1),
        lambda content: content.update(vocabulary=3),
        lambda content: content.update(files=[]),
        lambda content: content.update(roles={"graphs": ["step.onnx"]}),
        lambda content: content["files"].update({"model.json": None}),
        lambda content: content["files"]["model.json"].update(size=-1),
        lambda content: content["files"]["model.json"].update(size=True),
        lambda content: content["files"]["model.json"].update(size="12"),
        lambda content: content["files"]["model.json"].update(sha256="AB" * 32),
        lambda content: content["files"]["model.json"].update(mtime=3),
        lambda content: content["files"]["model.json"].pop("size"),
    ],
)
def test_a_manifest_of_another_form_is_refused(folder, changes):
    change(folder, changes)
    error = refused(folder)
    assert error.what in ("the manifest does not describe a bundle", "a file of the bundle cannot be read")
    assert str(folder / MANIFEST) in str(error.where)


def test_exchanged_roles_and_another_fingerprint_are_refused(folder):
    path = folder / MANIFEST
    content = json.loads(path.read_text())
    content["roles"]["graphs"] = {"forward": "step.onnx", "step": "forward.onnx"}
    path.write_text(text_of(content))
    error = refused(folder)
    assert error.what == "the manifest of the bundle is not as it was written"
    assert error.was == content["fingerprint"] and error.expected == f"fingerprint {fingerprint_of(content)}"
