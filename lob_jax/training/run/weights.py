"""Save and load parameters as a safetensors file: names, shapes, numbers and plain text, no executable content."""

import hashlib
import json
import os
import pathlib
from typing import Any

import jax
import numpy as np
import safetensors
from safetensors.numpy import save_file

from lob_jax.errors import InputError
from lob_jax.later_keys import VERSION, version
from lob_jax.training.step.paths import by_path, nested

ABOUT = "lob_jax"  # key of the file's metadata


def save_weights(path: pathlib.Path, params: Any, *, about: dict[str, Any]) -> None:
    """Write parameters atomically, named by their paths such as "blocks_0/ffn/widen/kernel".

    Args:
      path: the file.
      params: nested dict of arrays.
      about: JSON values that describe the parameters.
    """
    partial = path.with_name(f"{path.name}.partial")
    save_file(flat(params), partial, metadata={ABOUT: json.dumps(about, sort_keys=True), VERSION: version()})
    os.replace(partial, path)


def load_weights(path: pathlib.Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters in a file as a nested dict of arrays, and their description.

    Raises:
      InputError: the file is missing, damaged or not written by `save_weights`.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as stored:
            about = json.loads(stored.metadata()[ABOUT])
            params = nested({name: stored.get_tensor(name) for name in stored.keys()})  # noqa: SIM118 - not a dict
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            "the weights cannot be read",
            where=path,
            expected="a safetensors file written by lob_jax",
            was=f"{type(error).__name__}: {error}",
            remedy="write it again with --mode=export",
        ) from error
    return params, about


def flat(params: Any) -> dict[str, np.ndarray]:
    """Return the arrays of a nested dict by path, on the host and contiguous, as safetensors requires."""
    return {name: np.ascontiguousarray(jax.device_get(leaf)) for name, leaf in by_path(params).items()}


def sha256_of(params: Any) -> str:
    """Return the SHA-256 of parameters, nested or by path: of the path, dtype, shape and bytes of each.

    A file's own would not do: safetensors writes the same parameters in files that differ.
    """
    digest = hashlib.sha256()
    for name, array in sorted(flat(params).items()):
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
