"""Build self-contained HTML pages, which can be shared as a single file."""

import base64
import html
import string
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any

from evodevo.run.files import Missing


def page(title: str, *parts: str) -> str:
    """Return a whole page; `parts` are HTML."""
    template = string.Template(resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(title=html.escape(title), body="\n".join(parts))


def heading(text: str) -> str:
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def picture(name: str, png: bytes | Missing) -> str:
    """Return a PNG as an image, or a paragraph that says why it is missing."""
    if isinstance(png, Missing):
        return paragraph(f"{name}: {png}")
    return f'<img alt="{html.escape(name)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def legend(numbered: Sequence[tuple[str, str]]) -> list[str]:
    """Return a table of the names that pictures replace by numbers; empty if there are none."""
    about = "The pictures show numbers for these names, which no font on the machine can draw:"
    return [paragraph(about), labelled(numbered)] if numbered else []


def preformatted(text: str) -> str:
    return f"<pre>{html.escape(text)}</pre>"


def labelled(pairs: Iterable[tuple[str, Any]]) -> str:
    """Return a table of labels and values."""
    rows = "\n".join(
        f"<tr><th>{html.escape(key)}</th><td>{html.escape(str(value))}</td></tr>" for key, value in pairs
    )
    return f"<table>\n{rows}\n</table>"


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table with a row of headings."""
    head = "".join(f"<th>{html.escape(text)}</th>" for text in headings)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table>\n<tr>{head}</tr>\n{body}\n</table>"
