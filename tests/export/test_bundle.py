"""A bundle comes back as it was written, or is refused with the reason; half of one never has its name."""

import dataclasses
import errno
import json
import os
import pathlib
import shutil
import subprocess
import sys

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import lob_jax
from lob_jax import configs
from lob_jax.config.sections import model_config
from lob_jax.errors import InputError
from lob_jax.export import bundle as module
from lob_jax.export import manifest
from lob_jax.export.bundle import ALWAYS, open_bundle
from lob_jax.export.contents import RegimeEdges, Reveals
from lob_jax.export.manifest import MANIFEST, fingerprint_of, is_inside
from lob_jax.export.plain import DEEPEST, made_of, parse_object, text_of
from lob_jax.later_keys import Source
from lob_jax.models.config import ModelConfig
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.training.run.weights import load_weights
from tests.export import sample

FILES = sorted([*ALWAYS, MANIFEST, "forward.onnx", "forward.onnx.data", "step.onnx", "stablehlo/forward.bin"])
SOURCE = Source("the description of the model", of="a model", where="here", written_by=lob_jax.__version__)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return sample.write(tmp_path_factory.mktemp("bundles") / "goog")


@pytest.fixture
def folder(written, tmp_path):
    """A copy to damage."""
    return shutil.copytree(written.folder, tmp_path / "copy")


def refused(folder, **how):
    """Return the error with which a bundle is refused."""
    with pytest.raises(InputError) as caught:
        open_bundle(folder, **how)
    error = caught.value
    assert error.remedy and str(folder) in str(error.where)
    return error


def change(folder, changes, **sealed):
    """Change the manifest of a bundle, with a fingerprint that fits."""
    path = folder / MANIFEST
    content = json.loads(path.read_text())
    changes(content)
    path.write_text(text_of({**content, "fingerprint": fingerprint_of(content)}))


def reseal(folder, **changes):
    """Write the manifest again, as if the files had been written so."""
    content = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).unlink()
    manifest.seal(folder, **{"vocabulary": content["vocabulary"], "roles": content["roles"], **changes})


# --- writing and opening


def test_a_bundle_comes_back_as_it_was_written(written):
    opened, made = open_bundle(str(written.folder)), sample.contents()
    assert (opened.model, opened.vocabulary, opened.instrument) == (made.model, made.vocabulary, made.instrument)
    assert opened.settings == made.settings and opened.tokenizer.vocabulary == made.vocabulary
    np.testing.assert_array_equal(opened.contents.largest, made.largest)
    for found, expected in zip(opened.contents.reveals, made.reveals, strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)
    assert opened.graphs == {role: written.folder / f"{role}.onnx" for role in ("forward", "step")}
    assert opened.roles["stablehlo"] == {"forward": written.folder / "stablehlo" / "forward.bin"}
    assert opened.card == sample.card() and opened.version == lob_jax.__version__
    assert {name: array.tolist() for name, array in opened.weights().items()} == {
        name: array.tolist() for name, array in sample.WEIGHTS.items()
    }
    assert (opened.folder, opened.roles, opened.fingerprint) == (written.folder, written.roles, written.fingerprint)


def test_it_has_these_files_and_the_manifest_lists_all_but_itself(written):
    found = sorted(str(path.relative_to(written.folder)) for path in written.folder.rglob("*") if path.is_file())
    content = json.loads((written.folder / MANIFEST).read_text())
    assert found == FILES and sorted([*content["files"], MANIFEST]) == FILES
    assert content["bundle"] == 1 and content["vocabulary"] == sample.VOCABULARY.hash
    assert content["roles"]["graphs"] == {"forward": "forward.onnx", "step": "step.onnx"}
    assert [path.name for path in written.folder.parent.iterdir()] == ["goog"]  # and nothing temporary beside it
    assert (written.folder / "card.md").read_text().startswith("# a model\n")


