"""A folder of prepared records: found as it is, or built beside its place, by one process, and moved there whole."""

import json
import os
import pathlib
import shutil
from collections.abc import Callable, Mapping
from typing import Any

from lob_jax.data.records.manifest import MANIFEST, check_manifest, completed_fingerprint, load_manifest
from lob_jax.data.records.shards import write_whole
from lob_jax.errors import InputError, flat
from lob_jax.lock import locked

DAYS = "days"  # shards and accounts of single days, while records are built
FINGERPRINT = "fingerprint.json"

Build = Callable[[pathlib.Path], dict[str, Any]]


def find_or_build(folder: pathlib.Path, wanted: Mapping[str, Any], build: Build) -> dict[str, Any]:
    """Return the manifest of the records in a folder, which are built if there are none.

    They are built in `<folder>.partial`, and what a run that was stopped has left there is used if it has the same
    fingerprint, else removed. Records of another fingerprint are refused, never overwritten.

    Args:
      folder: where the records shall lie.
      wanted: their fingerprint.
      build: makes everything but the manifest in the partial folder, and returns the manifest. It leaves the days
        that are done in the folder `DAYS`; if there is none when it fails, nothing stays.

    Raises:
      InputError: the folder holds other records or other things, or another process is at work on it.
    """
    if (folder / MANIFEST).exists():
        return _checked(folder, wanted)
    with locked(folder.with_name(f"{folder.name}.lock")):
        if (folder / MANIFEST).exists():  # the process that held the lock was just done
            return _checked(folder, wanted)
        _check_free(folder)
        partial = folder.with_name(f"{folder.name}.partial")
        if not (partial / MANIFEST).exists() or not _is(load_manifest(partial)["fingerprint"], wanted):
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
        os.replace(partial, folder)
    return load_manifest(folder)


def _is(saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether a fingerprint on disk is the wanted one."""
    return completed_fingerprint(saved, wanted) == flat(wanted)


def _checked(folder: pathlib.Path, wanted: Mapping[str, Any]) -> dict[str, Any]:
    manifest = load_manifest(folder)
    check_manifest(manifest, wanted)
    return manifest


def _check_free(folder: pathlib.Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise InputError(
            "the folder for records holds something else",
            where=folder,
            expected=f"no such folder, or one with a {MANIFEST}",
            was=sorted(path.name for path in folder.iterdir())[:5],
            remedy="name another --workdir, or move these files away",
        )


def _begin(partial: pathlib.Path, wanted: Mapping[str, Any]) -> None:
    """Keep what a run for the same records has left, and nothing else."""
    mark = partial / FINGERPRINT
    if not mark.exists() or not _is(json.loads(mark.read_bytes()), wanted):
        shutil.rmtree(partial, ignore_errors=True)
        (partial / DAYS).mkdir(parents=True)
        write_whole(mark, json.dumps(wanted).encode())
