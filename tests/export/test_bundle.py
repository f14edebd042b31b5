"""A bundle comes back as it was written; half of one never has its name."""

import errno
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import safetensors

import lob_jax
from lob_jax import configs
from lob_jax.config.sections import model_config
from lob_jax.config_sources import load_config
from lob_jax.errors import InputError
from lob_jax.export import bundle as module
from lob_jax.export import manifest
from lob_jax.export.bundle import open_bundle
from lob_jax.export.manifest import MANIFEST
from lob_jax.export.plain import made_of, text_of
from lob_jax.later_keys import Source
from lob_jax.models.config import ModelConfig
from lob_jax.settings import defaults
from lob_jax.training.run.weights import load_weights
from tests.export import sample
from tests.export.sample import FILES, refused

SOURCE = Source("the description of the model", of="a model", where="here", written_by=lob_jax.__version__)


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


def test_whoever_may_read_one_file_may_read_all(written):
    modes = {path.stat().st_mode for path in written.folder.rglob("*") if path.is_file()}
    assert len(modes) == 1 and modes == {(written.folder / "card.json").stat().st_mode}


def test_its_weights_are_read_by_load_weights_too(written):
    params, about = load_weights(written.folder / "weights.safetensors")
    assert params["head"]["bias"].shape == (5,) and about == {"step": 1200}
    with safetensors.safe_open(written.folder / "weights.safetensors", framework="numpy") as stored:
        assert list(stored.metadata()) == ["lob_jax"]  # several keys would be in another order in every file


def test_two_bundles_of_the_same_files_have_the_same_fingerprint(written, tmp_path):
    again = sample.write(tmp_path / "again")
    more = {sample.write(tmp_path / f"{place}").fingerprint for place in range(8)}
    assert {again.fingerprint, *more} == {written.fingerprint}
    assert open_bundle(tmp_path / "again", fingerprint=written.fingerprint).fingerprint == again.fingerprint
    other = sample.write(tmp_path / "other", largest=np.full(8, 7, np.int32))
    assert other.fingerprint != written.fingerprint
    error = refused(tmp_path / "other", fingerprint=written.fingerprint)
    assert (error.expected, error.was) == (f"fingerprint {written.fingerprint}", other.fingerprint)


def test_a_bundle_without_graphs_has_none(tmp_path):
    assert sample.write(tmp_path / "bare", write=None).graphs == {} == open_bundle(tmp_path / "bare").graphs


@pytest.mark.parametrize("name", configs.bundled())
def test_the_model_of_every_bundled_configuration_comes_back(name):
    model = model_config(load_config(name, defaults()).config)
    found = made_of(ModelConfig, json.loads(text_of(model.to_dict())), SOURCE, inside="model.")
    assert found == model and hash(found) == hash(model) and type(found.attention.horizons) is tuple


def test_opening_a_bundle_imports_no_jax(written):
    program = "import sys; from lob_jax.export.bundle import open_bundle; open_bundle(sys.argv[1])"
    program += "; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program, written.folder], capture_output=True, text=True, check=True)
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
