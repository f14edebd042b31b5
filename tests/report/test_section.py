"""Cells of tables: sensible digits, and a reason for every number that is not there."""

import math

import pytest
from matplotlib.figure import Figure

from lob_jax.report.section import (
    GIF,
    PNG,
    SVG,
    Absent,
    Number,
    Section,
    absent,
    cell_text,
    picture,
    plain_section,
    reasons,
    table_of,
)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("word", "word"), (1234567, "1,234,567"), (0.0, "0"), (0.123456, "0.1235"), (29.16769, "29.17"),
        (-1234.5, "-1,234"), (123456.7, "123,457"), (2.5e-7, "2.500e-07"), (3e9, "3.000e+09"), (0.00123456, "0.001235"),
        (Number(0.5, ".1%"), "50.0%"), (Number(2.0, ".2f", 1.0, 3.0), "2.00 (1.00 to 3.00)"),
        (Number(2.0, ".2f", 1.0, math.nan), "2.00"), (None, "n/a"), (math.nan, "n/a"), (Absent("why"), "n/a"),
        (Number(math.inf), "n/a"),
    ],
)  # fmt: skip
def test_a_cell_is_written_with_sensible_digits(cell, text):
    assert cell_text(cell) == text


def test_a_number_that_is_not_there_has_a_reason():
    assert absent(None).reason == "not computed" and absent(math.inf).reason == "not a finite number"
    assert absent(Absent("too few")).reason == "too few" and absent("word") is None and absent(0) is None
    table = table_of("t", ("a", "b", "c"), [("x", None, Absent("too few")), ("y", None, 1)])
    assert reasons(table) == ["not computed", "too few"]


def test_a_row_has_a_cell_for_every_column():
    with pytest.raises(AssertionError, match="counts"):
        table_of("counts", ("a", "b"), [("x",)])


def test_a_section_is_plain_values_with_pictures_by_name():
    table = table_of("t", ("a", "b"), [("x", Number(1.0, "", 0.5, 2.0)), ("y", math.nan), ("z", Number(3.0))])
    plain = plain_section(Section("Title", ("text",), (table,), (picture_of(vector=True),)))
    assert plain["tables"][0]["rows"] == [
        ["x", {"value": 1.0, "low": 0.5, "high": 2.0}], ["y", {"absent": "not a finite number"}], ["z", 3.0],
    ]  # fmt: skip
    assert plain["pictures"] == [{"name": "p", "alt": "a line", "caption": "A line."}]


def picture_of(*, vector):
    figure = Figure()
    figure.subplots().plot([1, 2])
    return picture(figure, name="p", alt="a line", caption="A line.", vector=vector)


def test_pictures_are_svg_or_png_and_the_same_each_time():
    assert picture_of(vector=True).kind == SVG and picture_of(vector=True).data == picture_of(vector=True).data
    raster = picture_of(vector=False)
    assert raster.kind == PNG and raster.data.startswith(b"\x89PNG") and GIF == "image/gif"
