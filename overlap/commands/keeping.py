"""Verbs that take the best out of a study, and what is no longer needed out of its store."""

from __future__ import annotations

from pathlib import Path

import click

from overlap.commands.arguments import AS_JSON, STUDY
from overlap.printing import show


@click.command()
@STUDY
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--data", help="The data set whose results say which is best; the study's first without it.")
@click.option("--search", help="A search of the table `searches`; else the greedy one that may take everything.")
@click.option("--size", type=click.IntRange(min=1), help="Members; else those of its best step.")
@click.option("--models", help="Names instead of a search: a,b,b counts b twice.")
@click.option("--programs/--no-programs", default=True, help="Also torch.export programs, for use without overlap.")
@AS_JSON
def export(
    study: Path,
    folder: Path,
    data: str | None,
    search: str | None,
    size: int | None,
    models: str | None,
    programs: bool,
    as_json: bool,
) -> None:
    """Write the best ensemble as a folder: weights, how each member is prepared, and torch programs.

    `overlap.ensemble.load(FOLDER)` is then a torch module; torch.export.load("FOLDER/programs/….pt2").module() needs
    torch alone.
    """
    from overlap.console import Terminal
    from overlap.ensemble import exporting
    from overlap.study import load_study

    named = tuple(models.split(",")) if models else ()
    with Terminal() as terminal:
        done = exporting.export_study(
            load_study(study),
            folder,
            data=data,
            search=search,
            size=size,
            models=named,
            programs=programs,
            say=terminal.say,
        )
    show(exporting.as_json(done), as_json, lambda: exporting.as_text(done))


@click.command()
@STUDY
@click.option("--delete/--dry-run", default=False, help="Remove it; without this it is only said what would go.")
@AS_JSON
def gc(study: Path, delete: bool, as_json: bool) -> None:
    """Remove orphans from the store, and what the study's [retention] names. First only says what, and why.

    Safe while runs go on: nothing younger than retention.grace (24h) is touched, and nothing that anything refers to.
    """
    from overlap.console import Terminal
    from overlap.keeping import clearing
    from overlap.study import load_study

    with Terminal() as terminal:
        cleared = clearing.clear(load_study(study), delete=delete, progress=terminal.progress)
    show(clearing.as_json(cleared), as_json, lambda: clearing.as_text(cleared))
