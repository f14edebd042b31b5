"""Programs as TensorFlow SavedModels.

`jax2tf` puts the StableHLO of a function into one operation of TensorFlow, XlaCallModule, which TensorFlow compiles by
itself: a SavedModel is loaded and served without JAX. TensorFlow is only imported when a function of this module needs
it.
"""

import importlib
import math
import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np

from lob_jax.errors import InputError
from lob_jax.export.program import Program
from lob_jax.training.step.paths import nested

SIGNATURE = "serving_default"  # what TensorFlow Serving calls
MARK = "saved_model.pb"  # every SavedModel has this file


def tensorflow() -> tuple[Any, Any]:
    """Return the modules `tensorflow` and `jax2tf`.

    Raises:
      InputError: one of them is not installed.
    """
    try:
        return importlib.import_module("tensorflow"), importlib.import_module("jax.experimental.jax2tf")
    except ImportError as error:
        raise InputError(
            "a SavedModel is written with TensorFlow, which is not installed",
            where=error.name or "tensorflow",
            expected="tensorflow, and a version of JAX that has jax.experimental.jax2tf",
            was=error,
            remedy='install the extra: pip install "lob_jax[export-tf]"',
        ) from error


def converted(program: Program, sizes: Mapping[str, int] | None = None) -> Any:
    """Return a program as a `tf.Module`: its weights are variables, `signature` is its function of named inputs.

    Args:
      program: the program.
      sizes: values of the sizes that the caller could choose, such as {"batch": 1, "length": 256}; None leaves the
        choice to the caller.

    Raises:
      InputError: TensorFlow is not installed, or a size is missing.
    """
    tf, jax2tf = tensorflow()
    shapes = program.inputs if sizes is None else fixed_shapes(program, sizes)
    module = tf.Module()
    module.weights = {name: tf.Variable(array, name=name, trainable=False) for name, array in program.weights.items()}
    convert = jax2tf.convert(
        program.function,
        polymorphic_shapes=[None, {name: f"({', '.join(map(str, shape))})" for name, shape in shapes.items()}],
        polymorphic_constraints=program.limits if sizes is None else (),
        native_serialization_platforms=program.exported.platforms,
        with_gradient=False,
    )

    def serve(**inputs: Any) -> dict[str, Any]:
        return dict(zip(program.outputs, convert(nested(module.weights), inputs), strict=True))

    module.serve = tf.function(serve, autograph=False)
    module.signature = module.serve.get_concrete_function(
        **{
            name: tf.TensorSpec([size if isinstance(size, int) else None for size in shape], kind.dtype, name=name)
            for (name, shape), kind in zip(shapes.items(), program.kinds, strict=True)
        }
    )
    return module


def fixed_shapes(program: Program, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a program's inputs for some sizes.

    Raises:
      InputError: a size is missing.
    """
    named = {size for shape in program.inputs.values() for size in shape if isinstance(size, str)}
    needed = sorted({name for size in named for name in size.split("*") if not name.isdigit()})
    if missing := [name for name in needed if name not in sizes]:
        raise InputError(
            f"no {missing[0]} was given",
            where=f"sizes[{missing[0]!r}]",
            expected=f"a number for each of {', '.join(needed)}",
            was=dict(sizes),
            remedy="give the sizes that the program is to be called with",
        )

    def number(size: int | str) -> int:
        factors = str(size).split("*")  # "2*pairs"
        return math.prod(int(factor) if factor.isdigit() else sizes[factor] for factor in factors)

    return {name: tuple(number(size) for size in shape) for name, shape in program.inputs.items()}


def save_saved_model(
    folder: pathlib.Path, program: Program, *, sizes: Mapping[str, int], fixed: bool = False
) -> dict[str, tuple[int | str, ...]]:
    """Write a program as a SavedModel, try it, and return the shapes of its inputs: with sizes that have names, or not.

    Callers choose the sizes where TensorFlow loads and runs such a program, which depends on the versions of JAX and
    TensorFlow; otherwise, the sizes are those that are given.

    Args:
      folder: where it is written; TensorFlow Serving looks for NAME/1, NAME/2 ... A SavedModel there is replaced.
      program: the program.
      sizes: values of the sizes that the caller may choose, such as {"batch": 1, "length": 256}.
      fixed: whether the sizes are these, in any case.

    Raises:
      InputError: TensorFlow is not installed or cannot run the program, something else is in the folder, or a size is
        missing.
    """
    tf, _ = tensorflow()
    static = fixed_shapes(program, sizes)
    _check_replaceable(folder)
    less = fixed_shapes(program, {name: max(1, size // 2) for name, size in sizes.items()})
    if not fixed and _written(tf, folder, program, None, trial=less) is None:
        return dict(program.inputs)
    refusal = _written(tf, folder, program, sizes, trial=static)
    if refusal is None:
        return {**static}
    raise InputError(
        "TensorFlow cannot run the program",
        where=folder,
        expected=f"a program that TensorFlow {tf.__version__} runs",
        was=f"{type(refusal).__name__}: {refusal}",
        remedy="install a later version of TensorFlow, or export the program as StableHLO or ONNX",
    ) from refusal


def _written(
    tf: Any, folder: pathlib.Path, program: Program, sizes: Mapping[str, int] | None, *, trial: dict[str, tuple]
) -> Exception | None:
    """Write a SavedModel unless TensorFlow cannot run what was written; return what it says then."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        module = converted(program, sizes)
        tf.saved_model.save(module, str(partial), signatures={SIGNATURE: module.signature})
        run = tf.saved_model.load(str(partial)).signatures[SIGNATURE]
        kinds = zip(trial.items(), program.kinds, strict=True)
        run(**{name: tf.constant(np.zeros(shape, kind.dtype)) for (name, shape), kind in kinds})
    except InputError:  # of the model, such as a length beyond its own
        raise
    except (tf.errors.OpError, ValueError, NotImplementedError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        return error
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)
    return None


def _check_replaceable(folder: pathlib.Path) -> None:
    """Check that a folder is missing, empty or a SavedModel."""
    if folder.exists() and not (folder / MARK).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            "a SavedModel would replace something else",
            where=folder,
            expected="a new folder, or a SavedModel that may be replaced",
            was="a file" if folder.is_file() else f"a folder without {MARK}",
            remedy="choose another folder",
        )
