"""Decompress streams in bounded memory; of a damaged one, return every byte that can be decompressed."""

import bz2
import contextlib
import functools
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple, Protocol

from backports import zstd
from isal import igzip_lib

_ISAL: type[Exception] = igzip_lib.IsalError  # ty: ignore[invalid-assignment]  # isal's stubs: an instance, not a class
DAMAGE = (EOFError, _ISAL, zlib.error, zstd.ZstdError, zipfile.BadZipFile, NotImplementedError, OSError)
_INPUT_BYTES = 1 << 18  # compressed bytes processed at once
_CAREFUL_BYTES = 1 << 10  # the same in a second pass that recovers every byte before damage
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip member: signature, lengths of its name and extra field


class Decompressor(Protocol):
    """The common interface of all decompressors."""

    @property
    def eof(self) -> bool:
        """Return whether the end of the compressed stream has been reached."""

    @property
    def needs_input(self) -> bool:
        """Return whether more data must be passed before more can be returned."""

    @property
    def unused_data(self) -> bytes:
        """Return the data found after the end of the stream."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Return up to `max_length` bytes decompressed from this and earlier data."""


class _Zlib:
    """zlib as a `Decompressor` without a limit: slower than ISA-L, but it withholds no byte of a truncated stream."""

    needs_input = True

    def __init__(self, bits: int):
        self._inner = zlib.decompressobj(bits)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(data)


class Packing(NamedTuple):
    """A compression format.

    Attributes:
      fast: creates the usual decompressor.
      careful: creates the decompressor that recovers every byte before damage.
      repeats: whether several streams may follow each other.
      padding: bytes allowed between streams.
    """

    fast: Callable[[], Decompressor]
    careful: Callable[[], Decompressor]
    repeats: bool
    padding: bytes = b""


GZIP = Packing(
    functools.partial(igzip_lib.IgzipDecompressor, flag=igzip_lib.DECOMP_GZIP),  # three times as fast as zlib
    functools.partial(_Zlib, 16 + zlib.MAX_WBITS),
    repeats=True,
    padding=b"\0",
)
ZSTD = Packing(zstd.ZstdDecompressor, zstd.ZstdDecompressor, repeats=True)
_DEFLATE = Packing(
    functools.partial(igzip_lib.IgzipDecompressor, flag=igzip_lib.DECOMP_DEFLATE),
    functools.partial(_Zlib, -zlib.MAX_WBITS),
    repeats=False,
)
_BZIP2 = Packing(bz2.BZ2Decompressor, bz2.BZ2Decompressor, repeats=False)
ZIP_METHODS = {zipfile.ZIP_STORED: None, zipfile.ZIP_DEFLATED: _DEFLATE, zipfile.ZIP_BZIP2: _BZIP2}


def inflated(file: BinaryIO, packing: Packing, most: int, *, end: int) -> Iterator[bytes]:
    """Yield the decompressed content of a file from its current position to byte `end`.

    Args:
      file: the file.
      packing: how it is compressed.
      most: bytes per block, at most.
      end: position in the file at which the compressed data end.

    Raises:
      One of `DAMAGE`, after the last byte before the damage has been yielded.
    """
    begin, given = file.tell(), 0
    try:
        for block in _inflated(_pieces(file, end, _INPUT_BYTES), packing, packing.fast, most):
            given += len(block)
            yield block
    except DAMAGE as error:
        damage = error
    else:
        return
    with contextlib.suppress(*DAMAGE):
        yield from _tail(file, packing, most, begin=begin, end=end, given=given)
    raise damage


def _tail(file: BinaryIO, packing: Packing, most: int, *, begin: int, end: int, given: int) -> Iterator[bytes]:
    """Yield the bytes between the first `given` ones and the damage.

    A decompressor returns nothing from a piece that contains damage, hence the last pieces are single bytes.
    """
    careful_from = max(file.tell() - _INPUT_BYTES, begin)
    file.seek(begin)
    pieces = _pieces(file, end, _CAREFUL_BYTES, single_from=careful_from)
    for data in _inflated(pieces, packing, packing.careful, -1):
        for first in range(given, len(data), most):
            yield data[first : first + most]
        given = max(given - len(data), 0)


def _pieces(file: BinaryIO, end: int, size: int, *, single_from: int | None = None) -> Iterator[bytes]:
    """Yield the bytes up to `end` in pieces of `size`; from `single_from` on, if given, one at a time."""
    while True:
        at = file.tell()
        single = single_from is not None and at >= single_from
        data = file.read(min(1 if single else size, end - at))
        if not data:
            return
        yield data


def _inflated(pieces: Iterator[bytes], packing: Packing, new: Callable[[], Decompressor], most: int) -> Iterator[bytes]:
    """Yield the decompressed content of pieces; raise at the first damaged piece, or if the data end too early."""
    decompressor, begun = new(), False
    for data in pieces:
        while data or not decompressor.needs_input:
            if not begun:
                data = data.lstrip(packing.padding)
            begun |= bool(data)
            out, data = decompressor.decompress(data, most), b""
            if out:
                yield out
            elif not decompressor.eof:
                break
            if decompressor.eof and not packing.repeats:
                return
            if decompressor.eof:
                data, decompressor, begun = decompressor.unused_data, new(), False
    if begun:
        raise EOFError("the data end too early")


def member_blocks(file: BinaryIO, member: zipfile.ZipInfo, most: int) -> Iterator[bytes]:
    """Yield the content of a zip member in blocks of up to `most` bytes; its method must be in `ZIP_METHODS`.

    Raises:
      One of `DAMAGE`, after the last byte before the damage has been yielded, or if the checksum is wrong.
    """
    file.seek(member.header_offset)
    header = file.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\3\4":
        raise zipfile.BadZipFile(f"no header of {member.filename!r} at the position in the directory")
    # Take the lengths from the local header: its extra field may differ in length from the one in the directory.
    _, name, extra = _LOCAL_HEADER.unpack(header)
    file.seek(name + extra, 1)
    end, packing = file.tell() + member.compress_size, ZIP_METHODS[member.compress_type]
    blocks = _pieces(file, end, most) if packing is None else inflated(file, packing, most, end=end)
    size = check = 0
    for block in blocks:
        size, check = size + len(block), zlib.crc32(block, check)
        yield block
    if (size, check) != (member.file_size, member.CRC):
        raise zipfile.BadZipFile(f"length or checksum of {member.filename!r} differ from the directory")
