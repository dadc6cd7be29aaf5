"""A study becomes a Ray job, once: who submits what runs already is attached to it, what is finished is told.

A submission is called `<study>-<digest>-<attempt>`. The digest covers the study file, every small file it names, the
code that travels, overlap's version, the arguments of the run and the names of forwarded variables. Not covered: what
buckets, hubs and queries hold. So a study with a `[[zoo]]`, or without images of its own, is never finished: it is
submitted again whenever no job of it runs, and computes only what is new; any other after `again=True`.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from overlap.errors import StoreError, StudyError
from overlap.identity import canonical_json, digest
from overlap.store import layout
from overlap.store.location import Location, open_objects
from overlap.study import Study
from workflows.nodes.cluster import SESSION
from workflows.plan import location
from workflows.submission.connection import asking, connect
from workflows.submission.folder import pack
from workflows.submission.following import follow
from workflows.submission.outcome import MARK, STUDY, SUBMISSION, read_outcome
from workflows.submission.submission import State, Submission

__all__ = ["follow", "submit"]

RESERVED = re.compile(r"RAY_.*|OVERLAP_SUBMISSION.*|PYTHONPATH|OMP_NUM_THREADS|LD_PRELOAD")
"""Variables that Ray and the run set for themselves."""


def submit(
    study: Study,
    address: str,
    *,
    arguments: Sequence[str] = (),
    baked_in: bool | None = None,
    shared: Sequence[Path] | None = None,
    exclude: Sequence[str] = (),
    env: Sequence[str] = (),
    again: bool = False,
) -> Submission:
    """Have a cluster bring a study up to date.

    Args:
        study: as it was read from its file here.
        address: http(s)://HOST:PORT of the head's dashboard.
        arguments: of `overlap run`, beside the study and the address.
        baked_in: overlap is in the cluster's image; else this machine's overlap travels with the job. None: whether
            OVERLAP_BAKED_IN is set, as it is in overlap's own image.
        shared: folders that are at the same path here and on every node. None: what OVERLAP_SHARED lists, as PATH does.
        exclude: names with wildcards of what is not to travel.
        env: variables of this process's environment that the job is to have; the dashboard keeps their values.
        again: submit even where the last job with these inputs did everything.

    Raises:
        StudyError: the study names what the cluster would not find; the address is no dashboard's.
        ClusterError: nobody answers, the token is refused, or the cluster does not take the job.
    """
    forwarded = _forwarded(env)
    if baked_in is None:
        baked_in = os.environ.get("OVERLAP_BAKED_IN", "") not in ("", "0")
    if shared is None:
        shared = [Path(path) for path in os.environ.get("OVERLAP_SHARED", "").split(os.pathsep) if path]
    shipment = pack(study, baked_in=baked_in, shared=shared, exclude=exclude)
    inputs = digest(canonical_json({"shipment": shipment.digest, "arguments": list(arguments), "env": sorted(env)}))
    stem = f"{re.sub('[^A-Za-z0-9.-]', '-', study.name)[:60]}-{inputs[:12]}"
    jobs = connect(address)
    where = location(study)
    held, unreadable = _held(where, stem)
    with asking(address):
        session = jobs.session()
        known = {str(job.submission_id): job for job in jobs.list_jobs() if _attempt(job.submission_id, stem)}

    def found(name: str, state: State) -> Submission:
        mark = (known[name].metadata or {}).get(MARK, "") if name in known else held[name]["mark"]
        return Submission(name, _attempt(name, stem), state, address, mark, where, unreadable)

    running = [name for name, job in known.items() if not job.status.is_terminal()]
    if running:
        return found(max(running, key=lambda name: _attempt(name, stem)), "attached")
    latest = max([*known, *held], key=lambda name: _attempt(name, stem), default="")
    if latest and not again and not _grows(study):
        last = found(latest, "finished")
        outcome = held.get(latest, {})
        code = known[latest].driver_exit_code if unreadable else outcome.get("exit_code")
        if code == 0 and (unreadable or outcome["mark"] == last.mark):
            return last
    attempt = _attempt(latest, stem) + 1
    name, mark = f"{stem}-{attempt}", secrets.token_hex(8)
    runtime_env: dict[str, Any] = {"env_vars": {**forwarded, SUBMISSION: f"{name} {mark}", SESSION: session}}
    command = ["python", "-m", "overlap.cli", "run", shipment.study, "--address", "auto", *arguments]
    about = {MARK: mark, STUDY: study.name}
    with tempfile.TemporaryDirectory(prefix="overlap-job-") as folder, asking(address):
        if shipment.files:
            shipment.copy_to(Path(folder))
            runtime_env["working_dir"] = folder
        try:
            jobs.submit_job(entrypoint=shlex.join(command), submission_id=name, runtime_env=runtime_env, metadata=about)
        except RuntimeError as error:
            if "already exists" not in str(error):
                raise
            known[name] = jobs.get_job_info(name)  # somebody was faster
            return found(name, "attached")
    return Submission(name, attempt, "submitted", address, mark, where, unreadable)


def _forwarded(names: Sequence[str]) -> dict[str, str]:
    for name in names:
        if RESERVED.fullmatch(name):
            raise StudyError(f"--env {name}: is set by Ray or the run itself; set it where the cluster is started")
        if name not in os.environ:
            raise StudyError(f"--env {name}: is not set here; set it, or leave it to the cluster's own environment")
    return {name: os.environ[name] for name in names}


def _grows(study: Study) -> bool:
    """Whether there may be more to do although the study file is the same: queries, folders, imports."""
    return bool(study.zoo) or not study.data


def _attempt(name: str | None, stem: str) -> int:
    """Which attempt of these inputs a job is; 0 for none of them."""
    number = (name or "").removeprefix(f"{stem}-")
    return int(number) if number != name and number.isdigit() else 0


def _held(where: Location, stem: str) -> tuple[dict[str, dict[str, Any]], str | None]:
    """Outcomes of these inputs in the store, by submission; and why the store cannot be read, if so."""
    try:
        objects = open_objects(where)
        keys = [info.key for info in objects.list(layout.jobs_prefix(f"{stem}-"))]
        names = [key.removeprefix(layout.jobs_prefix("")).removesuffix(".json") for key in keys]
        outcomes = {name: read_outcome(objects, name) for name in names if _attempt(name, stem)}
        return {name: outcome for name, outcome in outcomes.items() if outcome is not None}, None
    except StoreError as error:
        return {}, str(error)
