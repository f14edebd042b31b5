"""SavedModels are served by TensorFlow alone with the model's own numbers; ONNX by way of TensorFlow is the same graph.

Most of these tests need TensorFlow, the extra `export-tf`.
"""

import pathlib
import subprocess
import sys
import types

import numpy as np
import onnxruntime
import pytest

from lob_jax.errors import InputError
from lob_jax.export import by_tensorflow, graphs, program, saved_model
from tests.export.small_models import logits, parameters, small, windows

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIZES = {"batch": 2, "length": 12, "pairs": 1}
ALONE = """
import importlib.abc, sys
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jax", "jaxlib", "flax", "lob_jax"):
            raise ModuleNotFoundError(f"{name} is blocked", name=name)  # keras asks for it, and does without
sys.meta_path.insert(0, Block())
import numpy as np, tensorflow as tf
folder, given, found = sys.argv[1:]
run = tf.saved_model.load(folder).signatures["serving_default"]
np.savez(found, **run(**{name: tf.constant(array) for name, array in np.load(given).items()}))
"""
MODEL = small(heads={"next_tokens": 2, "outlook_events": (5,)})
KINDS = {
    "full": MODEL,
    "multi-scale": small(n_layers=1, attention={"kind": "multi_scale", "horizons": ("2 events", "all")}),
    "performer": small(n_layers=1, attention={"kind": "performer", "block": 4, "random_features": 8}),
    "linformer": small(n_layers=1, attention={"kind": "linformer", "block": 4, "summaries": 3}),
    "cross-asset": small(n_layers=1, attention={"cross_asset": True}),
}


@pytest.fixture
def tensorflow():
    """Return TensorFlow, or skip the test."""
    return pytest.importorskip("tensorflow", reason="needs TensorFlow, the extra export-tf")


def made(model):
    """Return the forward program of a model, of one length if it has to be."""
    length = None if program.any_length(model) else SIZES["length"]
    return program.forward(parameters(model), model, platforms=program.PLATFORMS, length=length)


def served(folder, inputs, tmp_path):
    """Return what a process with TensorFlow alone computes."""
    np.savez(tmp_path / "given.npz", **inputs)
    arguments = (str(folder), str(tmp_path / "given.npz"), str(tmp_path / "found.npz"))
    subprocess.run([sys.executable, "-c", ALONE, *arguments], cwd=tmp_path, check=True)
    return np.load(tmp_path / "found.npz")


