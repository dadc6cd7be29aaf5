"""Studies for tests of submission: small enough to be done in seconds, and one whose job waits until it is let go."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from overlap.study import load_study
from tests.ray_cluster import RayCluster
from tests.small_study import SmallStudy, make_shards, marked, net, save_weights
from workflows.submission.connection import connect
from workflows.submission.submission import Submission

QUICKLY = {"max_size": 1, "bags": 0, "weights": False, "without_replacement": False, "objectives": ["accuracy"]}
WAITING = '''
import os, time
import small_nets

class Net(small_nets.Net):
    """Its first forward pass goes on once there is a file."""

    def forward(self, images):
        while not os.path.exists({path!r}):
            time.sleep(0.05)
        return super().forward(images)
'''


def tiny(folder: Path) -> SmallStudy:
    """Two networks on 40 images in two shards."""
    return _study(folder, [net(f"net-{seed}", seed) for seed in range(2)])


def waiting(folder: Path) -> SmallStudy:
    """One network, whose job predicts once `let_go` was called."""
    study = _study(folder, [net("net-0", 0, factory="waiting_nets:Net.build")])
    (folder / "waiting_nets.py").write_text(WAITING.format(path=str(folder / "go")))
    return study


def let_go(study: SmallStudy) -> None:
    (study.folder / "go").touch()


def _study(folder: Path, entries: list[dict[str, Any]]) -> SmallStudy:
    study = SmallStudy(folder, entries, {"tracking": {"uri": "none"}, "ensembles": QUICKLY})
    make_shards(folder / "data", 40, 2)
    (folder / "small_nets.py").write_bytes((Path(__file__).parents[1] / "small_nets.py").read_bytes())
    for entry in entries:
        save_weights(folder, entry)
    study.write()
    return study


class Heard:
    """Keeps what is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, stage: str, done: int, total: int) -> None:
        self.lines.append(f"{stage}: {done} of {total}")


def log_file(head: RayCluster, submission: str) -> Path:
    """Where the head keeps a job's log."""
    (log,) = head.scratch.glob(f"ray/session_2*/logs/job-driver-{submission}.log")
    return log


def until(true: Callable[[], Any], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def kill_driver(head: RayCluster, submission: Submission) -> None:
    """SIGKILL the process that runs the study, as the kernel does for want of memory."""
    path = str(load_study_path(submission, head))
    drivers = [pid for pid, line in marked(head.mark).items() if "overlap.cli run" in line and path in line]
    assert drivers
    for pid in drivers:
        os.kill(pid, signal.SIGKILL)


def load_study_path(submission: Submission, head: RayCluster) -> str:
    return str(connect(head.dashboard_url).get_job_info(submission.id).entrypoint.split()[4])


def store_of(study: SmallStudy) -> Path:
    return Path(load_study(study.path).store.uri)


def outcome_of(study: SmallStudy, submission: str) -> dict[str, Any] | None:
    path = store_of(study) / "jobs" / f"{submission}.json"
    return dict(json.loads(path.read_bytes())) if path.is_file() else None