def test_its_weights_are_read_by_load_weights_too(written):
    params, about = load_weights(written.folder / "weights.safetensors")
    assert params["head"]["bias"].shape == (5,) and about == {"step": 1200}


def test_two_bundles_of_the_same_files_have_the_same_fingerprint(written, tmp_path):
    again = sample.write(tmp_path / "again")
    assert again.fingerprint == written.fingerprint
    assert open_bundle(tmp_path / "again", fingerprint=written.fingerprint).fingerprint == again.fingerprint
    other = sample.write(tmp_path / "other", largest=np.full(8, 7, np.int32))
    assert other.fingerprint != written.fingerprint
    error = refused(tmp_path / "other", fingerprint=written.fingerprint)
    assert (error.expected, error.was) == (f"fingerprint {written.fingerprint}", other.fingerprint)


def test_a_bundle_without_graphs_has_none(tmp_path):
    assert sample.write(tmp_path / "bare", write=None).graphs == {} == open_bundle(tmp_path / "bare").graphs


@pytest.mark.parametrize("name", configs.bundled())
def test_the_model_of_every_bundled_configuration_comes_back(name):
    config = getattr(__import__(f"lob_jax.configs.{name}", fromlist=["get_config"]), "get_config")()
    model = model_config(config)
    found = made_of(ModelConfig, json.loads(text_of(model.to_dict())), SOURCE, inside="model.")
    assert found == model and hash(found) == hash(model) and type(found.attention.horizons) is tuple


def test_neither_the_bundle_nor_a_card_imports_jax():
    program = "import sys, lob_jax.export.bundle, lob_jax.export.card; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# --- a target that is taken, and a writer that does not come to its end


@pytest.mark.parametrize("kind", ["folder", "file", "link", "broken link"])
def test_a_folder_that_is_taken_is_refused_and_stays(tmp_path, kind):
    target = tmp_path / "taken"
    if kind == "folder":
        target.mkdir()
        (target / "notes.txt").write_text("mine")
    elif kind == "file":
        target.write_text("mine")
    else:
        target.symlink_to(tmp_path if kind == "link" else tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="the folder for the bundle is taken") as caught:
        sample.write(target)
    assert caught.value.where == target and caught.value.expected == "no such folder, or an empty one"
    assert caught.value.was == (["notes.txt"] if kind == "folder" else "a link or a file")
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_is_taken_over(tmp_path):
    (tmp_path / "empty").mkdir()
    sample.write(tmp_path / "empty")
    open_bundle(tmp_path / "empty")


