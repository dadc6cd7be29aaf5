"""Verbs that bring in predictions made elsewhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from overlap.commands.arguments import AS_JSON, STUDY


@click.command(name="import")
@STUDY
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--data", help="The data set that was predicted; for a study of imports alone `imported`.")
@AS_JSON
def import_(study: Path, file: Path, data: str | None, as_json: bool) -> None:
    """Store predictions made elsewhere: csv or parquet with model, key, label, prediction. `run` then reduces them."""
    from overlap.imports import import_file
    from overlap.study import load_study

    outcome = import_file(load_study(study), file, data)
    if as_json:
        click.echo(json.dumps(vars(outcome)))
    else:
        click.echo(
            f"{len(outcome.stored)} models stored, {len(outcome.unchanged)} unchanged, {len(outcome.refused)} refused"
        )
    for model, reason in outcome.refused.items():
        click.echo(f"refused: model '{model}' {reason}", err=True)
    sys.exit(3 if outcome.refused else 0)
