"""Render a report as one HTML file, which needs neither a network nor scripts."""

import base64
import re
from collections.abc import Sequence
from html import escape

from lob_jax.report.section import (
    Cell,
    LeftOut,
    Picture,
    Section,
    Table,
    absent,
    as_number,
    interval,
    reasons,
    written,
)
from lob_jax.report.style import STYLE

# Nothing is loaded: a page that tries to fails in the browser's console, which a test reads.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(sections: Sequence[Section], *, title: str, lead: str, left_out: Sequence[LeftOut] = (), footer: str) -> str:
    """Return a complete HTML document.

    Args:
      sections: the sections, the summary first; its paragraphs are set off as verdicts.
      title: the heading of the page.
      lead: a sentence below it.
      left_out: sections that could not be written, listed at the end.
      footer: a sentence at the end.
    """
    parts = [_section(section, first=not number) for number, section in enumerate(sections)]
    if left_out:
        items = "".join(f"<li><strong>{escape(one.title)}</strong>: {escape(one.reason)}</li>" for one in left_out)
        parts.append(f'<section id="left-out"><h2>Left out</h2><ul>{items}</ul></section>')
    titles = [section.title for section in sections] + (["Left out"] if left_out else [])
    links = "".join(f'<li><a href="#{anchor(one)}">{escape(one)}</a></li>' for one in titles)
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            "</head>",
            "<body>",
            f'<header class="page"><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>',
            f'<nav aria-label="Sections"><ul>{links}</ul></nav></header>',
            "<main>",
            *parts,
            "</main>",
            f'<footer class="page"><p>{escape(footer)}</p></footer>',
            "</body>",
            "</html>",
            "",
        ]
    )


def anchor(title: str) -> str:
    """Return the id of the section with a title."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _section(section: Section, *, first: bool) -> str:
    style = ' class="verdict"' if first else ""
    inside = [f"<p{style}>{escape(paragraph)}</p>" for paragraph in section.paragraphs]
    inside += [_table(table) for table in section.tables]
    inside += [_picture(one) for one in section.pictures]
    inside += [f'<p class="note">Left out: {escape(one)}</p>' for one in section.left_out]
    body = "\n".join(inside)
    return f'<section id="{anchor(section.title)}"><h2>{escape(section.title)}</h2>\n{body}\n</section>'


def _table(table: Table) -> str:
    numeric = [_is_numeric([row[k] for row in table.rows]) for k in range(len(table.columns))]
    headings = "".join(
        f'<th scope="col"{" class=" + chr(34) + "number" + chr(34) if right else ""}>{escape(heading)}</th>'
        for heading, right in zip(table.columns, numeric, strict=True)
    )
    rows = "\n".join(
        "<tr>" + "".join(_cell(cell, names=not k) for k, cell in enumerate(row)) + "</tr>" for row in table.rows
    )
    notes = [table.note] if table.note else []
    notes += [f"n/a: {'; '.join(reasons(table))}."] if reasons(table) else []
    below = "".join(f'<p class="note">{escape(note)}</p>' for note in notes)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.caption)}">'
        f"<table><caption>{escape(table.caption)}</caption><thead><tr>{headings}</tr></thead>\n"
        f"<tbody>{rows}</tbody></table></div>{below}"
    )


def _is_numeric(cells: Sequence[Cell]) -> bool:
    return bool(cells) and not any(isinstance(cell, str) for cell in cells)


def _cell(cell: Cell, *, names: bool) -> str:
    if isinstance(cell, str):
        return f'<th scope="row">{escape(cell)}</th>' if names else f'<td class="text">{escape(cell)}</td>'
    missing = absent(cell)
    if missing is not None:
        return f'<td class="number absent" title="{escape(missing.reason)}">n/a</td>'
    number = as_number(cell)
    ends = interval(number)
    below = f'<span class="interval">{escape(ends)}</span>' if ends else ""
    text = escape(written(number.value, number.form))
    return f'<td class="number" data-value="{float(number.value)!r}">{text}{below}</td>'


def _picture(one: Picture) -> str:
    source = f"data:{one.kind};base64,{base64.b64encode(one.data).decode()}"
    return (
        f'<figure id="figure-{escape(one.name)}"><div class="scroll" tabindex="0" role="region" '
        f'aria-label="{escape(one.name.replace("_", " "))}"><img src="{source}" alt="{escape(one.alt)}"></div>'
        f"<figcaption>{escape(one.caption)}</figcaption></figure>"
    )
