"""Read the bytes of an input file block by block (plain, .gz, .zst or a member of a .zip), and its hash."""

import dataclasses
import hashlib
import pathlib
import re
import threading
import zipfile
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from lob_jax.errors import InputError
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.reading.inflate import DAMAGE, GZIP, ZIP_METHODS, ZSTD, inflated, member_blocks

COMPRESSIONS = (".gz", ".zst", ".zip")
DAMAGED = "a file that cannot be read or decompressed"
_PACKINGS = {".gz": GZIP, ".zst": ZSTD}
_SIGNS = {  # the first bytes of a compressed file
    ".gz": re.compile(rb"\x1f\x8b"),
    ".zst": re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
    ".zip": re.compile(rb"PK(\x03\x04|\x05\x06)"),
    ".bz2": re.compile(rb"BZh[1-9]1AY&SY"),
    ".xz": re.compile(rb"\xfd7zXZ\x00"),
    ".7z": re.compile(rb"7z\xbc\xaf\x27\x1c"),
}
_SIGN_BYTES, _BEGINNING_BYTES, _HASHED_BYTES = 64, 1 << 16, 1 << 18
_PRINTED = re.compile(rb"[\t\n\r -~\x80-\xff]+")
_ENCRYPTED = 1  # flag of a zip member


@dataclasses.dataclass(frozen=True)
class Source:
    """One input: a file, or one of the files inside a zip.

    Attributes:
      path: the file on disk.
      member: the name inside the file, if that is a zip with several files.
    """

    path: pathlib.Path
    member: str | None = None

    def __str__(self) -> str:
        return f"{self.path}!{self.member}" if self.member else str(self.path)

    @property
    def name(self) -> str:
        """The file name without the compression suffix."""
        name = self.member.rsplit("/", 1)[-1] if self.member else self.path.name
        return next((name.removesuffix(suffix) for suffix in COMPRESSIONS if name.endswith(suffix)), name)

    def sha256(self, stopped: threading.Event | None = None) -> str:
        """Return the hash of the file as stored on disk; of its beginning only, once another thread has set `stopped`.

        Raises:
          InputError: the file cannot be read.
        """
        try:
            digest, block = hashlib.sha256(), bytearray(_HASHED_BYTES)
            with self.path.open("rb", buffering=0) as file:
                while (count := file.readinto(block)) and not (stopped and stopped.is_set()):
                    digest.update(memoryview(block)[:count])
            return digest.hexdigest()
        except OSError as error:
            raise damaged(self, error) from error

    def blocks(self, reading: Reading) -> Iterator[bytes]:
        """Yield the decompressed bytes in non-empty blocks of about `reading.block_bytes`.

        Raises:
          InputError: the file cannot be read, its suffix does not match its content, or the compressed data are
            damaged or truncated; in this case, every byte before the damage is yielded first.
        """
        try:
            with self.path.open("rb") as file:
                size, done = self.path.stat().st_size, 0
                for block in self._decompressed(file, size, reading.block_bytes):
                    if reading.on_bytes is not None:
                        done = max(done, min(file.tell(), size))
                        reading.on_bytes(done, size)
                    yield block
        except DAMAGE as error:
            raise damaged(self, error) from error

    def first_bytes(self, count: int) -> bytes:
        """Return the first `count` bytes of the content, fewer if the content ends or is damaged before.

        Raises:
          InputError: as `blocks`, if there is no byte before the damage.
        """
        data = bytearray()
        try:
            for block in self.blocks(Reading(block_bytes=count)):
                data += block
                if len(data) >= count:
                    break
        except InputError:
            if not data:
                raise
        return bytes(data[:count])

    def _decompressed(self, file: BinaryIO, size: int, most: int) -> Iterator[bytes]:
        if not size:
            return
        _check_suffix(self.path, file.read(_SIGN_BYTES))
        file.seek(0)
        if self.path.suffix in _PACKINGS:
            yield from inflated(file, _PACKINGS[self.path.suffix], most, end=size)
        elif self.path.suffix == ".zip":
            yield from member_blocks(file, _member(self, zipfile.ZipFile(file)), most)
        else:
            while block := file.read(most):
                yield block


def _check_suffix(path: pathlib.Path, beginning: bytes) -> None:
    """Raise InputError for a file whose first bytes do not match its suffix."""
    found = next((suffix for suffix, sign in _SIGNS.items() if sign.match(beginning)), "")
    suffix = path.suffix if path.suffix in COMPRESSIONS else ""
    if found == suffix:
        return
    if found and found not in COMPRESSIONS:
        what, expected, remedy = "an unsupported compression", f"plain, {COMPRESSIONS}", "unpack the file"
    elif found:
        what, expected = "a compressed file with the wrong suffix", f"the suffix {found}"
        remedy = f"rename the file to end in {found}"
    else:
        what, expected = f"a {suffix} file that is not compressed", f"{suffix} data"
        remedy = f"remove {suffix} from its name if this is the right content; otherwise fetch it again"
    was = f"{found} data" if found else "plain text" if _PRINTED.fullmatch(beginning) else "other bytes"
    raise InputError(what, where=path, expected=expected, was=f"{was}: {beginning[:16]!r}", remedy=remedy)


def _member(source: Source, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the zip member that a source refers to.

    Raises:
      InputError: the source names none and there is not exactly one; or it is encrypted or its compression method is
        not supported.
    """
    members = [info for info in archive.infolist() if not info.is_dir()]
    if source.member is None and len(members) != 1:
        names = [info.filename for info in members]
        raise InputError(
            "a zip must contain exactly one file",
            where=source,
            expected="one file",
            was=f"{len(names)}: {names[:5]}",
            remedy="unpack it and pass the file",
        )
    try:
        member = members[0] if source.member is None else archive.getinfo(source.member)
    except KeyError as error:
        raise zipfile.BadZipFile(f"no member {source.member!r}") from error
    if member.flag_bits & _ENCRYPTED or member.compress_type not in ZIP_METHODS:
        raise InputError(
            "a zip whose content cannot be unpacked",
            where=source,
            expected="a file without a password, with method stored, deflate or bzip2",
            was="encrypted" if member.flag_bits & _ENCRYPTED else f"compression method {member.compress_type}",
            remedy="unpack it and pass the file",
        )
    return member


def damaged(where: object, error: Exception) -> InputError:
    """Return the error for a file that cannot be read or decompressed."""
    return InputError(
        DAMAGED,
        where=where,
        expected="a readable plain, gzip, zstd or zip file",
        was=f"{type(error).__name__}: {error}",
        remedy="check its permissions, or fetch it again; on_error='skip' keeps what comes before the damage",
    )


def empty_file(where: object, *, expected: object) -> InputError:
    """Return the error for an empty file."""
    return InputError("an empty file", where=where, expected=expected, was="0 bytes", remedy="fetch the file again")


def refuse_unreadable(files: Sequence[pathlib.Path], *, expected: object) -> None:
    """Raise InputError if nothing was recognised in `files` because of damaged or empty files.

    Raises:
      InputError: a file is damaged near its beginning, or all of them are empty.
    """
    content = False
    for file in files:
        read = 0
        for block in Source(file).blocks(Reading(block_bytes=_BEGINNING_BYTES)):
            read += len(block)
            if read >= _BEGINNING_BYTES:
                break
        content |= read > 0
    if files and not content:
        raise empty_file(files[0], expected=expected)
