"""The command line: one verb, one function. Everything heavy is imported inside the verb that needs it.

Standard output carries what was asked for (a table, or JSON with `--json`), standard error the progress. Exit codes: 0
done, 1 a bug, 2 a mistake in the study or the command, 3 some units failed and the rest is published.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from overlap import __version__
from overlap.errors import OverlapError
from overlap.printing import AS_JSON, as_text, show
from overlap.shards_command import shards

if TYPE_CHECKING:
    from overlap.study import Study
    from workflows.outcome import Outcome

STUDY = click.argument("study", type=click.Path(path_type=Path))
ADDRESS = click.option(
    "--address", help="A running Ray cluster (auto, ray://HOST:10001, HOST:6379); else Ray starts here."
)


class Verbs(click.Group):
    """Prints an expected failure as its one line and exits with its code; anything else is a bug and shows itself."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb."""
        try:
            return super().invoke(ctx)
        except OverlapError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Which image classifiers err together, which specialise, and which small ensemble of them is best."""


main.add_command(shards)


@main.command()
@click.option("--dir", "folder", type=click.Path(path_type=Path), default="overlap-demo", show_default=True)
@AS_JSON
def demo(folder: Path, as_json: bool) -> None:
    """Train a small zoo on real digits and run a whole study on it, without any server."""
    from overlap.console import Terminal
    from workflows.demo import demo as run_demo

    with Terminal() as terminal:
        study, outcomes = run_demo(folder.resolve(), terminal)
    _conclude(study, outcomes, as_json)


@main.command()
@STUDY
@ADDRESS
@click.option("--limit", type=click.IntRange(min=1), help="Only so many images, for a smoke run; kept apart.")
@click.option("--verify", is_flag=True, help="Hash everything again and check every certified object.")
@click.option("--offline", is_flag=True, help="Ask no hub and no web server for weights (also HF_HUB_OFFLINE=1).")
@AS_JSON
def run(study: Path, address: str | None, limit: int | None, verify: bool, offline: bool, as_json: bool) -> None:
    """Bring a study up to date: predict what is missing, reduce, report. Run it again whenever something may be new."""
    from overlap.console import Terminal
    from overlap.study import load_study
    from workflows.run import run as run_study

    loaded = load_study(study)
    with Terminal() as terminal:
        outcomes = run_study(loaded, terminal, address=address, limit=limit, verify=verify, offline=offline)
    _conclude(loaded, outcomes, as_json)


@main.command()
@STUDY
@click.option("--explain", is_flag=True, help="Say for each checkpoint why it is computed.")
@click.option("--gpu-memory", type=click.FloatRange(min=0, min_open=True), help="GiB of a GPU: what will not fit?")
@click.option("--address", help="A running Ray cluster whose smallest GPU is taken for --gpu-memory.")
@AS_JSON
def plan(study: Path, explain: bool, gpu_memory: float | None, address: str | None, as_json: bool) -> None:
    """Show what a run would compute, why, what it reuses, and what it costs. Computes nothing but digests."""
    from overlap.study import load_study
    from workflows import explain as explanation

    loaded = load_study(study)
    memory = None if gpu_memory is None else int(gpu_memory * explanation.GIB)
    if address is not None and memory is None:
        from workflows.memory import smallest_gpu

        memory = smallest_gpu(loaded, address)
    planned = explanation.explain_plan(loaded, memory)
    show(explanation.as_json(planned), as_json, lambda: explanation.lines(planned, explain))


@main.command()
@STUDY
@AS_JSON
def status(study: Path, as_json: bool) -> None:
    """Show from the store alone what is done, missing and failed, by checkpoint."""
    from overlap import status as reading
    from overlap.study import load_study

    states = reading.state(load_study(study))
    show(reading.as_json(states), as_json, lambda: reading.lines(states))


@main.command()
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


@main.command(name="import")
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


@main.command()
@STUDY
@AS_JSON
def report(study: Path, as_json: bool) -> None:
    """Draw the reports again from the stored results, without computing anything."""
    from overlap.study import load_study
    from workflows.publish import again

    shown = again(load_study(study))
    show([where for _, where, _ in shown], as_json, lambda: "\n".join(where for _, where, _ in shown))


@main.command()
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


def _conclude(study: Study, outcomes: list[Outcome], as_json: bool) -> None:
    """Say what a run came to, and exit with its code."""
    from overlap.report.across import across_text
    from overlap.report.summary import summary_text
    from overlap.tracking.server import how_to_open

    for outcome in outcomes:
        for reason, models in outcome.reasons.items():
            named = reason if f"'{models[0]}'" in reason else f"{', '.join(models)}: {reason}"
            click.echo(f"failed: {named}", err=True)
        for file, reason in outcome.blocked.items():
            click.echo(f"unreadable: {file}: {reason}", err=True)
        if outcome.blocked:
            click.echo(
                f"{outcome.data}: nothing reduced: mend the shards, or name them in allow_missing_shards", err=True
            )
        if outcome.tracking_error:
            click.echo(f"warning: {outcome.tracking_error}; `overlap sync {study.path}` fills it in later", err=True)
        if as_json:
            click.echo(json.dumps(outcome.summary()))
        elif outcome.results is not None:
            tracking = None if study.tracking.uri == "none" else how_to_open(study.tracking.uri)
            click.echo(summary_text(outcome.results, report=outcome.report, tracking=tracking))
            if outcome.across:
                click.echo(across_text(outcome.across) + "\n")
    sys.exit(max(outcome.exit_code for outcome in outcomes))


if __name__ == "__main__":
    main()
