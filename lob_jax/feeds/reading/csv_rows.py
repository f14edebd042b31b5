"""Read strict CSV block by block: columns are parsed to integers at once, and bad lines are identified by number.

Numbers never pass through a float: a decimal becomes an integer count of its last decimal place.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from lob_jax.errors import InputError
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.reading import csv_fields as cf
from lob_jax.feeds.reading.ahead import ahead
from lob_jax.feeds.reading.csv_lines import BOM, Lines, content_end, fields_of, first_row, is_text, unquoted
from lob_jax.feeds.reading.faults import Faults
from lob_jax.feeds.reading.scale import PlacesMisfit, step_of
from lob_jax.feeds.reading.source import Source, empty_file

CONTENTS: dict[str, int] = {content.name.lower(): int(content) for content in cf.Content}
_INT64 = np.iinfo(np.int64)
_REMEDY = "fetch the file again; if it was edited, restore the line"
_SHOWN = 80  # characters of a line or a field in an error
_NONE, _NO_VALUES = np.empty((0, 3), np.int64), np.empty(0, np.int64)


@dataclasses.dataclass(frozen=True)
class Column:
    """The content of one column.

    Attributes:
      name: used in errors, and required in a header.
      content: how the fields are parsed and stored:
        "int": an integer.
        "id": an unsigned integer, stored as the bits of an int64.
        "decimal": a decimal number with or without an exponent, stored in units of 10**-scale.
        "word": the index of the field among `words`.
        "same": the field of the first row, stored as 0.
        "any": ignored, stored as 0.
        "name": any text, stored as its `csv_fields.name_key`.
        "optional": like "decimal"; an empty field is stored as the largest int64.
        "time": ns since 1970 like an "id", or ISO 8601; an empty field is stored as -1.
      scale: decimal places of a "decimal"; a number with more places is a fault.
      words: the valid words of a "word".
      low: the smallest valid "int" or "decimal"; -1 lets an "id" be -1, which some feeds write for no order.
      high: the largest valid value.
      step: "tick" or "lot" if the scale depends on the file: the setting with which a user can decide it.
      scale_from: where the scale comes from: "format"; "guess", in which case a number that does not fit raises
        `PlacesMisfit`; "file", after counting all numbers; or "step", which the user named.
    """

    name: str
    content: str
    scale: int = 0
    words: tuple[str, ...] = ()
    low: int = _INT64.min
    high: int = _INT64.max
    step: str = ""
    scale_from: str = "format"


class Block(NamedTuple):
    """Some rows of a file.

    Attributes:
      values: int64 [C, R].
      line: int64 [R], their line numbers, from 1.
    """

    values: np.ndarray
    line: np.ndarray


class _Piece(NamedTuple):
    """Some complete lines, as another thread has read them.

    Attributes:
      data: the lines, without what surrounds them; with damage, what precedes it in its line.
      ended: whether the last line ended in a line feed.
      read: the bytes read so far and the total of the file on disk.
      damage: the error that ends the file before its end.
      first: the first line of the file with the right number of fields, None before it is found.
      values: int64 [C, R], what has been parsed, columns as in the file.
      row_line: int64 [R], lines of the values, from 0.
      bad: int64 [B, 4], the bad lines, see `csv_fields.parse_lines`.
      lines: number of lines.
    """

    data: bytes
    ended: bool = True
    read: tuple[int, int] | None = None
    damage: InputError | None = None
    first: bytes | None = None
    values: np.ndarray = _NO_VALUES
    row_line: np.ndarray = _NO_VALUES
    bad: np.ndarray = _NO_VALUES
    lines: int = 0


class Fault(NamedTuple):
    """A fault of a row.

    Attributes:
      column: index of the column at fault, from 0; None if the line as such is at fault.
      name: the column's name.
      what: the fault, without anything that differs from row to row.
      expected: what would have been right.
      was: what was found.
      remedy: what the user can do about it.
    """

    column: int | None
    name: str
    what: str
    expected: object
    was: object
    remedy: str


class Rules(Protocol):
    """The requirements of a format on rows whose fields are valid on their own."""

    def judge(self, values: np.ndarray, text: Callable[[int], tuple[str, ...]]) -> np.ndarray:
        """Return the faults, int64 [B, 3]: row (ascending), code of the fault, and a detail.

        Args:
          values: int64 [C, R]; may be changed.
          text: returns the fields of a row as text.
        """

    def explain(self, fault: int, detail: int, fields: tuple[str, ...]) -> Fault:
        """Describe a fault that `judge` returned, given the row as text."""


class CsvRows:
    """Iterates once over the rows of a file as `Block`s; bad lines are passed to `faults`.

    A byte-order mark, quotes around fields without a comma, and a blank last line are ignored. If there is a header,
    columns may come in any order, and others are ignored.

    Attributes:
      rows_read: lines read so far, including bad ones, excluding the header.
      refused: the fault of each bad line, by line number; the consumer deletes the entries it has dealt with.
      first: the fields, as text, of the first line with the right number of fields; empty before it is found.
      ended: whether the last line read ends in a line feed.
    """

    def __init__(
        self,
        source: Source,
        columns: Sequence[Column],
        *,
        header: tuple[str, ...] | None,
        reading: Reading,
        faults: Faults,
        rules: Rules | None = None,
    ):
        self.rows_read, self.ended = 0, True
        self.refused: dict[int, str] = {}
        self.first: tuple[str, ...] = ()
        self._source, self._columns, self._reading, self._faults = source, tuple(columns), reading, faults
        self._header, self._lines, self._rules = header, 0, rules
        self._order: list[int] | None = None  # positions in the file; None if it has exactly these columns
        self._read: tuple[int, int] | None = None  # as in `_Piece`

    def __iter__(self) -> Generator[Block]:
        with contextlib.closing(ahead(self._parsed())) as pieces:
            for piece in self._taken(pieces):
                yield self._block(piece)
        if not self._lines and not self.refused:
            expected = ",".join(self._header or [column.name for column in self._columns])
            raise empty_file(self._source, expected=expected)

    def count_places(self) -> np.ndarray:
        """Read the file instead of iterating; return what `csv_fields.count_places` counts, int64 [C, 2, P]."""
        total = np.zeros((len(self._columns), 2, cf.MOST_PLACES + 1), np.int64)
        for piece in self._taken(self._pieces()):
            contents = np.array([CONTENTS[column.content] for column in self._columns])
            counts = np.zeros((len(contents), *total.shape[1:]), np.int64)
            cf.count_places(np.frombuffer(piece.data, np.uint8), contents, counts)
            total += self._ordered(counts)
        return total

    def _taken(self, pieces: Iterator[_Piece]) -> Iterator[_Piece]:
        """Yield sound pieces; report progress, and refuse damage: it counts as the line that it truncates."""
        for piece in pieces:
            self._report(piece.read)
            if piece.damage is not None:
                self._faults.refuse(piece.damage, raw=piece.data)
                self.rows_read += 1
                self.refused[self._lines + 1] = piece.damage.what
                return
            self.ended = piece.ended
            yield piece
        self._report(self._read)

    def _report(self, read: tuple[int, int] | None) -> None:
        if self._reading.on_bytes is not None and read is not None:
            self._reading.on_bytes(*read)

    # The next four run in the thread that reads ahead: they share nothing with what the consumer does, except what is
    # known before the first piece and never changes again: order and kinds of the columns, and lines of the header.

    def _parsed(self) -> Generator[_Piece]:
        """Yield pieces with what their lines say."""
        first: bytes | None = None
        words: dict[str, np.ndarray] = {}
        for piece in self._pieces():
            if piece.damage is not None:
                yield piece
                return
            array = np.frombuffer(piece.data, np.uint8)
            lines = cf.count_lines(array)
            values = np.empty((len(self._columns), lines), np.int64)
            row_line, bad = np.empty(lines, np.int64), np.empty((lines, 4), np.int64)
            if first is None:
                first = first_row(piece.data, len(self._columns))
                words = _compiled_columns(self._columns, () if first is None else fields_of(first))
            _, rows, faults = cf.parse_lines(array, **words, values=values, row_line=row_line, bad=bad)
            yield piece._replace(
                first=first, values=values[:, :rows], row_line=row_line[:rows], bad=bad[:faults], lines=lines
            )

    def _pieces(self) -> Iterator[_Piece]:
        """Yield the lines of rows, without byte-order mark, unnecessary quotes and header; damage comes last."""
        begun = False
        for piece in self._whole_lines():
            if piece.damage is not None:
                yield piece
                return
            data = piece.data if begun else piece.data.removeprefix(BOM)
            data, begun = unquoted(data), True
            if self._header is not None:
                data = self._without_header(data, self._header)
            if data:
                yield piece._replace(data=data)

    def _whole_lines(self) -> Iterator[_Piece]:
        """Yield complete lines, block by block, and then the damage, if there is any."""
        rest = []
        try:
            for block in self._source.blocks(dataclasses.replace(self._reading, on_bytes=self._note)):
                cut = block.rfind(b"\n") + 1
                if not cut:
                    rest.append(block)
                    continue
                data = b"".join([*rest, memoryview(block)[:cut]])
                end = content_end(data)
                if end:
                    yield _Piece(data if end == len(data) else data[:end], read=self._read)
                rest = [part for part in (data[end:], block[cut:]) if part]
        except InputError as error:
            yield _Piece(b"".join(rest), read=self._read, damage=error)
            return
        last = b"".join(rest)
        if content_end(last):
            yield _Piece(last + b"\n", ended=False, read=self._read)

    def _note(self, read: int, size: int) -> None:
        self._read = (read, size)

    def _without_header(self, data: bytes, header: tuple[str, ...]) -> bytes:
        begin = data.index(b"\n") + 1
        found = fields_of(data[: begin - 1])
        if any(found.count(name) != 1 for name in header):
            raise InputError(
                "a header that does not match the format",
                where=f"{self._source}, line 1",
                expected=",".join(header),
                was=",".join(found)[:_SHOWN] or "an empty line",
                remedy="check that the file is of this format",
            )
        if found != header:
            named = dict(zip(header, self._columns, strict=True))
            self._order = [found.index(name) for name in header]
            self._columns = tuple(named.get(name, Column(name, "any")) for name in found)
        self._header, self._lines = None, 1
        return data[begin:]

    def _ordered(self, by_column: np.ndarray) -> np.ndarray:
        """Select the requested columns from an array over the file's columns."""
        return by_column if self._order is None else by_column[self._order]

    def _fields(self, line: bytes) -> tuple[str, ...]:
        """Return the fields of the requested columns as text."""
        fields = fields_of(line)
        return fields if self._order is None else tuple(fields[k] for k in self._order)

    def _block(self, piece: _Piece) -> Block:
        """Refuse what is wrong in a piece, and return the others of its rows."""
        if not self.first and piece.first is not None:
            self.first = self._fields(piece.first)
        values, row_line = self._ordered(piece.values), piece.row_line
        raw = Lines(piece.data)
        wrong = _NONE
        if self._rules is not None:
            wrong = self._rules.judge(values, lambda row: self._fields(raw[row_line[row]]))
        if len(piece.bad) or len(wrong):
            self._refuse(raw, piece.bad, wrong, row_line)
        if len(wrong):
            values, row_line = np.delete(values, wrong[:, 0], axis=1), np.delete(row_line, wrong[:, 0])
        first_line = self._lines + 1
        self.rows_read += piece.lines
        self._lines += piece.lines
        return Block(values, row_line + first_line)

    def _refuse(self, lines: Lines, bad: np.ndarray, wrong: np.ndarray, row_line: np.ndarray) -> None:
        """Refuse lines in file order: those that cannot be parsed, and those that break a rule."""
        found = [(line, False, fault, column) for line, _, column, fault in bad.tolist()]
        found += [(int(row_line[row]), True, fault, detail) for row, fault, detail in wrong.tolist()]
        for line, parsed, fault, detail in sorted(found):
            raw = lines[line]
            if parsed and self._rules is not None:
                told = self._rules.explain(fault, detail, self._fields(raw))
            else:
                told = self._misfit(raw, detail, fault)
            number = self._lines + line + 1
            where = f"{self._source}, line {number}"
            if told.column is not None:
                place = self._order[told.column] if parsed and self._order is not None else told.column
                where = f"{where}, column {place + 1} ({told.name})"
            cut_short = not parsed and not self.ended and line == len(lines) - 1
            what = f"a truncated last line, with {told.what}" if cut_short else told.what
            error = InputError(what, where=where, expected=told.expected, was=told.was, remedy=told.remedy)
            self._faults.refuse(error, raw=raw)
            self.refused[number] = what

    def _misfit(self, raw: bytes, column: int, fault: int) -> Fault:
        """Describe the fault of a line that cannot be parsed."""
        fields, columns = fields_of(raw), self._columns
        if not is_text(raw):
            return Fault(None, "", "a line that is not UTF-8", "plain text", repr(raw[:_SHOWN]), _REMEDY)
        if len(fields) != len(columns) or fault == cf.COLUMN_COUNT:
            was = f"{len(fields)}: {','.join(fields)[:_SHOWN]!r}" if raw.strip() else "an empty line"
            return Fault(None, "", "a wrong number of columns", f"{len(columns)} columns", was, _REMEDY)
        field, name = fields[column], columns[column].name
        if columns[column].scale_from == "guess" and fault in (cf.OUT_OF_RANGE, cf.TOO_FINE):
            raise PlacesMisfit
        what, expected = _expectation(columns[column], fault, field, self._first_of(column))
        was = repr(field[:_SHOWN]) if field else "an empty field"
        return Fault(column, name, what, expected, was, _remedy(columns[column], fault, field))

    def _first_of(self, column: int) -> str:
        """Return the first row's field in a column of the file."""
        place = column if self._order is None else self._order.index(column) if column in self._order else -1
        return self.first[place] if self.first and place >= 0 else ""


