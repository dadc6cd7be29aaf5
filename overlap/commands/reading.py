"""Verbs that read a study and its store, and show what is there."""

from __future__ import annotations

from pathlib import Path

import click

from overlap.commands.arguments import AS_JSON, STUDY
from overlap.printing import as_text, show


@click.command()
@STUDY
@AS_JSON
def status(study: Path, as_json: bool) -> None:
    """Show from the store alone what is done, missing and failed, by checkpoint."""
    from overlap import status as reading
    from overlap.study import load_study

    states = reading.state(load_study(study))
    show(reading.as_json(states), as_json, lambda: reading.lines(states))


@click.command()
@STUDY
@click.option("--csv", "as_csv", is_flag=True, help="Write all columns as csv.")
@AS_JSON
def zoo(study: Path, as_csv: bool, as_json: bool) -> None:
    """List the checkpoints that a study resolves to, with every column."""
    from overlap.study import load_study
    from overlap.zoo.listing import listing

    table = listing(load_study(study))
    if as_csv:
        click.echo(table.write_csv(), nl=False)
    else:
        show(table.to_dicts(), as_json, lambda: as_text(table))


@click.command()
@click.argument("table", required=False)
@AS_JSON
def keys(table: str | None, as_json: bool) -> None:
    """List what a study file may say: every key, or those of one TABLE; with --json the JSON schema, for editors."""
    from overlap import study_keys

    show(study_keys.schema() if as_json else None, as_json, lambda: "\n".join(study_keys.lines(table)))


@click.command()
@STUDY
@AS_JSON
def report(study: Path, as_json: bool) -> None:
    """Draw the reports again from the stored results, without computing anything."""
    from overlap.study import load_study
    from workflows.publish import again

    shown = again(load_study(study))
    show([where for _, where, _ in shown], as_json, lambda: "\n".join(where for _, where, _ in shown))


@click.command()
@STUDY
@AS_JSON
def sync(study: Path, as_json: bool) -> None:
    """Bring MLflow up to date with the stored results, after it was down or replaced. Never doubles anything."""
    from overlap.errors import TrackingError
    from overlap.study import load_study
    from workflows.publish import again

    shown = again(load_study(study))
    for _, _, refused in shown:
        if refused is not None:
            raise TrackingError(refused)
    show([data for data, _, _ in shown], as_json, lambda: "\n".join(f"{data}: in MLflow" for data, _, _ in shown))
