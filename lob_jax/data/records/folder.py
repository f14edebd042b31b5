"""Find a folder of prepared records, or build it: by one process, in a temporary folder that is renamed at the end."""

import json
import os
import pathlib
import shutil
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from lob_jax.data.records.files import write_whole
from lob_jax.data.records.manifest import (
    FORMAT,
    MANIFEST,
    check_manifest,
    completed_fingerprint,
    is_earlier,
    read_manifest,
)
from lob_jax.errors import InputError, flat
from lob_jax.lock import locked

DAYS = "days"  # subfolder with the shards and accounts of single days, during the build
FINGERPRINT = "fingerprint.json"

Build = Callable[[pathlib.Path], dict[str, Any]]


def find_or_build(folder: pathlib.Path, wanted: Mapping[str, Any], build: Build) -> dict[str, Any]:
    """Return the manifest of the records in a folder, building them if there are none.

    Records are built in `<folder>.partial`. What an interrupted build has left there is reused if it has the same
    fingerprint, and removed otherwise. Records of an earlier format of the same data are built again, with a warning,
    and renamed to `<folder>.format<number>` once the new ones are complete. Records with another fingerprint are
    refused, never overwritten.

    Args:
      folder: the folder of the records.
      wanted: their fingerprint.
      build: writes everything except the manifest to the partial folder, and returns the manifest. It keeps completed
        days in the subfolder `DAYS`; if it fails before a day is complete, the partial folder is removed.

    Raises:
      InputError: the folder holds other records or other files, or another process is building it.
    """
    format_now = wanted.get("format", FORMAT)
    if has_records(folder, format_now):
        return _checked(folder, wanted)
    with locked(folder.with_name(f"{folder.name}.lock")):
        if has_records(folder, format_now):  # another process may have finished before the lock was acquired
            return _checked(folder, wanted)
        aside = _name_aside(folder, wanted) if (folder / MANIFEST).exists() else None
        if aside is None:
            _check_free(folder)
        partial = folder.with_name(f"{folder.name}.partial")
        if not (partial / MANIFEST).exists() or not _is(read_manifest(partial)["fingerprint"], wanted):
            _begin(partial, wanted)
            try:
                manifest = build(partial)
            except BaseException:
                if not any((partial / DAYS).glob("*.json")):
                    shutil.rmtree(partial)
                raise
            write_whole(partial / MANIFEST, json.dumps(manifest).encode())
        shutil.rmtree(partial / DAYS, ignore_errors=True)
        (partial / FINGERPRINT).unlink(missing_ok=True)
        if aside is not None:
            os.replace(folder, aside)
        os.replace(partial, folder)  # last, and atomic: a folder with this name is always complete
    return read_manifest(folder)


def has_records(folder: pathlib.Path, wanted: int) -> bool:
    """Return whether a folder holds prepared records of the wanted format, see `record_format`, or a later one."""
    return (folder / MANIFEST).exists() and not is_earlier(read_manifest(folder), wanted)


def _name_aside(folder: pathlib.Path, wanted: Mapping[str, Any]) -> pathlib.Path:
    """Return the name for records of an earlier format, which must agree with `wanted` in everything else."""
    manifest = read_manifest(folder)
    format_then = manifest["fingerprint"].get("format", FORMAT)
    check_manifest(manifest, {**wanted, "format": format_then})
    aside = folder.with_name(f"{folder.name}.format{format_then}")
    if aside.exists():
        raise InputError(
            "records of an earlier format have been kept already",
            where=aside,
            expected="no such folder",
            was=f"a folder, beside {folder}, whose records are of format {format_then} too",
            remedy="delete one of the two folders",
        )
    warnings.warn(
        f"the records in {folder} are of format {format_then}, and this version needs format {wanted['format']}: the"
        f" days are prepared again, and the earlier records kept as {aside.name}",
        stacklevel=3,
    )
    return aside


def _is(saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether a fingerprint on disk is the wanted one."""
    return completed_fingerprint(saved, wanted) == flat(wanted)


def _checked(folder: pathlib.Path, wanted: Mapping[str, Any]) -> dict[str, Any]:
    manifest = read_manifest(folder)
    check_manifest(manifest, wanted)
    return manifest


def _check_free(folder: pathlib.Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise InputError(
            "the folder for records contains other files",
            where=folder,
            expected=f"no such folder, or a folder with a {MANIFEST}",
            was=sorted(path.name for path in folder.iterdir())[:5],
            remedy="use another --workdir, or move these files away",
        )


def _begin(partial: pathlib.Path, wanted: Mapping[str, Any]) -> None:
    """Keep what an interrupted build of the same records has left; remove anything else."""
    mark = partial / FINGERPRINT
    if not mark.exists() or not _is(json.loads(mark.read_bytes()), wanted):
        shutil.rmtree(partial, ignore_errors=True)
        (partial / DAYS).mkdir(parents=True)
        write_whole(mark, json.dumps(wanted).encode())
