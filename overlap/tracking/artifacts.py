"""The files of a reduction's run: its tables, its figures and its page, as they lie in the results folder.

Small tables are written as CSV too, since MLflow shows those in place and parquet not.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from overlap.report.figures import Figure
from overlap.report.results import Results
from overlap.report.schedule import workers

SHOWN_IN_PLACE = (
    *("models", "categories", "ensembles", "divergence_categories", "category_tests", "axes", "gain_fits", "searches"),
    *("pareto", "specialisation_categories", "feature_mixing_summary", "feature_compression_summary"),
    "feature_downstream",
)


def write(folder: Path, results: Results, figures: Sequence[Figure], page: str | None) -> None:
    """Write everything under `folder`, which exists."""
    tables, drawings = folder / "tables", folder / "figures"
    tables.mkdir()
    drawings.mkdir()
    for name, table in results.tables().items():
        if name in results.files:
            shutil.copyfile(results.files[name].path, tables / f"{name}.parquet")
        else:
            table.write_parquet(tables / f"{name}.parquet")
        if name in SHOWN_IN_PLACE:
            table.write_csv(tables / f"{name}.csv")
    if results.across is not None:
        results.across.write_parquet(tables / "across-summary.parquet")
        results.across.write_csv(tables / "across-summary.csv")
    if results.schedule is not None:
        results.schedule.write_parquet(tables / "schedule.parquet")
        workers(results.schedule).write_csv(tables / "workers.csv")
    for figure in figures:
        (drawings / f"{figure.name}.svg").write_text(figure.svg, encoding="utf-8")
    if results.news is not None:
        (folder / "news.json").write_text(json.dumps(results.news, indent=2, ensure_ascii=False), encoding="utf-8")
    if page is not None:
        (folder / "report.html").write_text(page, encoding="utf-8")
