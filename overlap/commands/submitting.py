"""Verbs that send a study to a cluster as a job, and look after such jobs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from overlap.commands.arguments import AS_JSON, DASHBOARD, STUDY
from overlap.printing import show

LEFT = 130
"""Exit code after Ctrl-C, as shells have it."""


@click.command()
@STUDY
@DASHBOARD
@click.option("--baked-in", is_flag=True, help="overlap is in the cluster's image (also OVERLAP_BAKED_IN=1).")
@click.option(
    "--shared",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A folder that every node mounts (also OVERLAP_SHARED).",
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Files and folders beside the study that stay here.")
@click.option("--env", multiple=True, metavar="NAME", help="A variable to hand on; the dashboard keeps its value.")
@click.option("--again", is_flag=True, help="Even where the last job with the same inputs did everything.")
@click.option("--detach", is_flag=True, help="Print the job's id and leave.")
@click.option("--limit", type=click.IntRange(min=1), help="As of run.")
@click.option("--verify", is_flag=True, help="As of run.")
@click.option("--offline", is_flag=True, help="As of run.")
@AS_JSON
def submit(
    study: Path,
    address: str,
    baked_in: bool,
    shared: tuple[Path, ...],
    exclude: tuple[str, ...],
    env: tuple[str, ...],
    again: bool,
    detach: bool,
    limit: int | None,
    verify: bool,
    offline: bool,
    as_json: bool,
) -> None:
    """Have a cluster bring a study up to date: as a Ray job, followed to its end. Submitting twice makes one job."""
    from overlap.console import Terminal
    from overlap.study import load_study
    from workflows.submission.client import follow
    from workflows.submission.client import submit as submit_study

    arguments = [*(["--limit", str(limit)] if limit else []), *(["--verify"] * verify), *(["--offline"] * offline)]
    sent = submit_study(
        load_study(study),
        address,
        arguments=arguments,
        baked_in=baked_in or None,
        shared=shared or None,
        exclude=exclude,
        env=env,
        again=again,
    )
    told = {"id": sent.id, "attempt": sent.attempt, "state": sent.state}
    if sent.state == "finished":
        said = f"{sent.id} did all that these inputs ask for; `--again` looks whether there is more"
        show(told | {"exit_code": 0}, as_json, lambda: said)
        return
    named = f"{sent.id} --address {address}"
    ways = f"follow it: overlap logs --follow {named}; stop it: overlap stop {named}"
    if detach:
        show(told, as_json, lambda: f"{sent.id} {sent.state}\n{ways}")
        return
    outcomes: list[dict[str, object]] = []
    click.echo(f"{sent.id} {sent.state}; Ctrl-C leaves it running", err=True)
    try:
        with Terminal() as terminal:
            code = follow(sent, terminal, hear=outcomes.append)
    except KeyboardInterrupt:
        click.echo(f"{sent.id} runs on; {ways}", err=True)
        sys.exit(LEFT)
    came = outcomes[0] if outcomes else None
    show(told | {"exit_code": code, "outcome": came}, as_json, lambda: f"{sent.id} ended with exit code {code}")
    sys.exit(code)


@click.command()
@DASHBOARD
@AS_JSON
def jobs(address: str, as_json: bool) -> None:
    """List the studies that a cluster was sent as jobs, newest first."""
    from workflows.submission.listing import as_text, listed

    found = listed(address)
    show(found, as_json, lambda: as_text(found))


@click.command()
@click.argument("job")
@DASHBOARD
@click.option("--follow", is_flag=True, help="Go on until the job ends, and exit with its driver's code.")
def logs(job: str, address: str, follow: bool) -> None:
    """Print what a job has written. JOB is its id, or the name of a study, for its latest."""
    from workflows.submission.listing import find, log_of

    if not follow:
        click.echo(log_of(address, job), nl=False)
        return
    from overlap.console import Terminal
    from workflows.submission.following import Log, exit_code

    found = find(address, job)
    with Terminal() as terminal:
        ended = Log(address, found["id"], terminal).follow()
    sys.exit(exit_code(None if ended is None else ended.driver_exit_code))


@click.command()
@click.argument("job")
@DASHBOARD
@AS_JSON
def stop(job: str, address: str, as_json: bool) -> None:
    """Stop a job. What it certified stays, and the next one goes on from there. JOB is as of logs."""
    from workflows.submission.listing import stop as stop_job

    stopped = stop_job(address, job)
    show(stopped, as_json, lambda: f"{stopped['id']} is {stopped['status']}")