def _compiled_columns(columns: tuple[Column, ...], first: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the columns in the form that the compiled loop expects."""
    words, column_words = [], []
    for column, field in zip(columns, [*first, *[""] * len(columns)], strict=False):
        own = column.words if column.content == "word" else (field,) if column.content == "same" else ()
        column_words.append((len(words), len(words) + len(own)))
        words += [word.encode() for word in own]
    return {
        "contents": np.array([CONTENTS[column.content] for column in columns]),
        "scales": np.array([column.scale for column in columns]),
        "low": np.array([column.low for column in columns]),
        "high": np.array([column.high for column in columns]),
        "words": np.frombuffer(b"".join(words) + b"\0", np.uint8),
        "word_ends": np.cumsum([0, *map(len, words)]),
        "column_words": np.array(column_words),
    }


def _remedy(column: Column, fault: int, field: str) -> str:
    """Return the remedy for a field; if other numbers of the file decide its scale, name a step that fits this one."""
    if not column.step or fault not in (cf.OUT_OF_RANGE, cf.TOO_FINE):
        return _REMEDY
    if column.scale_from == "step":
        return f"correct the row, or set another {column.step}"
    step = step_of(field)
    if step is None:
        return "correct the row: the number does not fit within 2^60 units; or leave it out with on_error='skip'"
    return (
        f"set {column.step}={step!r}, which this number fits (numbers between its multiples are then refused), or use "
        "on_error='skip' to leave out the rows that do not fit the others"
    )


def _expectation(column: Column, fault: int, field: str, first: str) -> tuple[str, str]:
    """Return the fault of a field, and what it should be."""
    number = "a decimal number" if column.content in ("decimal", "optional") else "a whole number"
    if column.content == "time":
        return "a field that is not a time", "a time such as 2024-01-02T03:04:05.123456789Z, or ns since 1970"
    if fault == cf.UNKNOWN_WORD:
        return "an unknown word", " or ".join(column.words)
    if fault == cf.CHANGED:
        return f"a different {column.name} from the first row", first
    if fault == cf.TOO_FINE and column.scale_from == "step":
        article = "an" if column.name[0] in "aeiou" else "a"
        return f"{article} {column.name} between {column.step}s", f"a multiple of the {column.step}"
    if fault == cf.TOO_FINE:
        return "a number with too many decimal places", f"at most {column.scale} decimal places"
    if fault == cf.OUT_OF_RANGE and column.content == "id" and field.startswith("-"):
        return f"a negative {column.name}", "0 or more"
    if fault == cf.OUT_OF_RANGE:
        low, high = (0, 2**64 - 1) if column.content == "id" else (column.low, column.high)
        scale = 10**column.scale
        limits = f"{low}..{high}" if scale == 1 else f"{low / scale:g}..{high / scale:g}"
        return "a number out of range", limits
    return f"a field that is not {number}", "digits, with a minus sign in front if negative"
