"""The page: one file that loads nothing, whose text is escaped, with a heading for every row and column."""

import html.parser
import re

from lob_jax.report.page import anchor, page
from lob_jax.report.section import Absent, LeftOut, Number, Section, table_of
from tests.report.sample import image

TABLE = table_of(
    "A & B", ("name", "value", "kind"), [("<x>", Number(1.5, ".2f", 1.0, 2.0), "a"), ("y", Absent("no <data>"), "<b>")]
)
SECTIONS = [
    Section("Summary", ("One < two.",), (TABLE,)),
    Section("More of it", pictures=(image("grey"),), left_out=("depth: none",)),
]


def text():
    return page(SECTIONS, title="T & co", lead="<lead>", left_out=[LeftOut("Gone", "not <there>")], footer="end")


class Tags(html.parser.HTMLParser):
    """Collects the tags with their attributes, and checks that each is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_every_tag_is_closed_and_all_text_is_escaped():
    tags = Tags()
    tags.feed(text())
    assert tags.open == []
    for part in (
        "T &amp; co",
        "&lt;lead&gt;",
        "One &lt; two.",
        "A &amp; B",
        "&lt;x&gt;",
        "no &lt;data&gt;",
        "&lt;b&gt;",
        "not &lt;there&gt;",
    ):
        assert part in text()
    assert "<x>" not in text() and "<b>" not in text() and "<lead>" not in text()


def test_nothing_is_loaded_and_no_script_runs():
    tags = Tags()
    tags.feed(text())
    sources = [attrs[name] for _, attrs in tags.seen for name in ("src", "href") if name in attrs]
    assert sources and all(source.startswith(("data:", "#")) for source in sources)
    assert "script" not in {tag for tag, _ in tags.seen}
    assert not re.search(r"url\(|@import|https?://", text())


def test_tables_have_headings_with_scopes_and_numbers_say_what_they_are():
    tags = Tags()
    tags.feed(text())
    scopes = [attrs["scope"] for tag, attrs in tags.seen if tag == "th"]
    assert scopes == ["col"] * 3 + ["row"] * 2
    cells = [attrs for tag, attrs in tags.seen if tag == "td"]
    assert [cell.get("data-value") for cell in cells] == ["1.5", None, None, None]
    assert cells[2]["title"] == "no <data>" and cells[2]["class"] == "number absent"
    assert '<span class="interval">1.00 to 2.00</span>' in text() and "n/a: no &lt;data&gt;." in text()


def test_links_lead_to_sections_and_pictures_have_a_text_for_those_who_do_not_see_them():
    tags = Tags()
    tags.feed(text())
    ids = {attrs["id"] for _, attrs in tags.seen if "id" in attrs}
    links = {attrs["href"] for tag, attrs in tags.seen if tag == "a"}
    assert links == {"#summary", "#more-of-it", "#left-out"} and {link[1:] for link in links} <= ids
    (shown,) = [attrs for tag, attrs in tags.seen if tag == "img"]
    assert shown["alt"] == "grey squares of grey" and shown["src"].startswith("data:image/png;base64,")
    assert anchor("Model & configuration") == "model-configuration"