def test_a_folder_that_was_taken_meanwhile_is_refused_and_stays(tmp_path):
    def slowly(folder):
        (tmp_path / "late").mkdir()
        (tmp_path / "late" / "notes.txt").write_text("mine")
        return sample.artifacts(folder)

    with pytest.raises(InputError, match="the folder for the bundle is taken"):
        sample.write(tmp_path / "late", write=slowly)
    assert [path.name for path in tmp_path.rglob("*")] == ["late", "notes.txt"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_an_interrupted_writer_leaves_nothing(tmp_path, error):
    def interrupted(folder):
        sample.artifacts(folder)
        raise error

    with pytest.raises(type(error)):
        sample.write(tmp_path / "half", write=interrupted)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_nothing_under_the_name_and_does_not_hinder_the_next(tmp_path):
    program = (
        "import os; from tests.export import sample\n"
        "def killed(folder):\n    sample.artifacts(folder)\n    os._exit(9)\n"
        f"sample.write({str(tmp_path / 'half')!r}, write=killed)"
    )
    root = pathlib.Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", program], cwd=root).returncode == 9
    (left,) = tmp_path.iterdir()
    assert left.name.startswith("half.") and left.name.endswith(".partial") and not (left / MANIFEST).exists()
    sample.write(tmp_path / "half")
    assert {path.name for path in tmp_path.iterdir()} == {"half", left.name}


@pytest.mark.parametrize("step", range(7))
def test_a_fault_at_any_step_leaves_nothing_under_the_name(tmp_path, monkeypatch, step):
    names = [(module, "write_contents"), (module, "save_file"), (module, "card_text"), (module, "open_bundle")]
    names += [(manifest, "write_whole"), (manifest, "flush"), (os, "replace")]

    def fault(*_, **__):
        raise OSError(errno.EIO, "a fault")

    monkeypatch.setattr(*names[step], fault)
    with pytest.raises(OSError, match="a fault"):
        sample.write(tmp_path / "half")
    assert list(tmp_path.iterdir()) == []


def test_everything_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    steps, real = [], (os.fsync, os.replace)

    def fsync(opened):
        steps.append(os.readlink(f"/proc/self/fd/{opened}"))
        real[0](opened)

    def replace(source, target):
        steps.append(f"-> {pathlib.Path(target).name}")
        real[1](source, target)

    if not pathlib.Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    sample.write(tmp_path / "goog")
    last = steps.index("-> goog")
    (partial,) = {step.split("/")[-2] for step in steps[:last] if step.endswith("model.json")}
    synced = {step.split(partial)[-1].lstrip("/") for step in steps[:last]}
    assert {*FILES} - {MANIFEST} <= synced and {"", "stablehlo"} <= synced
    assert any(name.startswith(MANIFEST) for name in synced)  # under the name that it has while it is written
    assert steps[last + 1 :] == [str(tmp_path)]


def test_what_could_not_be_opened_does_not_get_its_name(tmp_path):
    def outside(folder):
        (folder / "step.onnx").write_bytes(sample.graph("../weights.bin"))
        return {"graphs": {"step": "step.onnx"}}

    with pytest.raises(InputError, match="a graph names a file outside the bundle"):
        sample.write(tmp_path / "bad", write=outside)
    with pytest.raises(InputError, match="a role in the bundle has no file"):
        sample.write(tmp_path / "bad", write=lambda folder: {"graphs": {"step": "step.onnx"}})
    assert list(tmp_path.iterdir()) == []


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


# --- JSON


@pytest.mark.parametrize("name", [MANIFEST, "model.json", "vocabulary.json", "card.json"])
def test_a_key_that_occurs_twice_is_refused(folder, name):
    path = folder / name
    first = next(iter(json.loads(path.read_text())))
    path.write_text(path.read_text().replace("{", f'{{"{first}": 0, ', 1))
    if name != MANIFEST:
        reseal(folder)
    error = refused(folder)
    assert error.what == "a file of the bundle cannot be read" and error.where == path
    assert f"the key {first!r} occurs twice" in str(error.was)


@pytest.mark.parametrize("name", [MANIFEST, "model.json", "vocabulary.json", "card.json"])
@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 40 + "1" + "}" * 40, "[]", "{", "nul", '{"a": NaN}', "\xff"])
def test_json_that_is_too_deep_or_none_is_refused(folder, name, text):
    (folder / name).write_bytes(text.encode("latin-1"))
    if name != MANIFEST:
        reseal(folder)
    error = refused(folder)
    assert error.what == "a file of the bundle cannot be read" and error.where == folder / name


def test_depth_counts_what_is_outside_of_texts():
    deep = json.loads("[" * (DEEPEST - 1) + "]" * (DEEPEST - 1))
    text = json.dumps({"a": deep, "b": "[{" * 50 + '\\"' + "[" * 50})
    assert parse_object(text.encode(), where="here") == json.loads(text)
    with pytest.raises(InputError, match="cannot be read") as caught:
        parse_object(json.dumps({"a": [deep]}).encode(), where="here")
    assert (caught.value.was, caught.value.where) == (DEEPEST + 1, "here")
    parse = ('"' + '\\"' * 200_000).encode()  # of which no part may be looked at again and again
    with pytest.raises(InputError):
        parse_object(parse, where="here")


