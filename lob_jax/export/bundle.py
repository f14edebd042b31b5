"""A bundle: one folder that holds an exported model and all that running it needs, verified whenever it is opened.

Neither this module nor opening a bundle imports JAX.
"""

import dataclasses
import json
import os
import pathlib
import posixpath
import shutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
from safetensors.numpy import load_file, save_file

from lob_jax.data.records.files import partial_path
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.export.card import card_text
from lob_jax.export.contents import GENERATION, MODEL, VOCABULARY, Contents, Settings, read_contents, write_contents
from lob_jax.export.manifest import GRAPHS, Manifest, Roles, damaged, flush, is_inside, seal, verified
from lob_jax.export.onnx_file import read_facts
from lob_jax.export.plain import read_object, text_of
from lob_jax.models.config import ModelConfig
from lob_jax.tokens.registry import tokenizer_for
from lob_jax.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    from lob_jax.tokens.tokenizer import Tokenizer

WEIGHTS, CARD, CARD_TEXT = "weights.safetensors", "card.json", "card.md"
ALWAYS = (MODEL, GENERATION, VOCABULARY, WEIGHTS, CARD, CARD_TEXT)  # the files of every bundle
ONNX = ".onnx"
VOCABULARY_KEY = "lob_jax.vocabulary"  # of an ONNX file's metadata: the hash of the vocabulary whose ids it reads

WriteFiles = Callable[[pathlib.Path], Roles]


@dataclasses.dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle whose every file has been verified.

    Attributes:
      folder: its folder.
      version: the version of lob_jax that wrote it.
      fingerprint: the hash of the whole; two bundles with the same one are the same.
      contents: the model, its vocabulary, the instrument, and what generation needs.
      tokenizer: the tokenizer of the vocabulary.
      roles: the files by group and role: `roles["graphs"]["forward"]`.
      card: the model card, as in `card.json`.
    """

    folder: pathlib.Path
    version: str
    fingerprint: str
    contents: Contents
    tokenizer: "Tokenizer"
    roles: Mapping[str, Mapping[str, pathlib.Path]]
    card: Mapping[str, Any]

    @property
    def model(self) -> ModelConfig:
        """Return the configuration of the model."""
        return self.contents.model

    @property
    def vocabulary(self) -> Vocabulary:
        """Return the vocabulary."""
        return self.contents.vocabulary

    @property
    def instrument(self) -> Instrument:
        """Return the instrument that the model continues."""
        return self.contents.instrument

    @property
    def settings(self) -> Settings:
        """Return the plain settings of generation; `contents` has the arrays."""
        return self.contents.settings

    @property
    def graphs(self) -> Mapping[str, pathlib.Path]:
        """Return the ONNX files by role; empty if there are none."""
        return self.roles.get(GRAPHS, {})

    def weights(self) -> dict[str, np.ndarray]:
        """Return the parameters by path, such as "blocks_0/ffn/widen/kernel"."""
        return load_file(self.folder / WEIGHTS)


def write_bundle(
    folder: pathlib.Path | str,
    contents: Contents,
    *,
    weights: Mapping[str, np.ndarray],
    card: Mapping[str, Any],
    about: Mapping[str, Any] | None = None,
    write: WriteFiles | None = None,
) -> Bundle:
    """Write a bundle, whole or not at all, and return it as `open_bundle` does.

    It is written to a temporary folder beside it, flushed to the disk, opened for a check, and renamed.

    Args:
      folder: the folder, which must not exist, or be empty.
      contents: the model, its vocabulary, the instrument, and what generation needs.
      weights: the parameters by path, see `training.run.weights.flat`.
      card: the model card, see `card.make_card`.
      about: JSON values that describe the parameters, as in `training.run.weights.save_weights`.
      write: writes the graphs and other artifacts to the temporary folder, and returns the roles of these files.

    Raises:
      InputError: the folder is taken, or what was written could not be opened.
    """
    folder = pathlib.Path(folder)
    refuse_taken(folder)
    partial = partial_path(folder)
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed, whose number this one has now
    partial.mkdir(parents=True)
    try:
        write_contents(partial, contents)
        _save_weights(partial / WEIGHTS, weights, about or {})
        (partial / CARD).write_text(text_of(card), encoding="utf-8")
        (partial / CARD_TEXT).write_text(card_text(card), encoding="utf-8")
        roles = write(partial) if write is not None else {}
        _make_readable(partial, like=partial / CARD)
        seal(partial, vocabulary=contents.vocabulary.hash, roles=roles)
        bundle = open_bundle(partial)
        _rename(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return dataclasses.replace(bundle, folder=folder, roles=_in(folder, roles))


def _make_readable(folder: pathlib.Path, *, like: pathlib.Path) -> None:
    """Give all files the permissions of one that was created as usual; safetensors lets only their owner read its."""
    mode = like.stat().st_mode
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)


def _save_weights(path: pathlib.Path, weights: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Write parameters by path such that `training.run.weights.load_weights` reads them.

    The metadata have a single key: safetensors writes several in an order that differs from call to call, and bundles
    of the same model would have different fingerprints. The version is in the manifest.
    """
    metadata = {"lob_jax": json.dumps(dict(about), sort_keys=True)}
    save_file({name: np.ascontiguousarray(array) for name, array in weights.items()}, path, metadata)


