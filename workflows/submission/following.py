"""A job is followed to its end, over connections that come and go; its exit code is what the study came to.

Guarantees that no line of the log is repeated or lost when the connection breaks, and that a job counts as done only
where its outcome in the store says so; where this machine cannot read the store, its driver's exit code is taken and
that is said. Leaving changes nothing about the job.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import requests

from overlap.errors import ClusterError, StoreError, StudyError, gist
from overlap.store.location import open_objects
from workflows.outcome import Tell
from workflows.submission.connection import Jobs, connect
from workflows.submission.outcome import read_outcome
from workflows.submission.submission import Submission

PATIENCE_S = 600.0
"""A cluster that does not answer for so long is given up; the job may live on."""
SILENCE_S = 15.0
"""After so long without a line the job is asked after: a broken connection may say nothing."""
ANEW = 8
"""Silences after which the log is asked for anew."""
RETRY_S = 1.0

LOST = (aiohttp.ClientError, requests.exceptions.RequestException, ConnectionError, TimeoutError, RuntimeError, OSError)
"""What a lost connection looks like; RuntimeError is Ray's for a log that broke off, or a server that failed."""

_PROGRESS = re.compile(r"(\w+): (\d+) of (\d+)")


def follow(
    submission: Submission,
    tell: Tell,
    *,
    patience_s: float = PATIENCE_S,
    hear: Callable[[dict[str, Any]], None] | None = None,
) -> int:
    """Tell a job's log until it ends.

    Args:
        submission: the job.
        tell: hears the lines of the log, and its progress.
        patience_s: how long a cluster may not answer.
        hear: gets the outcome that the job left in the store, if it did and it can be read.

    Returns:
        The exit code of the study: 0 done, 1 a bug or a job that died or was stopped, 2 a mistake, 3 some units failed.

    Raises:
        ClusterError: the cluster did not answer for too long, or knows the job no more and left no outcome.
    """
    job = Log(submission.address, submission.id, tell, patience_s).follow()
    outcome, unreadable = _outcome(submission)
    status = "gone from the cluster" if job is None else str(job.status)
    if outcome is not None:
        if hear is not None:
            hear(outcome)
        code = int(outcome["exit_code"])
        if code == 0 and status != "SUCCEEDED":
            tell.say(f"{submission.id} is {status} by Ray's account, and done by its own in the store, which counts")
        return code
    if job is None:
        raise ClusterError(
            f"{submission.id}: the cluster at {submission.address} knows this job no more, and it left no outcome; "
            "was the cluster started anew? submit again"
        )
    if unreadable is not None:
        tell.say(f"the exit code is the driver's: this machine cannot read the store ({unreadable})")
        return exit_code(job.driver_exit_code)
    why = "" if job.driver_exit_code is None else f" with exit code {job.driver_exit_code}"
    tell.say(
        f"{submission.id} is {status}{why}, and left no outcome in the store; submit again: what is certified stays"
    )
    return exit_code(job.driver_exit_code) or 1


class Log:
    """What a job has written so far, told line by line; the log of a job only grows, so that a place in it stays."""

    def __init__(self, address: str, submission: str, tell: Tell, patience_s: float = PATIENCE_S) -> None:
        self._address = address
        self._submission = submission
        self._tell = tell
        self._patience_s = patience_s
        self._seen = 0
        """Characters told."""
        self._line = ""
        """The beginning of a line whose end has not come."""

    def follow(self) -> Any:
        """Tell the log until the job has ended; returns what the server says of it, None where it knows no such job.

        Raises:
            ClusterError: the cluster did not answer for too long.
        """
        lost: float | None = None
        while True:
            try:
                jobs = connect(self._address)
                job = details(jobs, self._submission)
                if lost is not None:
                    self._tell.say("connected again")
                    lost = None
                if job is None or job.status.is_terminal():
                    if job is not None:
                        self._hear(_whole(jobs, self._submission)[self._seen :])
                    self._hear("\n" if self._line else "")
                    return job
                asyncio.run(self._tail(jobs))
            except (ClusterError, StudyError, *LOST) as error:
                if lost is None:
                    lost = time.monotonic()
                    self._tell.say(f"the connection to {self._address} is lost; the job runs on; trying again")
                elif time.monotonic() - lost > self._patience_s:
                    raise ClusterError(
                        f"the cluster at {self._address} has not answered for {self._patience_s:.0f} s "
                        f"({gist(error)}); {self._submission} may run on: `overlap logs` and `overlap jobs` tell"
                    ) from None
            time.sleep(RETRY_S)

    async def _tail(self, jobs: Jobs) -> None:
        """Tell lines as they come, until the log ends or is silent for long."""
        stream = jobs.tail_job_logs(self._submission)
        coming: asyncio.Task[str | None] | None = None
        place = silences = 0
        try:
            while silences < ANEW:
                coming = coming or asyncio.create_task(_next(stream))
                await asyncio.wait({coming}, timeout=SILENCE_S)
                if not coming.done():
                    silences += 1
                    job = await asyncio.to_thread(details, jobs, self._submission)
                    if job is None or job.status.is_terminal():
                        return
                    continue
                text, coming, silences = coming.result(), None, 0
                if text is None:
                    return
                place += len(text)
                self._hear(text[max(0, len(text) - max(0, place - self._seen)) :])
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.wait({coming})

    def _hear(self, text: str) -> None:
        self._seen += len(text)
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            if match := _PROGRESS.fullmatch(line):
                self._tell.progress(match[1], int(match[2]), int(match[3]))
            else:
                self._tell.say(line)


def details(jobs: Jobs, submission: str) -> Any:
    """What the job server says of a job; None where it knows none of that name."""
    try:
        return jobs.get_job_info(submission)
    except RuntimeError as error:
        if "status code 404" in str(error):
            return None
        raise


async def _next(stream: Any) -> str | None:
    try:
        return str(await anext(stream))
    except StopAsyncIteration:
        return None


def _whole(jobs: Jobs, submission: str) -> str:
    try:
        return jobs.get_job_logs(submission)
    except RuntimeError:  # the node that kept it may be gone; what became of the job is known all the same
        return ""


def _outcome(submission: Submission) -> tuple[dict[str, Any] | None, str | None]:
    """What the job left in the store, and why the store cannot be read from here, if so."""
    try:
        return read_outcome(open_objects(submission.store), submission.id, submission.mark), None
    except StoreError as error:
        return None, str(error)


def exit_code(code: int | None) -> int:
    """An exit code of overlap's; a driver that was killed, or never ran, counts as a bug."""
    return code if code in (0, 1, 2, 3) else 1
