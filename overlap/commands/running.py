"""Verbs that bring a study up to date, or say what that would take."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from overlap.commands import scheduled
from overlap.commands.arguments import ADDRESS, AS_JSON, STUDY
from overlap.printing import show

if TYPE_CHECKING:
    from overlap.study import Study
    from workflows.outcome import Outcome


@click.command()
@click.option("--dir", "folder", type=click.Path(path_type=Path), default="overlap-demo", show_default=True)
@AS_JSON
def demo(folder: Path, as_json: bool) -> None:
    """Train a small zoo on real digits and run a whole study on it, without any server."""
    from overlap.console import Terminal
    from workflows.demo import demo as run_demo

    with Terminal() as terminal:
        study, outcomes = run_demo(folder.resolve(), terminal)
    _conclude(study, outcomes, as_json)


@click.command()
@STUDY
@ADDRESS
@click.option("--limit", type=click.IntRange(min=1), help="Only so many images, for a smoke run; kept apart.")
@click.option("--verify", is_flag=True, help="Hash everything again and check every certified object.")
@click.option("--offline", is_flag=True, help="Ask no hub and no web server for weights (also HF_HUB_OFFLINE=1).")
@click.option("--if-new", is_flag=True, help="First look, without any cluster, whether there is anything to do.")
@click.option("--detach", is_flag=True, help="With --if-new and a dashboard's address: send the job and leave.")
@click.option("--baked-in", is_flag=True, help="Of that job, as of submit.")
@click.option("--shared", type=click.Path(path_type=Path), multiple=True, help="Of that job, as of submit.")
@click.option("--env", multiple=True, metavar="NAME", help="Of that job, as of submit.")
@AS_JSON
def run(
    study: Path,
    address: str | None,
    limit: int | None,
    verify: bool,
    offline: bool,
    if_new: bool,
    detach: bool,
    baked_in: bool,
    shared: tuple[Path, ...],
    env: tuple[str, ...],
    as_json: bool,
) -> None:
    """Bring a study up to date: predict what is missing, reduce, report. Run it again whenever something may be new."""
    from overlap.study import load_study

    excluded = {"--limit": limit is not None, "--verify": verify, "--offline": offline}
    of_jobs = {"--detach": detach, "--baked-in": baked_in, "--shared": bool(shared), "--env": bool(env)}
    scheduled.check(address, if_new=if_new, excluded=excluded, of_jobs=of_jobs)
    loaded = load_study(study)
    if if_new:
        found = scheduled.run_if_new(
            loaded, address, detach=detach, as_json=as_json, baked_in=baked_in, shared=shared, env=env
        )
        _conclude(loaded, found, as_json)
    from overlap.console import Terminal
    from workflows.run import run as run_study
    from workflows.submission.outcome import left_in_store

    with Terminal() as terminal, left_in_store(loaded) as outcomes:
        outcomes.extend(run_study(loaded, terminal, address=address, limit=limit, verify=verify, offline=offline))
    _conclude(loaded, outcomes, as_json)


@click.command()
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
        from workflows.nodes.memory import smallest_gpu

        memory = smallest_gpu(loaded, address)
    planned = explanation.explain_plan(loaded, memory)
    show(explanation.as_json(planned), as_json, lambda: explanation.lines(planned, explain))


def _conclude(study: Study, outcomes: list[Outcome], as_json: bool) -> NoReturn:
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
        if outcome.notify_error:
            click.echo(f"warning: {outcome.notify_error}", err=True)
        if as_json:
            click.echo(json.dumps(outcome.summary()))
        elif outcome.results is not None:
            tracking = None if study.tracking.uri == "none" else how_to_open(study.tracking.uri)
            click.echo(summary_text(outcome.results, report=outcome.report, tracking=tracking))
            if outcome.across:
                click.echo(across_text(outcome.across) + "\n")
    sys.exit(max(outcome.exit_code for outcome in outcomes))