def test_json_that_is_too_large_is_refused(folder, monkeypatch):
    monkeypatch.setattr("lob_jax.export.plain.LARGEST", 100)
    error = refused(folder)
    assert error.expected == "at most 100 bytes of JSON" and error.where == folder / MANIFEST


# --- what does not fit


def edit(folder, name, changes):
    path = folder / name
    content = json.loads(path.read_text())
    changes(content)
    path.write_text(text_of(content))
    reseal(folder)


def test_another_vocabulary_is_refused(folder):
    other = ExactTokenizer.from_settings(time_digits=8).vocabulary
    other.save(folder / "vocabulary.json")
    reseal(folder)
    error = refused(folder)
    assert error.what == "the bundle is of two vocabularies" and "SHA-256 in the manifest" in error.where
    assert (error.expected, error.was) == (f"hash {other.hash}", sample.VOCABULARY.hash)
    reseal(folder, vocabulary=other.hash)
    error = refused(folder)  # now the graphs are of the other one
    assert "of forward.onnx" in error.where and error.was == sample.VOCABULARY.hash


def test_a_changed_vocabulary_is_refused(folder):
    edit(folder, "vocabulary.json", lambda content: content["specials"].update(PAD=7))
    assert refused(folder).what == "the vocabulary does not match this version's tokens"


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        (lambda content: content["model"].update(vocab_size=5_000, mask="none", latest_tokens=False), "vocab_size"),
        (lambda content: content["model"].update(book_features=8), "book_features"),
        (lambda content: content["settings"].update(book_levels=3), "book_features"),
        (lambda content: content["model"].update(regime="added"), "n_regimes"),
        (lambda content: content["model"].update(n_instruments=1) or content["settings"].update(symbols=["A"]), "n_in"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(folder, changes, where):
    plain = {"token_parts": False, "digits_rank": 0, "pointer": False}
    edit(folder, "model.json", lambda content: content["model"].update(plain) or changes(content))
    error = refused(folder)
    assert error.what == "the model of the bundle does not fit its vocabulary or its settings"
    assert where in error.where and error.was != error.expected


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        (lambda content: content["model"].update(d_model="64"), "model.d_model"),
        (lambda content: content["model"].update(causal=1), "model.causal"),
        (lambda content: content["model"].update(n_layers=2.0), "model.n_layers"),
        (lambda content: content["model"].update(of_tomorrow=1), "model"),
        (lambda content: content["model"].pop("d_ff"), "model"),
        (lambda content: content["model"]["attention"].pop("kind"), "model.attention"),
        (lambda content: content["model"]["attention"].update(horizons="all"), "model.attention.horizons"),
        (lambda content: content["model"]["heads"].update(outlook_events=[True]), "model.heads.outlook_events[0]"),
        (lambda content: content["model"].update(heads=None), "model.heads"),
        (lambda content: content.pop("instrument"), "model.json"),
        (lambda content: content["settings"].update(regimes={}), "settings.regimes"),
        (lambda content: content["settings"]["sampling"].update(top_k=None), "settings.sampling.top_k"),
    ],
)
def test_a_description_of_another_form_is_refused(folder, changes, where):
    edit(folder, "model.json", changes)
    error = refused(folder)
    assert error.what == "the description of the model does not describe a model"
    assert str(error.where).endswith(where)


def test_a_value_that_makes_no_model_is_refused(folder):
    edit(folder, "model.json", lambda content: content["model"].update(n_heads=3))
    with pytest.raises(InputError) as caught:
        open_bundle(folder)
    assert caught.value.where == "model.n_heads" and caught.value.was == 3


def test_a_key_that_came_later_has_its_neutral_value(folder, written):
    edit(folder, "model.json", lambda content: content["model"].pop("queue_state"))
    assert open_bundle(folder).model == dataclasses.replace(written.model, queue_state=False)


