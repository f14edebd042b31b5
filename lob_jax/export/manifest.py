"""The manifest of a bundle: its files with their sizes and hashes, their roles, and a fingerprint of the whole."""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import stat
from collections.abc import Mapping
from typing import Any

from lob_jax.data.records.files import write_whole
from lob_jax.errors import InputError
from lob_jax.export.plain import AGAIN, made_of, parse_object, text_of, unreadable
from lob_jax.later_keys import VERSION, Source, version

FORMAT = 1  # of a bundle: incremented whenever a file changes its meaning
MANIFEST = "manifest.json"
GRAPHS = "graphs"  # the roles of ONNX files

Roles = Mapping[str, Mapping[str, str]]  # by group, such as GRAPHS: the file of each role, such as "forward"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")  # thus no "..", and no leading /
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Listed:
    """A file in a manifest: its size in bytes, and its SHA-256."""

    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The manifest of a bundle.

    Attributes:
      version: the version of lob_jax that wrote it.
      vocabulary: the hash of the vocabulary.
      roles: see `Roles`.
      files: the files but the manifest, by their paths in the folder.
      fingerprint: the hash of all of this; two bundles with the same one are the same.
    """

    version: str
    vocabulary: str
    roles: dict[str, dict[str, str]]
    files: dict[str, Listed]
    fingerprint: str


def is_inside(name: str) -> bool:
    """Return whether a path names a file below the folder that it is relative to, in one way on every system."""
    return _NAME.fullmatch(name) is not None


def seal(folder: pathlib.Path, *, vocabulary: str, roles: Roles) -> None:
    """Write the manifest of the files in a folder, and flush all of them to the disk.

    Raises:
      InputError: the folder has something else than regular files and folders with files.
    """
    paths = {name: folder / name for name in sorted(regular_files(folder))}
    content = {
        "bundle": FORMAT,
        VERSION: version(),
        "vocabulary": vocabulary,
        "roles": {group: dict(sorted(named.items())) for group, named in sorted(roles.items())},
        "files": {name: dataclasses.asdict(_listed(path)) for name, path in paths.items() if name != MANIFEST},
    }
    for path in [*paths.values(), *{path.parent for path in paths.values()}]:
        flush(path)
    write_whole(folder / MANIFEST, text_of({**content, "fingerprint": fingerprint_of(content)}).encode())
    flush(folder)


def flush(path: pathlib.Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def fingerprint_of(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a manifest, and so of the hashes of all files, in hexadecimal."""
    named = {key: value for key, value in content.items() if key != "fingerprint"}
    return hashlib.sha256(json.dumps(named, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def verified(folder: pathlib.Path) -> Manifest:
    """Return the manifest of a bundle whose every file is as it was when it was written.

    Raises:
      InputError: the folder or something in it is a link or no file; the manifest is damaged or of another format; a
        path in it leaves the folder; a file is missing, is not in the manifest, or has another size or SHA-256.
    """
    present = regular_files(folder)
    if MANIFEST not in present:
        raise InputError(
            "this is not a bundle",
            where=folder,
            expected=f"a folder with a {MANIFEST}",
            was=sorted(present)[:5],
            remedy="name the folder of a bundle; --mode=export writes one",
        )
    manifest = _read(folder / MANIFEST)
    missing, extra = sorted(manifest.files.keys() - present), sorted(present - manifest.files.keys() - {MANIFEST})
    if missing or extra:
        was = [f"no {name}" for name in missing[:5]] + [f"{name}, which is not listed" for name in extra[:5]]
        raise damaged("the files of the bundle are not those of its manifest", folder, "exactly those files", was)
    for name, listed in manifest.files.items():
        found = _listed(folder / name, most=listed.size)
        if found.size != listed.size:
            sizes = (f"{listed.size:,} bytes", f"{found.size:,} bytes")
            raise damaged("a file of the bundle has another size", folder / name, *sizes)
        if found.sha256 != listed.sha256:
            hashes = (f"SHA-256 {listed.sha256}", found.sha256)
            raise damaged("a file of the bundle has another content", folder / name, *hashes)
    return manifest


def damaged(what: str, where: object, expected: object, was: object) -> InputError:
    """Return the error for a bundle that is not as it was written."""
    return InputError(what, where=where, expected=expected, was=was, remedy=AGAIN)


def regular_files(folder: pathlib.Path) -> set[str]:
    """Return the paths of all files in a folder and the folders in it, with slashes.

    Raises:
      InputError: it is no folder, or there is a link in it, a file that is neither a file nor a folder, or a folder
        without a file.
    """
    if not folder.is_dir() or folder.is_symlink():
        was = "a link" if folder.is_symlink() else "a file" if folder.exists() else "nothing"
        raise InputError(
            "there is no bundle",
            where=folder,
            expected="a folder, by its own path",
            was=was,
            remedy="name the folder of a bundle; --mode=export writes one",
        )
    found, waiting = set(), [(folder, "")]
    while waiting:
        inside, prefix = waiting.pop()
        with os.scandir(inside) as entries:
            kinds = {entry.name: entry.stat(follow_symlinks=False).st_mode for entry in entries}
        if prefix and not kinds:
            raise damaged("there is an empty folder in the bundle", inside, "files", "none")
        for name, mode in kinds.items():
            if stat.S_ISDIR(mode):
                waiting.append((inside / name, f"{prefix}{name}/"))
            elif stat.S_ISREG(mode):
                found.add(f"{prefix}{name}")
            else:
                was = "a symbolic link" if stat.S_ISLNK(mode) else "neither a file nor a folder"
                raise damaged("there is more than files in the bundle", inside / name, "a regular file", was)
    return found


def _read(path: pathlib.Path) -> Manifest:
    """Read a manifest, and check that it is one that this version writes."""
    with open(_opened(path), "rb") as file:
        raw = file.read()
    content = parse_object(raw, where=path)
    if type(content.get("bundle")) is not int or content["bundle"] != FORMAT:
        raise InputError(
            "the bundle is of another format",
            where=path,
            expected=f"bundle = {FORMAT}",
            was=content.get("bundle", "no such key"),
            remedy="use the version of lob_jax that wrote it, or a newer one",
        )
    manifest = _parsed(content, path)
    _check_roles(manifest, path)
    wanted = fingerprint_of(content)
    if manifest.fingerprint != wanted or text_of(content).encode() != raw:
        was = manifest.fingerprint if manifest.fingerprint != wanted else "the same content, written in another way"
        raise damaged("the manifest of the bundle is not as it was written", path, f"fingerprint {wanted}", was)
    return manifest


@dataclasses.dataclass(frozen=True)
class _Top:
    """The keys of a manifest whose values are texts."""

    version: str
    vocabulary: str
    fingerprint: str


def _parsed(content: Mapping[str, Any], path: pathlib.Path) -> Manifest:
    source = Source("the manifest", of="a bundle", where=path, written_by=str(content.get(VERSION)))
    rest = {key: value for key, value in content.items() if key not in ("bundle", "roles", "files")}
    top = made_of(_Top, rest, source)
    roles, files = content.get("roles"), content.get("files")
    if not isinstance(roles, dict) or not all(isinstance(named, dict) for named in roles.values()):
        raise unreadable(f"{path}, roles", expected="objects of files by role, by group", was=roles)
    if not isinstance(files, dict):
        raise unreadable(f"{path}, files", expected="an object of sizes and hashes by file", was=files)
    listed = {}
    for name, about in files.items():
        if not is_inside(name) or name == MANIFEST:
            raise _leaves(f"{path}, files", name)
        listed[name] = made_of(Listed, about, source, at=f"files.{name}")
        if listed[name].size < 0 or _SHA256.fullmatch(listed[name].sha256) is None:
            raise unreadable(f"{path}, files.{name}", expected="a size and a SHA-256 in hexadecimal", was=about)
    return Manifest(top.version, top.vocabulary, roles, listed, top.fingerprint)


def _check_roles(manifest: Manifest, path: pathlib.Path) -> None:
    """Check that every role has one of the files."""
    for group, named in manifest.roles.items():
        for role, name in named.items():
            where = f"{path}, roles.{group}.{role}"
            if not isinstance(name, str) or not is_inside(name):
                raise _leaves(where, name)
            if name not in manifest.files:
                raise damaged("a role in the bundle has no file", where, "one of the files of the manifest", name)


def _leaves(where: str, name: object) -> InputError:
    expected = "a path below the folder, of letters, digits and _ . + -, without .."
    return damaged("a path leaves the folder of the bundle", where, expected, repr(name))


def _opened(path: pathlib.Path) -> int:
    """Open a regular file, and nothing that has taken its place since the folder was listed; return its descriptor."""
    try:
        opened = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise damaged("a file of the bundle cannot be read", path, "a regular file", error) from error
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise damaged("a file of the bundle cannot be read", path, "a regular file", "another kind of file")
    return opened


def _listed(path: pathlib.Path, most: int | None = None) -> Listed:
    """Return the size and the hash of a file, read in pieces; no hash if it has another size than `most`."""
    with open(_opened(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        return Listed(size, hashlib.file_digest(file, "sha256").hexdigest() if most in (None, size) else "")
