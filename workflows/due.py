"""`overlap run --if-new`: is there anything to do? Only then is a cluster started, joined, or sent a job.

First everything is listed and compared with what the last run left (`overlap.settled`). Where that does not settle it
the run itself is tried without a cluster: it ends where nothing needs one, and stops, before it has computed anything,
where something does. Guarantees that no cluster is asked, and no Ray process started, unless there is work for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from overlap.mending import restore_records
from overlap.novelty import novelty
from overlap.settled import Look
from overlap.study import Study
from workflows.nodes.cluster import Cluster
from workflows.outcome import Outcome, Tell
from workflows.run import run


class WorkToDo(Exception):
    """A run has come to where it needs a cluster."""


class NoCluster(Cluster):
    """What a run is given to find out whether it needs a cluster."""

    def start(self) -> NoReturn:
        """Raise WorkToDo."""
        raise WorkToDo


@dataclass
class Heard:
    """Lines that are told only if they turn out to matter."""

    lines: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Keep a line."""
        self.lines.append(text)

    def progress(self, stage: str, done: int, total: int) -> None:
        """Progress of what ends at once is not told."""


@dataclass(frozen=True)
class Due:
    """What a schedule finds."""

    line: str
    """What is new, in one line."""
    outcomes: Sequence[Outcome] | None
    """What the run came to where it needed no cluster; None where there is work for one."""


def due(study: Study, look: Look, tell: Tell) -> Due:
    """Find out whether a study needs a cluster, after a look that did not settle it.

    What needs none is done here: a report that is missing is drawn, MLflow is told what it missed.

    Raises:
        StudyError, StoreError: as `run`.
    """
    line = novelty(study, look).line
    if "records" in look.changed:
        for name, number in restore_records(study).items():
            tell.say(f"{name}: {number} records were gone; written again from the manifests that hold them")
    heard = Heard()
    try:
        outcomes = run(study, heard, patient=True, cluster=NoCluster(None, study.path.parent))
    except WorkToDo:
        return Due(line, None)
    for said in heard.lines:
        tell.say(said)
    return Due(line, outcomes)