def open_bundle(folder: pathlib.Path | str, *, fingerprint: str | None = None) -> Bundle:
    """Open a bundle after verifying all of it, which reads every file once.

    Hashes in the manifest show damage. That nobody has replaced files and manifest alike, only a fingerprint shows
    that came another way.

    Args:
      folder: its folder.
      fingerprint: the fingerprint that it must have; any if None.

    Raises:
      InputError: a file is missing, is not listed or is not as it was written; a path leaves the folder; there is a
        link; the format is unknown; or vocabulary, model, settings and graphs do not fit each other.
    """
    folder = pathlib.Path(folder)
    manifest = verified(folder)
    if fingerprint is not None and fingerprint != manifest.fingerprint:
        raise InputError(
            "this is another bundle",
            where=folder,
            expected=f"fingerprint {fingerprint}",
            was=manifest.fingerprint,
            remedy="name the folder of the bundle with this fingerprint, or leave it out",
        )
    missing = [name for name in ALWAYS if name not in manifest.files]
    if missing:
        raise damaged("the bundle is not complete", folder, ", ".join(ALWAYS), f"none of {', '.join(missing)}")
    contents = read_contents(folder, written_by=manifest.version)
    _check_vocabulary(folder, contents.vocabulary.hash, "SHA-256 in the manifest", manifest.vocabulary)
    _check_graphs(folder, manifest)
    _check_weights(folder / WEIGHTS)
    return Bundle(
        folder=folder,
        version=manifest.version,
        fingerprint=manifest.fingerprint,
        contents=contents,
        tokenizer=tokenizer_for(contents.vocabulary),
        roles=_in(folder, manifest.roles),
        card=read_object(folder / CARD),
    )


def _in(folder: pathlib.Path, roles: Roles) -> dict[str, dict[str, pathlib.Path]]:
    return {group: {role: folder / name for role, name in named.items()} for group, named in roles.items()}


def _check_graphs(folder: pathlib.Path, manifest: Manifest) -> None:
    """Check that ONNX files name files of the bundle alone, and are of its vocabulary if they name one."""
    named = [name for name in manifest.files if name.lower().endswith(ONNX)]
    for name in sorted({*named, *manifest.roles.get(GRAPHS, {}).values()}):
        facts = read_facts(folder / name)
        for location in facts.external:
            place = posixpath.join(posixpath.dirname(name), location)
            if not is_inside(location) or place not in manifest.files:
                expected = "a file of the bundle, by its path from the graph, without .."
                raise damaged("a graph names a file outside the bundle", folder / name, expected, repr(location))
        for key, value in facts.metadata:
            if key == VOCABULARY_KEY:
                _check_vocabulary(folder, manifest.vocabulary, f"{key} of {name}", value)


def _check_vocabulary(folder: pathlib.Path, own: str, place: str, other: str) -> None:
    if own != other:
        raise damaged("the bundle is of two vocabularies", f"{folder}, {place}", f"hash {own}", other)


def _check_weights(path: pathlib.Path) -> None:
    """Check that the weights are a safetensors file, without reading their numbers."""
    try:
        with safetensors.safe_open(path, framework="numpy") as stored:
            names = list(stored.keys())
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise damaged("the weights of the bundle cannot be read", path, "a safetensors file", error) from error
    if not names:
        raise damaged("the weights of the bundle cannot be read", path, "at least one array", "none")


def _rename(partial: pathlib.Path, folder: pathlib.Path) -> None:
    """Give a complete folder its name, which an empty folder may have, and flush the name to the disk."""
    try:
        os.replace(partial, folder)
    except OSError:
        refuse_taken(folder)  # another process has been faster
        raise
    flush(folder.absolute().parent)


def refuse_taken(folder: pathlib.Path) -> None:
    """Raise an error if a bundle cannot be written to a folder.

    Raises:
      InputError: it exists and is not empty.
    """
    if folder.is_dir() and not folder.is_symlink():
        was: object = sorted(path.name for path in folder.iterdir())[:5]
    else:
        was = "a link or a file" if os.path.lexists(folder) else []
    if was:
        raise InputError(
            "the folder for the bundle is taken",
            where=folder,
            expected="no such folder, or an empty one",
            was=was,
            remedy="name another folder, or move this one away",
        )
