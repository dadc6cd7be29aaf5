"""The jobs of a cluster that are studies: listed, found by name, read and stopped; other jobs are left alone.

What a job came to is for its outcome in the store to say; here is what Ray says of its process.
"""

from __future__ import annotations

import datetime
import time
from typing import Any

from overlap.errors import ClusterError, StudyError
from workflows.submission.connection import asking, connect
from workflows.submission.following import details
from workflows.submission.outcome import STUDY

STOP_S = 60.0
"""Within which a job that was told to stop must have ended: Ray kills it after 3 s."""

COLUMNS = ("id", "study", "status", "exit_code", "started", "seconds")


def listed(address: str) -> list[dict[str, Any]]:
    """Each study's jobs, newest first: id, study, status, exit code of the driver, start (UTC), seconds.

    Raises:
        ClusterError, StudyError: as of `connect`.
    """
    jobs = connect(address)
    with asking(address):
        found = [job for job in jobs.list_jobs() if STUDY in (job.metadata or {})]
    return [_row(job) for job in sorted(found, key=lambda job: (job.start_time or 0, job.submission_id), reverse=True)]


def _row(job: Any) -> dict[str, Any]:
    """Times come in milliseconds."""
    start, end = job.start_time, job.end_time
    started = None if start is None else datetime.datetime.fromtimestamp(start / 1000, datetime.UTC)
    return {
        "id": job.submission_id,
        "study": job.metadata[STUDY],
        "status": str(job.status),
        "exit_code": job.driver_exit_code,
        "started": None if started is None else started.isoformat(timespec="seconds"),
        "seconds": None if start is None else round((end / 1000 if end else time.time()) - start / 1000),
    }


def as_text(rows: list[dict[str, Any]]) -> str:
    """A line each, in columns; one line where there are none."""
    if not rows:
        return "no study was sent to this cluster as a job"
    cells = [COLUMNS, *(tuple("" if row[name] is None else str(row[name]) for name in COLUMNS) for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(COLUMNS))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)


def find(address: str, name: str) -> dict[str, Any]:
    """The job of this id, or the latest of the study of this name.

    Raises:
        StudyError: there is none; and as of `connect`.
    """
    rows = listed(address)
    found = next((row for row in rows if row["id"] == name), None) or next(
        (row for row in rows if row["study"] == name), None
    )
    if found is None:
        raise StudyError(f"no job or study '{name}' on the cluster at {address}; `overlap jobs` lists them")
    return found


def log_of(address: str, name: str) -> str:
    """All that a job has written.

    Raises:
        StudyError, ClusterError: as of `find`.
    """
    job = find(address, name)
    jobs = connect(address)
    with asking(address):
        return str(jobs.get_job_logs(job["id"]))


def stop(address: str, name: str) -> dict[str, Any]:
    """Stop a job and wait until it has ended; one that has ended stays as it is.

    Raises:
        ClusterError: it does not end; and as of `find`.
    """
    job = find(address, name)
    jobs = connect(address)
    until = time.monotonic() + STOP_S
    with asking(address):
        jobs.stop_job(job["id"])
        while (now := details(jobs, job["id"])) is not None and not now.status.is_terminal():
            if time.monotonic() > until:
                raise ClusterError(f"{job['id']} was told to stop and is {now.status} still; look at `overlap logs`")
            time.sleep(0.2)
    return job if now is None else _row(now)
