"""The report: one HTML file that opens offline, in a light or a dark room, at a desk or on a telephone.

Guarantees that the page asks the network for nothing (its content policy forbids it) and that every text from the study
is escaped. The file's size is bounded: large tables are cut (`grids.MOST_ROWS`), large scatters become images.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from markupsafe import Markup, escape

from overlap.report.columns import MEANINGS, absences
from overlap.report.figures import Figure, draw_figures
from overlap.report.findings import find
from overlap.report.grids import GRIDS, MOST_ROWS, packed
from overlap.report.palette import every_colour, label
from overlap.report.results import Results


def render_page(results: Results, figures: Sequence[Figure] | None = None) -> str:
    """The whole report as HTML text; pass `figures` where they are already drawn."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = files("overlap.report") / "page"
    environment = Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "points": points, "number": number, "label": label, "prose": prose}
    drawn = list(draw_figures(results) if figures is None else figures)
    tables = results.shown()
    return environment.get_template("page.html.j2").render(
        results=results,
        findings=find(results),
        figures={figure.name: figure for figure in drawn},
        greedy=[figure for figure in drawn if figure.name.startswith("greedy-")],
        svg={figure.name: themed(figure.svg) for figure in drawn},
        heat=Markup(json.dumps([{"order": f.order, "box": f.box} for f in drawn if f.order]).replace("<", "\\u003c")),
        grids={grid.name: grid for grid in GRIDS if grid.name in tables},
        most_rows=MOST_ROWS,
        data=packed(results),
        absences=absences(tables),
        meanings={name: MEANINGS[name] for table in tables.values() for name in table.columns if name in MEANINGS},
        colours=every_colour(),
        css=Markup((folder / "page.css").read_text(encoding="utf-8")),
        script=Markup((folder / "page.js").read_text(encoding="utf-8")),
    )


def themed(svg: str) -> Markup:
    """A drawing for the page: known colours become variables, its size follows the page, its ground is the page's."""
    for colour in every_colour():
        svg = svg.replace(colour.light, f"var(--{colour.variable})")
    head, rest = svg.split(">", 1)
    box = head.split('viewBox="', 1)[1].split('"', 1)[0]
    return Markup(f'<svg viewBox="{box}" xmlns="http://www.w3.org/2000/svg" role="img">{rest}')


def prose(text: str) -> Markup:
    """A plain text with `names` in backticks, escaped, the names set as code."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(part)
        if place % 2 and place < len(parts) - 1
        else part
        if not place % 2
        else "`" + part
        for place, part in enumerate(parts)
    )


def percent(value: Any) -> str:
    """A fraction as percent with one decimal, a dash where absent."""
    return "–" if value is None else f"{100 * float(value):.1f}%"


def points(value: Any) -> str:
    """A difference of fractions as signed percentage points with one decimal."""
    return "–" if value is None else f"{100 * float(value):+.1f}".replace("-", "−")


def number(value: Any, decimals: int = 2) -> str:
    """A plain number, a dash where absent."""
    return "–" if value is None else f"{float(value):.{decimals}f}".replace("-", "−")