def run_onnx(graph, inputs):
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    read = {each.name for each in session.get_inputs()}
    found = session.run(None, {name: array for name, array in inputs.items() if name in read})
    return dict(zip((each.name for each in session.get_outputs()), found, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_tensorflow_alone_serves_any_batch_and_length(tensorflow, name, tmp_path):
    model = KINDS[name]
    found = made(model)
    shapes = saved_model.save_saved_model(tmp_path / "lob" / "1", found, sizes=SIZES)
    assert shapes == found.inputs
    inputs = windows(model, 4, 9 if program.any_length(model) else SIZES["length"])
    results = served(tmp_path / "lob" / "1", inputs, tmp_path)
    assert set(results) == set(found.outputs)
    np.testing.assert_allclose(results["logits"], logits(parameters(model), model, inputs), atol=1e-5)


@pytest.mark.slow
def test_sizes_can_be_fixed(tensorflow, tmp_path):
    shapes = saved_model.save_saved_model(tmp_path / "lob", made(MODEL), sizes=SIZES, fixed=True)
    assert shapes["tokens"] == (2, 12) and shapes["book"] == (2, 12, 3)
    inputs = windows(MODEL, 2, 12)
    results = served(tmp_path / "lob", inputs, tmp_path)
    np.testing.assert_allclose(results["logits"], logits(parameters(MODEL), MODEL, inputs), atol=1e-5)


@pytest.mark.slow
def test_a_length_beyond_the_models_is_refused_as_such(tensorflow, tmp_path):
    with pytest.raises(InputError, match="longer than the model"):
        saved_model.save_saved_model(tmp_path / "lob", made(MODEL), sizes={**SIZES, "length": 17}, fixed=True)
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_sizes_are_fixed_where_tensorflow_refuses_free_ones(tensorflow, tmp_path, monkeypatch):
    convert = saved_model.converted

    def refuse(found, sizes=None):
        if sizes is None:
            raise ValueError("of a later version")
        return convert(found, sizes)

    monkeypatch.setattr(saved_model, "converted", refuse)
    assert saved_model.save_saved_model(tmp_path / "lob", made(MODEL), sizes=SIZES)["tokens"] == (2, 12)
    monkeypatch.setattr(saved_model, "converted", lambda found, sizes=None: refuse(found))
    with pytest.raises(InputError, match="of a later version"):
        saved_model.save_saved_model(tmp_path / "lob", made(MODEL), sizes=SIZES)
    assert [path.name for path in tmp_path.iterdir()] == ["lob"] and (tmp_path / "lob" / saved_model.MARK).exists()


@pytest.mark.slow
def test_weights_are_variables_by_name(tensorflow, tmp_path):
    found = made(MODEL)
    module = saved_model.converted(found)
    assert set(module.weights) == set(found.weights)
    inputs = {name: tensorflow.constant(array) for name, array in windows(MODEL, 2, 5).items()}
    before = module.signature(**inputs)["logits"]
    for variable in module.weights.values():
        variable.assign(variable * 2)
    assert not np.allclose(before, module.signature(**inputs)["logits"])


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [None, {"batch": 3, "length": 7}])
@pytest.mark.parametrize("which", ["forward", "step"])
def test_onnx_by_way_of_tensorflow_is_the_same(tensorflow, which, sizes):
    found = getattr(program, which)(parameters(MODEL), MODEL, platforms=program.PLATFORMS)
    direct = graphs.forward_graph if which == "forward" else graphs.step_graph
    if sizes:
        sizes = {**sizes, "slots": 12}
    one, other = direct(parameters(MODEL), MODEL), by_tensorflow.graph_of_converted(found, sizes=sizes)
    inputs = {**windows(MODEL, 3, 7)}
    if which == "step":
        random = np.random.default_rng(0)
        shape = (3, MODEL.n_heads, 12, MODEL.head_width)
        slots = {name: random.normal(size=shape).astype(np.float32) for name in found.inputs if "cache_" in name}
        inputs |= slots | {"cache_length": np.full(3, 4, np.int32)}
        inputs["cache_position"] = np.tile(np.arange(12, dtype=np.int32), (3, 1))
    expected, results = run_onnx(one, inputs), run_onnx(other, inputs)
    assert set(results) == set(expected) == set(found.outputs)
    for name, array in expected.items():
        np.testing.assert_allclose(results[name], array, atol=1e-6 if sizes else 0)
    if sizes is None:
        assert [node.op_type for node in one.graph.node] == [node.op_type for node in other.graph.node]


@pytest.mark.slow
def test_a_function_of_tensorflow_without_jax_is_refused(tensorflow):
    plain = tensorflow.function(lambda x: x + 1).get_concrete_function(tensorflow.TensorSpec([2]))
    with pytest.raises(InputError, match="not one function of JAX"):
        by_tensorflow.module_of(plain, {})


def without_import(monkeypatch):
    """Let every import by name fail."""

    def fail(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(saved_model, "importlib", types.SimpleNamespace(import_module=fail))


def test_without_tensorflow_the_extra_is_named(monkeypatch, tmp_path):
    without_import(monkeypatch)
    with pytest.raises(InputError) as refused:
        saved_model.save_saved_model(tmp_path / "lob", None, sizes={})
    assert refused.value.where == "tensorflow" and "lob_jax[export-tf]" in refused.value.remedy


def test_importing_it_imports_neither_tensorflow_nor_onnx():
    code = "import sys, lob_jax.export.saved_model; print({'tensorflow', 'onnx'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_nothing_else_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(saved_model, "tensorflow", lambda: (None, None))
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="would replace something else"):
        saved_model.save_saved_model(tmp_path, made(MODEL), sizes=SIZES)


def test_a_missing_size_is_named():
    found = types.SimpleNamespace(inputs={"tokens": ("2*pairs", "length")})
    assert saved_model.fixed_shapes(found, {"pairs": 3, "length": 5}) == {"tokens": (6, 5)}
    with pytest.raises(InputError, match="no length was given"):
        saved_model.fixed_shapes(found, {"pairs": 3})
