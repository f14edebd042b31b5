"""The report in a real browser: figures appear, nothing fails, and it prints."""

import math

import pytest

from lob_jax.report.report import sections_of, write_page
from tests.report import browser
from tests.report.sample import material

IMAGES = (
    "[...document.images].map(one => [one.closest('figure').id, one.complete, one.naturalWidth, one.naturalHeight])"
)
CELLS = """[...document.querySelectorAll('td.number')].map(
  one => [one.textContent, one.dataset.value ?? null, one.title, one.classList.contains('absent')])"""
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"

pytestmark = pytest.mark.skipif(browser.found() is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser.browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    sections, left_out = sections_of(material())
    path = tmp_path_factory.mktemp("report") / "report.html"
    return sections, write_page(path, sections, title="Report of sample", lead="A sample.", left_out=left_out)


@pytest.mark.slow
def test_the_report_shows_every_figure_and_number_without_an_error_at_any_width(page, report):
    sections, path = report
    for width in (1280, 360):
        page.resize(width, 900)
        page.open(path)
        assert page.evaluate(FITS), f"the page is wider than {width} pixels"
        images = page.evaluate(IMAGES)
        assert [one[0] for one in images] == [f"figure-{one.name}" for of in sections for one in of.pictures]
        assert all(complete and wide > 0 and high > 0 for _, complete, wide, high in images)
    assert {"figure-facts", "figure-faults"} <= {one[0] for one in images}
    cells = page.evaluate(CELLS)
    rows = [row for section in sections for table in section.tables for row in table.rows]
    assert len(cells) == sum(not isinstance(cell, str) for row in rows for cell in row) > 200
    for text, value, title, absent in cells:
        assert (text == "n/a" and title and value is None) if absent else math.isfinite(float(value)), (text, value)
    assert page.evaluate("document.scripts.length") == 0
    assert page.errors == []


@pytest.mark.slow
def test_the_report_prints_to_pdf(page, report):
    page.open(report[1])
    printed = page.pdf()
    assert printed.startswith(b"%PDF") and printed.count(b"/Type /Page\n") > 5


@pytest.mark.slow
def test_the_browser_reports_the_faults_that_these_tests_look_for(page, tmp_path):
    """A broken image, a script that throws and a request to a network are seen."""
    broken = tmp_path / "broken.html"
    policy = "<meta http-equiv='Content-Security-Policy' content=\"img-src data:\">"
    broken.write_text(
        f"{policy}<figure id='f'><img src='data:image/png;base64,AAAA'><img src='http://localhost:9/x.png'></figure>"
        "<script>throw new Error('seen')</script>"
    )
    before = list(page.errors)
    page.open(broken)
    assert [one[2] for one in page.evaluate(IMAGES)] == [0, 0]
    new = page.errors[len(before) :]
    assert any("Uncaught" in one for one in new) and any("Content Security Policy" in one for one in new)
    del page.errors[len(before) :]
