"""`overlap run --if-new`: what a schedule calls every few minutes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from overlap.study import Study
    from workflows.outcome import Outcome

JOB = "OVERLAP_SUBMISSION"
"""Set in a job, which leaves outcomes in the store whatever is new."""
DASHBOARD = ("http://", "https://")
"""How the address of a cluster begins that is sent jobs, rather than joined."""


def check(address: str | None, *, if_new: bool, excluded: dict[str, bool], of_jobs: dict[str, bool]) -> None:
    """Refuse options that contradict each other.

    Args:
        address: of a cluster.
        if_new: whether it is asked first if anything is new.
        excluded: options that say what a run is to do whatever is new, and whether they were given.
        of_jobs: options that are about a job that is sent, and whether they were given.

    Raises:
        UsageError: they do.
    """
    given = [name for name, is_given in excluded.items() if is_given]
    if if_new and given:
        raise click.UsageError(f"--if-new asks whether anything is new of the whole study; leave out {given[0]}")
    dashboard = address is not None and address.startswith(DASHBOARD)
    if dashboard and not if_new:
        raise click.UsageError(f"{address} takes jobs: use `overlap submit`, or --if-new")
    jobs = [name for name, is_given in of_jobs.items() if is_given]
    if jobs and not (if_new and dashboard):
        raise click.UsageError(f"{jobs[0]} is about a job: it needs --if-new and --address http(s)://HOST:8265")


def run_if_new(
    study: Study,
    address: str | None,
    *,
    detach: bool,
    as_json: bool,
    baked_in: bool = False,
    shared: Sequence[Path] = (),
    env: Sequence[str] = (),
) -> list[Outcome]:
    """Do a run only if something is new; its outcomes. Where nothing is new, or a job does it, this ends the process.

    What is new is told in a line on standard error. `baked_in`, `shared` and `env` are of the job, as of
    `overlap submit`.
    """
    from overlap import settled

    look = settled.look(study)  # neither Ray nor any table is imported up to here
    if look.nothing_new and look.last is not None and JOB not in os.environ:
        told = {"new": False, "since": look.last.at, "models": look.last.models, "exit_code": look.last.exit_code}
        click.echo(json.dumps(told) if as_json else settled.nothing_new(look.last))
        sys.exit(look.last.exit_code)
    from overlap.console import Terminal
    from workflows.due import due
    from workflows.run import run
    from workflows.submission.outcome import left_in_store

    with Terminal() as terminal, left_in_store(study) as outcomes:
        found = due(study, look, terminal)
        terminal.say(found.line + ("; nothing had to be computed" if found.outcomes is not None else ""))
        if found.outcomes is not None:
            outcomes.extend(found.outcomes)
        elif address is None or not address.startswith(DASHBOARD):
            outcomes.extend(run(study, terminal, address=address, patient=True))
    if outcomes or address is None:
        return outcomes
    with Terminal() as terminal:
        from workflows.submission.client import follow, submit

        sent = submit(study, address, arguments=("--if-new",), baked_in=baked_in, shared=shared, env=env, again=True)
        terminal.say(f"{sent.id} {sent.state}")
        if detach:
            click.echo(json.dumps({"id": sent.id, "state": sent.state}) if as_json else sent.id)
            sys.exit(0)
        code = follow(sent, terminal)
    if as_json:
        click.echo(json.dumps({"id": sent.id, "state": sent.state, "exit_code": code}))
    sys.exit(code)
