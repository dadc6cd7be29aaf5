"""What came of a job, in the study's store: written by the job itself, read by whoever waits for it.

The scheduler knows whether a process ended; only the run knows what it came to. Guarantees that an outcome is of the
very job that is asked about: it carries the mark which that job was submitted with. A job that dies leaves none.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from overlap.errors import DamagedObject, ObjectMissing, OverlapError, StoreError, gist
from overlap.store import layout
from overlap.store.location import Location, open_objects
from overlap.store.objects import Objects

if TYPE_CHECKING:
    from overlap.study import Study
    from workflows.outcome import Outcome

SUBMISSION = "OVERLAP_SUBMISSION"
"""Variable that tells a run that it is a job: its submission id and its mark."""

MARK = "overlap.mark"
"""Under which a job's metadata hold its mark."""

STUDY = "overlap.study"
"""Under which a job's metadata hold the name of its study; jobs without it are none of overlap's."""


@contextmanager
def left_in_store(study: Study) -> Iterator[list[Outcome]]:
    """Outcomes that are added to the list are left in the store when the block ends, where this is a job.

    So is an error that ends it, but not that it was stopped. A store that cannot be written is said, and changes
    nothing else.
    """
    if SUBMISSION in os.environ:
        # Ray lays the working directory out anew where another node of the same machine asks for it, and whoever stands
        # in the old one is nowhere. The study's path is absolute by now.
        os.chdir(tempfile.gettempdir())
    outcomes: list[Outcome] = []
    try:
        yield outcomes
    except Exception as error:
        _leave(study, outcomes, error)
        raise
    _leave(study, outcomes, None)


def _leave(study: Study, outcomes: list[Outcome], error: Exception | None) -> None:
    submission, _, mark = os.environ.get(SUBMISSION, "").partition(" ")
    if not submission:
        return
    if error is None:
        code = max((outcome.exit_code for outcome in outcomes), default=0)
    else:
        code = error.exit_code if isinstance(error, OverlapError) else 1
    about = {
        "submission": submission,
        "mark": mark,
        "study": study.name,
        "exit_code": code,
        "error": None if error is None else str(error) if isinstance(error, OverlapError) else gist(error),
        "outcomes": [outcome.summary() for outcome in outcomes],
        "ended": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    try:
        objects = open_objects(Location(study.store.uri, study.store.endpoint_url))
        objects.put(layout.job(submission), json.dumps(about).encode())
    except StoreError as refused:
        print(f"warning: the outcome of {submission} is not in the store: {refused}", file=sys.stderr)


def read_outcome(objects: Objects, submission: str, mark: str | None = None) -> dict[str, Any] | None:
    """What a job left, or None: it has left nothing, or what is there carries another mark.

    Raises:
        StoreError: the store cannot be read.
    """
    key = layout.job(submission)
    try:
        found: dict[str, Any] = json.loads(objects.get(key))
    except ObjectMissing:
        return None
    except ValueError:
        raise DamagedObject(f"{objects.uri}/{key}: no outcome of a job; remove it") from None
    return found if mark is None or found.get("mark") == mark else None
