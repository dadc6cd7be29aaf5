"""The report: one HTML file that opens offline, in a light or a dark room, at a desk or on a telephone.

Guarantees that the page asks the network for nothing (its content policy forbids it) and that every text from the study
is escaped. The file's size is bounded: large tables are cut (`grids`), large scatters become images, and only so many
thumbnails travel (`thumbnails`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from markupsafe import Markup, escape

from overlap.news import News, of_plain
from overlap.report import thumbnails
from overlap.report.absences import absences
from overlap.report.across import across_rows
from overlap.report.carried import carried
from overlap.report.figures import Figure, draw_figures, left_out
from overlap.report.findings import find
from overlap.report.grids import GRIDS
from overlap.report.meanings import MEANINGS
from overlap.report.news import KINDS, ensemble_sentence, headline, model_line, size_row
from overlap.report.palette import every_colour, label
from overlap.report.results import Results
from overlap.report.schedule import balance, workers
from overlap.report.wording import number, percent, points

SCRIPTS = ("dom", "unpack", "filter", "grid", "heat", "panel", "model", "pair", "start")
"""Parts of the page's script, in the order in which they build on each other."""
STANDINGS = {
    "beyond": ("beyond chance", "Beyond chance"),
    "within": ("not beyond chance", "Cannot be told from chance"),
    "untested": ("not tested", "Described, not tested"),
}


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
    script = "\n".join((folder / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    return environment.get_template("page.html.j2").render(
        results=results,
        findings=find(results),
        news=None if (told := of_plain(results.news)) is None else _news(told),
        figures={figure.name: figure for figure in drawn},
        said=[figure for figure in drawn if figure.says is not None and not figure.name.startswith("categories-")],
        standings=STANDINGS,
        choices=[figure for figure in drawn if figure.choice],
        greedy=[figure for figure in drawn if figure.name.startswith("greedy-")],
        left_out=left_out(results),
        svg={figure.name: themed(figure.svg) for figure in drawn},
        heat=_embedded([{"order": figure.order, "box": figure.box} for figure in drawn if figure.order]),
        grids={grid.name: grid for grid in GRIDS if grid.name in tables},
        data={name: Markup(text) for name, text in carried(results).items()},
        thumbnails=_embedded(thumbnails.carried(results)),
        class_names=_embedded(class_names(results)),
        absences=absences(tables),
        across=across_rows(results.data, results.across),
        balance=None if results.schedule is None else balance(results.schedule),
        workers=[] if results.schedule is None else workers(results.schedule).to_dicts(),
        meanings={name: MEANINGS[name] for table in tables.values() for name in table.columns if name in MEANINGS},
        colours=every_colour(),
        css=Markup((folder / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
    )


def _news(news: News) -> dict[str, Any]:
    """What the section on what is new shows."""
    return {
        "of": news,
        "headline": headline(news),
        "models": [(one, KINDS[one.change], model_line(one).removeprefix(one.model)) for one in news.models],
        "ensembles": ensemble_sentence(news),
        "sizes": [size_row(one) for one in news.sizes],
    }


def class_names(results: Results) -> Mapping[int, str]:
    """Names of classes by number, as the scores of classes have them; empty where nothing was scored."""
    scores = results.table("class_scores")
    if scores.is_empty():
        return {}
    return dict(scores.select("class", "name").drop_nulls().unique("class").sort("class").iter_rows())


def _embedded(value: Any) -> Markup:
    """JSON that no text in it can leave."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


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
