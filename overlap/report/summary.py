"""What a terminal prints at the end of a study: the findings in a dozen lines.

Widths follow the console; nothing here depends on colour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlap.news import of_plain
from overlap.report.findings import Findings, Search, find
from overlap.report.news import headline, news_lines
from overlap.report.palette import label
from overlap.report.results import Results
from overlap.report.tested import tested
from overlap.report.wording import number, percent, points

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table


def summary(results: Results, *, report: str | None = None, tracking: str | None = None) -> Group:
    """The findings for a rich console; `report` and `tracking` are where the page is and how MLflow is opened."""
    from rich.console import Group, RenderableType
    from rich.text import Text

    found = find(results)
    parts: list[RenderableType] = [
        Text.assemble(
            (f"{results.study}", "bold"), f" on {results.data}: {found.models:,} models, {found.images:,} images"
        ),
        Text(),
    ]
    if found.best_single:
        best = found.best_single
        parts.append(
            Text.assemble(
                "Best single model  ", (str(best["model"]), "bold"), f"  {percent(best['accuracy'])} accuracy"
            )
        )
    for said, pair in (("Most alike pair   ", found.most_alike), ("Most unlike pair  ", found.most_unlike)):
        if pair and not found.categories:
            parts.append(Text(f"{said} {pair['model_a']} + {pair['model_b']}  κ {_kappa(pair)}"))
    if found.categories:
        parts += [Text(), _categories(found)]
    if lines := tested(results):
        width = max(len(heading) for heading, _ in lines)
        parts += [Text(), *(Text(f"{heading:{width}}  {said}") for heading, said in lines)]
    if found.best_search:
        parts += [Text(), _steps(found.best_search)]
    if (news := of_plain(results.news)) is not None:
        parts += [Text(), Text.assemble(("What is new  ", "bold"), headline(news)), *map(Text, news_lines(news))]
    if results.absent:
        parts += [Text(), Text(f"Not in these tables: {', '.join(results.absent)} (`overlap status` says why)")]
    if report:
        parts += [Text(), Text.assemble("Report  ", (report, "bold"))]
    if tracking:
        parts.append(Text.assemble("MLflow  ", (tracking, "bold")))
    return Group(*parts)


def summary_text(results: Results, *, report: str | None = None, tracking: str | None = None, width: int = 100) -> str:
    """The same as plain text, without escape sequences."""
    import io

    from rich.console import Console

    buffer = io.StringIO()
    Console(file=buffer, width=width, force_terminal=False, color_system=None).print(
        summary(results, report=report, tracking=tracking), soft_wrap=False
    )
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _table(*columns: tuple[str, bool]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name, right in columns:
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    return table


def _interval(low: object, high: object, show: object) -> str:
    return f"{show(low)} – {show(high)}" if callable(show) and low is not None and high is not None else "no interval"


def _kappa(pair: dict[str, object]) -> str:
    return f"{number(pair['kappa'])} ({_interval(pair.get('kappa_low'), pair.get('kappa_high'), number)})"


def _categories(found: Findings) -> Table:
    table = _table(
        ("Pairs that differ in", False),
        ("pairs", True),
        ("EI", True),
        ("95%", False),
        ("κ", True),
        ("95%", False),
        ("κ matched", True),
        ("gain", True),
    )
    for row in found.categories:
        table.add_row(
            label(str(row["category"])),
            f"{row['pairs']:,}",
            percent(row["error_inconsistency"]),
            _interval(row.get("error_inconsistency_low"), row.get("error_inconsistency_high"), percent),
            number(row["kappa"]),
            _interval(row.get("kappa_low"), row.get("kappa_high"), number),
            number(row.get("kappa_matched")),
            points(row.get("gain_best")),
        )
    return table


def _steps(search: Search) -> Table:
    table = _table(
        (f"Best ensemble ({search.name})", False), ("test split", True), ("added", True), ("gain, 95%", False)
    )
    before: float | None = None
    for step in search.members:
        now = step.accuracy_test
        table.add_row(
            f"{step.number}. {step.model}",
            percent(now),
            "" if before is None or now is None else points(now - before),
            _interval(step.gain_low, step.gain_high, points) if step.number > 1 else "",
        )
        before = now
    return table