@pytest.mark.parametrize(
    "named",
    [{"trading_day": "yesterday"}, {"time_zone": "../../etc/passwd"}, {"time_zone": "Mars/Olympus"}, {"tick": 0}],
)
def test_an_instrument_that_is_none_is_refused(folder, named):
    edit(folder, "model.json", lambda content: content["instrument"].update(named))
    error = refused(folder)
    assert error.what == "the instrument of the bundle is none" and str(next(iter(named.values()))) in error.was


def test_thresholds_of_regimes_come_back(tmp_path):
    made = sample.contents()
    model = dataclasses.replace(made.model, regime="prefix", n_regimes=6)
    regimes = RegimeEdges((0.25, 0.5), (1.0,))
    settings = dataclasses.replace(made.settings, regimes=regimes)
    assert sample.write(tmp_path / "regimes", model=model, settings=settings).settings.regimes == regimes
    with pytest.raises(InputError, match="does not fit") as caught:
        sample.write(tmp_path / "few", model=dataclasses.replace(model, n_regimes=4), settings=settings)
    assert (caught.value.was, caught.value.expected) == (4, 6)


PAIRS, SIZES = sample.PAIRS, np.ones(8, np.int32)


@pytest.mark.parametrize(
    "changes",
    [
        {"largest": np.ones(7, np.int32)},
        {"largest": np.zeros(8, np.int32)},
        {"reveals": Reveals(PAIRS, PAIRS, np.array([4, 1], np.int32))},
        {"reveals": Reveals(PAIRS, PAIRS, np.array([3, 2], np.int32))},
        {"reveals": Reveals(PAIRS, PAIRS, np.array([3, -1], np.int32))},
        {"reveals": Reveals(PAIRS, PAIRS[:, :2], np.array([2, 1], np.int32))},
        {"reveals": Reveals(PAIRS[0], PAIRS[0], np.array([1, 1], np.int32))},
    ],
)
def test_arrays_of_another_form_are_refused(tmp_path, changes):
    with pytest.raises(InputError, match="the arrays of generation cannot be read"):
        sample.write(tmp_path / "arrays", **changes)


@pytest.mark.parametrize("name", ["generation.safetensors", "weights.safetensors"])
def test_arrays_that_are_no_safetensors_are_refused(folder, name):
    (folder / name).write_bytes(b"\x80\x04pickle" + bytes(100))
    reseal(folder)
    assert "cannot be read" in refused(folder).what and name in str(refused(folder).where)


# --- graphs


def with_graph(folder, content, name="step.onnx"):
    (folder / name).write_bytes(content)
    reseal(folder)
    return folder


@pytest.mark.parametrize("location", ["../x", "/etc/passwd", "a/../../x", "missing.bin", "a\\b", "", "manifest.json"])
@pytest.mark.parametrize("nested", [0, 2])
def test_a_graph_that_names_a_file_outside_is_refused(folder, location, nested):
    error = refused(with_graph(folder, sample.graph(location, nested=nested)))
    assert error.what == "a graph names a file outside the bundle" and error.where == folder / "step.onnx"
    assert error.was == repr(location)


def test_a_graph_names_files_from_its_own_folder(folder):
    with_graph(folder, sample.graph("forward.bin"), "stablehlo/other.onnx")
    open_bundle(folder)
    assert refused(with_graph(folder, sample.graph("step.onnx"), "stablehlo/other.onnx")).was == "'step.onnx'"


def test_a_graph_of_another_vocabulary_is_refused(folder):
    error = refused(with_graph(folder, sample.graph(vocabulary="0" * 64)))
    assert error.what == "the bundle is of two vocabularies" and "of step.onnx" in error.where
    assert error.was == "0" * 64


@pytest.mark.parametrize("content", [b"", b"\x00", b"\x0b", b"\x3a\xff\x01", b"\xff" * 11, sample.graph(nested=40)])
def test_what_is_no_graph_is_refused(folder, content):
    error = refused(with_graph(folder, content))
    assert error.what == "a graph of the bundle cannot be read" and error.where == folder / "step.onnx"
