"""Programs that are saved and loaded give the model's own numbers, without its code; damaged files are refused."""

import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.export import program, stablehlo
from tests.export.small_models import logits, parameters, small, windows

ROOT = pathlib.Path(__file__).resolve().parents[2]
ALONE = """
import importlib.abc, pathlib, sys
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("flax", "optax", "onnx", "lob_jax.models", "lob_jax.export.program")):
            raise SystemExit(f"{name} is imported")
sys.meta_path.insert(0, Block())
import numpy as np
from lob_jax.export.stablehlo import load_program
folder = pathlib.Path(sys.argv[1])
run = load_program(folder / "forward.stablehlo")
np.savez(folder / "found.npz", **run(dict(np.load(folder / "given.npz"))))
"""
MODEL = small(heads={"next_tokens": 2})
KINDS = {
    "performer": small(n_layers=1, attention={"kind": "performer", "block": 4, "random_features": 8}),
    "linformer": small(n_layers=1, attention={"kind": "linformer", "block": 4, "summaries": 3}),
    "cross-asset": small(n_layers=1, attention={"cross_asset": True}),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return a folder with the forward program of a model."""
    folder = tmp_path_factory.mktemp("exported")
    made = program.forward(parameters(MODEL), MODEL, platforms=program.PLATFORMS)
    stablehlo.save_program(folder / "forward.stablehlo", made, about={"vocabulary": "abc"})
    return folder


@pytest.fixture(scope="module")
def loaded(written):
    """Return the program in that folder."""
    return stablehlo.load_program(written / "forward.stablehlo")


@pytest.fixture
def copy(written, tmp_path):
    """Return a copy of the folder, to damage."""
    return shutil.copytree(written, tmp_path / "copy")


def refusal(folder, name="forward.stablehlo"):
    with pytest.raises(InputError) as refused:
        stablehlo.load_program(folder / name)
    return refused.value


def test_a_process_without_the_models_code_computes_the_same(written):
    """At a batch and a length that nothing was exported with, after another one."""
    inputs = windows(MODEL, 3, 11)
    np.savez(written / "given.npz", **inputs)
    subprocess.run([sys.executable, "-c", ALONE, str(written)], cwd=ROOT, check=True)
    found = np.load(written / "found.npz")
    np.testing.assert_allclose(found["logits"], logits(parameters(MODEL), MODEL, inputs), atol=1e-5)
    assert found["ahead"].shape == (3, 11, 1, MODEL.vocab_size)


def test_it_says_how_it_is_called(written, loaded):
    assert str(loaded.inputs["tokens"]) == "int32 [batch, length]"
    assert loaded.inputs["book"] == stablehlo.Argument("float32", ("batch", "length", 3))
    assert loaded.outputs == ("logits", "ahead") and loaded.limits == ("length <= 16",)
    assert loaded.platforms == ("cpu", "cuda", "tpu") and loaded.about == {"vocabulary": "abc"}
    assert sorted(path.name for path in written.iterdir() if path.suffix != ".npz") == [
        "forward.json",
        "forward.stablehlo",
        "weights.safetensors",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_other_kinds_are_exported_for_one_length(name, tmp_path):
    model, path = KINDS[name], tmp_path / "forward.stablehlo"
    params = parameters(model)
    with pytest.raises(InputError, match="for any length"):
        program.forward(params, model)
    stablehlo.save_program(path, program.forward(params, model, length=10))
    loaded = stablehlo.load_program(path)
    assert loaded.inputs["tokens"].shape == ("2*pairs" if name == "cross-asset" else "batch", 10)
    inputs = windows(model, 4, 10)
    np.testing.assert_allclose(loaded(inputs)["logits"], logits(params, model, inputs), atol=1e-5)
    with pytest.raises(InputError, match="reads book"):
        loaded(windows(model, 4, 9))


def test_a_length_beyond_the_models_is_refused():
    with pytest.raises(InputError, match="longer than the model"):
        program.forward(parameters(MODEL), MODEL, length=17)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda given: given.pop("book"), "book"),
        (lambda given: given.update(tokens=given["tokens"].astype(np.int64)), "tokens"),
        (lambda given: given.update(tokens=given["tokens"][0]), "tokens"),
        (lambda given: given.update(book=given["book"][..., :2]), "book"),
    ],
)
def test_an_input_of_another_form_is_named(loaded, change, name):
    given = windows(MODEL, 2, 5)
    change(given)
    with pytest.raises(InputError) as refused:
        loaded(given)
    assert refused.value.where == name and refused.value.expected.dtype in ("int32", "float32")


@pytest.mark.parametrize("wrong", ["length", "limit"])
def test_sizes_that_do_not_fit_are_refused(loaded, wrong):
    given = windows(MODEL, 2, 17 if wrong == "limit" else 5)
    if wrong == "length":
        given["book"] = given["book"][:, :4]
    with pytest.raises(InputError, match="length <= 16"):
        loaded(given)


@pytest.mark.parametrize("name", ["forward.stablehlo", "weights.safetensors"])
def test_a_damaged_file_is_named(copy, name):
    damaged = bytearray((copy / name).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (copy / name).write_bytes(damaged)
    error = refusal(copy)
    assert error.where == copy / name and "sha256" in error.expected


def test_programs_of_one_model_share_weights_and_those_of_another_are_refused(copy):
    model = small(n_layers=1)
    params = parameters(model)
    for name in ("step", "forward"):
        made = getattr(program, name)(params, model)
        stablehlo.save_program(copy / "other" / f"{name}.stablehlo", made)
    assert len(list((copy / "other").iterdir())) == 5
    step = stablehlo.load_program(copy / "other" / "step.stablehlo")
    assert step.inputs["cache_length"].shape == ("batch",) and step.limits[-1] == "length <= slots"
    shutil.copy(copy / "other" / "weights.safetensors", copy)
    assert refusal(copy).where == copy / "weights.safetensors"


@pytest.mark.parametrize("name", ["forward.json", "forward.stablehlo", "weights.safetensors"])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    assert refusal(copy).where == copy / name


@pytest.mark.parametrize("text", ["", "[]", '{"format": "lob_jax program 1"}', '{"format": "another"}'])
def test_a_foreign_description_is_refused(copy, text):
    (copy / "forward.json").write_text(text)
    error = refusal(copy)
    assert error.where == copy / "forward.json" and "lob_jax program 1" in error.expected


def test_a_program_of_a_later_jax_says_which(copy):
    """JAX reads artifacts of earlier versions, but not of later ones; here something that is no artifact at all."""
    (copy / "forward.stablehlo").write_bytes(b"of the future")
    description = json.loads((copy / "forward.json").read_text())
    description["jax"] = "9.9.9"
    description["sha256"]["program"] = hashlib.sha256(b"of the future").hexdigest()
    (copy / "forward.json").write_text(json.dumps(description))
    error = refusal(copy)
    assert error.where == copy / "forward.stablehlo" and "install JAX 9.9.9" in error.remedy


def test_a_path_with_another_ending_is_refused(copy):
    assert refusal(copy, "forward.onnx").expected == "a name that ends in .stablehlo"


def test_the_example_of_the_documentation_runs(tmp_path, monkeypatch):
    text = (ROOT / "docs" / "export.md").read_text().partition("## StableHLO")[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    known = {"params": parameters(MODEL), "model": MODEL}
    for block in blocks:
        exec(block, known)
    assert known["found"]["logits"].shape == (2, 8, MODEL.vocab_size)
