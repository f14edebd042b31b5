"""The content of a report as plain data: sections of paragraphs, tables and pictures."""

import dataclasses
import io
import math
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

SVG, PNG, GIF = "image/svg+xml", "image/png", "image/gif"
DOTS = 140  # per inch, of raster pictures: sharp in print at the width of a page
_SETTINGS: dict[Any, Any] = {"svg.hashsalt": "lob_jax", "svg.fonttype": "path"}  # the same figure gives the same bytes


@dataclasses.dataclass(frozen=True)
class Number:
    """A number of a table.

    Attributes:
      value: the number.
      form: its format specification; "" for four significant digits.
      low, high: the ends of its interval, if it has one.
    """

    value: float
    form: str = ""
    low: float | None = None
    high: float | None = None


@dataclasses.dataclass(frozen=True)
class Absent:
    """A number that is not there, and the reason."""

    reason: str


Cell = str | int | float | Number | Absent | None


@dataclasses.dataclass(frozen=True)
class Table:
    """A table, whose first column names the rows.

    Attributes:
      caption: what it shows, with units and numbers of observations.
      columns: headings, the first one of the rows' names.
      rows: cells; a text is set to the left, a number to the right, and None is an absent number.
      note: a remark below the table.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """An encoded image.

    Attributes:
      name: a name without spaces, unique in a report.
      data: the bytes of the file.
      kind: its MIME type.
      alt: what it shows, for readers who do not see it.
      caption: the text below it.
    """

    name: str
    data: bytes
    kind: str
    alt: str
    caption: str


@dataclasses.dataclass(frozen=True, eq=False)
class Section:
    """A section of a report.

    Attributes:
      title: its heading.
      paragraphs: sentences, before tables and pictures.
      tables: its tables.
      pictures: its pictures.
      left_out: what the section could have had and does not, each with the reason.
    """

    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A section that cannot be written.

    Attributes:
      title: its heading.
      reason: why, as a sentence, with what would provide it.
    """

    title: str
    reason: str


def picture(figure: Figure, *, name: str, alt: str, caption: str, vector: bool = True) -> Picture:
    """Encode a figure as SVG or, for one with very many points, as PNG."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(_SETTINGS):
        if vector:
            figure.savefig(buffer, format="svg", metadata={"Date": None})
        else:
            figure.savefig(buffer, format="png", dpi=DOTS)
    return Picture(name, buffer.getvalue(), SVG if vector else PNG, alt, caption)


def absent(cell: Cell) -> Absent | None:
    """Return why a cell holds no number; None if it holds a number or a text."""
    if cell is None:
        return Absent("not computed")
    if isinstance(cell, Absent):
        return cell
    value = cell.value if isinstance(cell, Number) else cell
    return None if isinstance(value, str) or math.isfinite(value) else Absent("not a finite number")


def written(value: float, form: str = "") -> str:
    """Return a finite number as text: with a form, a whole number with separators, or with four significant digits."""
    if form:
        return format(value, form)
    if isinstance(value, int):
        return f"{value:,}"
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1e7 or size < 1e-4:
        return f"{value:.3e}"
    return f"{value:,.{max(0, 3 - math.floor(math.log10(size)))}f}"


def cell_text(cell: Cell) -> str:
    """Return a cell as text, "n/a" for an absent number."""
    if absent(cell) is not None:
        return "n/a"
    if isinstance(cell, str):
        return cell
    number = as_number(cell)
    ends = interval(number)
    return written(number.value, number.form) + (f" ({ends})" if ends else "")


def as_number(cell: Cell) -> Number:
    """Return a cell that holds a number as one without a form."""
    if isinstance(cell, Number):
        return cell
    assert isinstance(cell, int | float)  # the other cells are texts and absent numbers
    return Number(cell)


def interval(number: Number) -> str:
    """Return the interval of a number as text, "" if it has none."""
    if number.low is None or number.high is None or not (math.isfinite(number.low) and math.isfinite(number.high)):
        return ""
    return f"{written(number.low, number.form)} to {written(number.high, number.form)}"


def reasons(table: Table) -> list[str]:
    """Return the distinct reasons for the absent numbers of a table, in order."""
    found = [absent(cell) for row in table.rows for cell in row]
    return list(dict.fromkeys(one.reason for one in found if one is not None))


def plain_cell(cell: Cell) -> Any:
    """Return a cell as a plain JSON value: text, number, number with its interval, or the reason for its absence."""
    missing = absent(cell)
    if missing is not None:
        return {"absent": missing.reason}
    if isinstance(cell, Number):
        if cell.low is None or cell.high is None:
            return cell.value
        return {"value": cell.value, "low": cell.low, "high": cell.high}
    return cell


def plain_section(section: Section) -> dict[str, Any]:
    """Return a section as plain values as in JSON, with pictures by name."""
    return {
        "title": section.title,
        "paragraphs": list(section.paragraphs),
        "tables": [
            {
                "caption": table.caption,
                "columns": list(table.columns),
                "rows": [[plain_cell(cell) for cell in row] for row in table.rows],
                "note": table.note,
            }
            for table in section.tables
        ],
        "pictures": [{"name": one.name, "alt": one.alt, "caption": one.caption} for one in section.pictures],
        "left_out": list(section.left_out),
    }


def table_of(caption: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, note: str = "") -> Table:
    """Return a table; every row must have a cell for each column."""
    assert all(len(row) == len(columns) for row in rows), caption
    return Table(caption, tuple(columns), tuple(tuple(row) for row in rows), note)
