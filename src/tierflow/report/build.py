"""Write the report: read what a run left, compute the page, render it into one file."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from tierflow import tables
from tierflow.io.atomic import write_text
from tierflow.report import text
from tierflow.report.page import page
from tierflow.report.templating import environment_of
from tierflow.report.words import spoken

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jinja2 import Environment

    from tierflow.report.gallery import Baseline
    from tierflow.report.page import Material


def build(material: Material, html: Path) -> None:
    """Write the report of a run, whole or not at all.

    Args:
        material: What the report is made from; without a policy it shows what failed first.
        html: The file to write.
    """
    # A lone surrogate (half of a character in a broken name) can't be written as UTF-8.
    page_text = render(page(material)).encode("utf-8", "backslashreplace").decode("utf-8")
    write_text(html, page_text)


def render(content: Mapping[str, Any], template: str = "report.html.j2") -> str:
    """Fill a template. Every text is escaped; the only script that may run is the page's own, named by its hash."""
    script = asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    security = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        f"script-src 'sha256-{digest}'"
    )
    return (
        environment()
        .get_template(template)
        .render(
            **content,
            security=security,
            style=Markup(asset("style.css")),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            json=Markup(page_json(content["data"])),  # noqa: S704 - escaped by page_json
        )
    )


def coded(sentence: str) -> Markup:
    """Return a sentence in which what stands between backticks is set as code; everything is escaped.

    >>> coded("run `tierflow <x>`")
    Markup('run <code>tierflow &lt;x&gt;</code>')
    """
    parts = sentence.split("`")
    if len(parts) % 2 == 0:
        return escape(sentence)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )


def page_json(data: Any) -> str:
    r"""Return JSON that may stand inside a script element: no `<`, `>` or `&` is left, so nothing can end it.

    >>> page_json({"name": "</script>"})
    '{"name":"\\u003c/script\\u003e"}'
    """
    plain = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def read_baseline(path: Path) -> Baseline:
    """Read median and spread by (plate, channel, feature); empty when the run didn't get so far."""
    if not path.exists():
        return {}
    columns = tables.read(path, ["plate", "channel", "feature", "median", "mad"]).to_pydict()
    keys = zip(columns["plate"], columns["channel"], columns["feature"], strict=True)
    return dict(zip(keys, zip(columns["median"], columns["mad"], strict=True), strict=True))


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object of a run; None when it isn't there."""
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@cache
def environment() -> Environment:
    """Return the environment of the report's templates."""
    made = environment_of("tierflow.report")
    made.filters.update(
        size=text.size, short=lambda value: text.number(value, 3), printable=text.printable, spoken=spoken, coded=coded
    )
    return made


@cache
def asset(name: str) -> str:
    """Return a file beside the templates, such as the style sheet."""
    return files("tierflow.report").joinpath("templates", name).read_text(encoding="utf-8")
