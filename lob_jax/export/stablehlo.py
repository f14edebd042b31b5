"""Programs as files: StableHLO that is compiled where it is loaded, and called by the names of its inputs.

A program is three files in one folder, here those of forward.stablehlo: the artifact of `jax.export` without weights;
forward.json, which says how it is called; and weights.safetensors, which programs of the same model share. Loading and
calling it takes JAX, NumPy and safetensors: neither the model's code nor Flax is imported.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.export
import numpy as np

from lob_jax.errors import InputError
from lob_jax.later_keys import VERSION, version
from lob_jax.training.run.weights import load_weights, save_weights, sha256_of

if TYPE_CHECKING:
    from lob_jax.export.program import Program

FORMAT = "lob_jax program 1"
SUFFIX = ".stablehlo"
WEIGHTS = "weights.safetensors"
KEYS = ("format", "jax", "platforms", "inputs", "outputs", "limits", "sha256", "about")


@dataclasses.dataclass(frozen=True)
class Argument:
    """An input of a program.

    Attributes:
      dtype: its NumPy dtype.
      shape: its shape; sizes that the caller chooses have names, equal ones the same name.
    """

    dtype: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.dtype} [{', '.join(map(str, self.shape))}]"


class LoadedProgram:
    """A program that was loaded: call it with arrays by name.

    It is compiled for each combination of sizes when it is first called with them.

    Attributes:
      inputs: what it reads, by name.
      outputs: the names of its results.
      limits: what is known of the sizes that the caller chooses, such as "length <= 512".
      platforms: where it runs: some of cpu, cuda and tpu.
      about: what was said of it when it was saved.
    """

    def __init__(self, exported: jax.export.Exported, weights: Any, interface: Mapping[str, Any]) -> None:
        self.inputs = {
            name: Argument(each["dtype"], tuple(each["shape"])) for name, each in interface["inputs"].items()
        }
        self.outputs: tuple[str, ...] = tuple(interface["outputs"])
        self.limits: tuple[str, ...] = tuple(interface["limits"])
        self.platforms: tuple[str, ...] = tuple(interface["platforms"])
        self.about: dict[str, Any] = interface["about"]
        self._weights = jax.device_put(weights)
        self._call = jax.jit(exported.call)

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, jax.Array]:
        """Return the results by name.

        Args:
          inputs: arrays by name, at least those of `inputs`; others are left out.

        Raises:
          InputError: an input is missing or of another dtype or shape, or the program cannot run for these sizes.
        """
        given = {name: self._checked(name, inputs) for name in self.inputs}
        try:
            found = self._call(self._weights, given)
        except ValueError as error:  # of jax.export: sizes that contradict one another, or another platform
            raise InputError(
                "the program cannot run for these inputs",
                where=", ".join(f"{name} {list(array.shape)}" for name, array in given.items()),
                expected=", ".join([*(f"{name} {argument}" for name, argument in self.inputs.items()), *self.limits]),
                was=error,
                remedy=f"choose other sizes, or one of its platforms: {', '.join(self.platforms)}",
            ) from error
        return dict(zip(self.outputs, found, strict=True))

    def _checked(self, name: str, inputs: Mapping[str, Any]) -> Any:
        """Return an input that fits what the program reads."""
        expected, was = self.inputs[name], f"only {', '.join(inputs) or 'nothing'}"
        if name in inputs:
            array = inputs[name]
            array = array if isinstance(array, jax.Array) else np.asarray(array)
            pairs = zip(array.shape, expected.shape, strict=False)
            sizes_fit = all(size == known for size, known in pairs if isinstance(known, int))
            if array.dtype == expected.dtype and array.ndim == len(expected.shape) and sizes_fit:
                return array
            was = f"{array.dtype} {list(array.shape)}"
        raise InputError(
            f"the program reads {name}, in this form", where=name, expected=expected, was=was, remedy=f"give {name} so"
        )


def save_program(path: pathlib.Path, program: Program, *, about: Mapping[str, Any] | None = None) -> None:
    """Write a program: `path`, what describes it beside it, and the weights; each file atomically.

    Args:
      path: a path that ends in .stablehlo; programs in one folder are of the same model, since they share its weights.
      program: the program, exported for all platforms that it is to run on.
      about: JSON values that describe it, such as the hash of its vocabulary.

    Raises:
      InputError: the path ends otherwise.
    """
    description = _description(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    exported = program.exported
    artifact = bytes(exported.serialize())
    save_weights(path.with_name(WEIGHTS), program.weights, about={})
    _write(path, artifact)
    interface = {
        "format": FORMAT,
        VERSION: version(),
        "jax": jax.__version__,
        "platforms": exported.platforms,
        "inputs": _inputs(program),
        "outputs": program.outputs,
        "limits": program.limits,
        "sha256": {"program": _hash(artifact), "weights": sha256_of(program.weights)},
        "about": dict(about or {}),
    }
    _write(description, (json.dumps(interface, indent=1) + "\n").encode())


def _inputs(program: Program) -> dict[str, dict[str, Any]]:
    """Return the dtypes and shapes of the inputs, the last arguments of the program."""
    pairs = zip(program.inputs.items(), program.kinds, strict=True)
    return {name: {"dtype": str(kind.dtype), "shape": list(shape)} for (name, shape), kind in pairs}


def load_program(path: pathlib.Path) -> LoadedProgram:
    """Return a program that `save_program` wrote, ready to be called.

    Raises:
      InputError: a file is missing, damaged, of another program, or written by a later version of JAX.
    """
    interface = _interface(_description(path))
    artifact, params = _artifact(path), load_weights(path.with_name(WEIGHTS))[0]
    _check_hash(path, _hash(artifact), interface["sha256"]["program"])
    _check_hash(path.with_name(WEIGHTS), sha256_of(params), interface["sha256"]["weights"])
    try:
        exported = jax.export.deserialize(bytearray(artifact))
    except Exception as error:  # of JAX and MLIR, which name no errors of their own
        raise InputError(
            "the program cannot be read by this version of JAX",
            where=path,
            expected=f"StableHLO that JAX {jax.__version__} reads",
            was=f"written by JAX {interface['jax']}; {type(error).__name__}: {error}",
            remedy=f"install JAX {interface['jax']} or later, or write the program again with this version",
        ) from error
    return LoadedProgram(exported, params, interface)


def _description(path: pathlib.Path) -> pathlib.Path:
    """Return the path of what describes a program."""
    if path.suffix != SUFFIX:
        raise InputError(
            "the path is not that of a program",
            where=path,
            expected=f"a name that ends in {SUFFIX}",
            was=path.name,
            remedy=f"name it {path.stem or 'forward'}{SUFFIX}; a JSON file and {WEIGHTS} lie beside it",
        )
    return path.with_suffix(".json")


def _interface(path: pathlib.Path) -> dict[str, Any]:
    """Return what describes a program."""
    try:
        found = json.loads(path.read_text())
        lacking = [key for key in KEYS if key not in found]
        was = f"format {found.get('format')!r}" + f", without {', '.join(lacking)}" * bool(lacking)
        if found.get("format") == FORMAT and not lacking:
            return found
    except (OSError, ValueError, AttributeError, TypeError) as error:
        was = f"{type(error).__name__}: {error}"
    raise InputError(
        "what describes the program cannot be read",
        where=path,
        expected=f"JSON that save_program wrote, with format {FORMAT!r}",
        was=was,
        remedy=f"keep the files of a program together: NAME{SUFFIX}, NAME.json and {WEIGHTS}; or write it again",
    )


def _artifact(path: pathlib.Path) -> bytes:
    """Return the content of a program's own file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            "the program cannot be read",
            where=path,
            expected="a file that save_program wrote",
            was=f"{type(error).__name__}: {error}",
            remedy="give the path of a program, or write it again",
        ) from error


def _check_hash(path: pathlib.Path, was: str, expected: str) -> None:
    """Check that a file is the one that was written with the program.

    Raises:
      InputError: it is another.
    """
    if was != expected:
        raise InputError(
            "a file of the program is damaged or of another model",
            where=path,
            expected=f"sha256 {expected}",
            was=was,
            remedy="write the program again, each model into a folder of its own",
        )


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write(path: pathlib.Path, data: bytes) -> None:
    """Write a file atomically."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(data)
    os.replace(partial, path)
