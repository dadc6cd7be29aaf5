"""The Slurm script with real Ray and a real study; only `srun` and `scontrol` are stand-ins that run steps right here.

On a Slurm 22.05 of two nodes on one machine it was run by hand: exit codes 0, 1 and 127 passed on, 42 units over both
nodes, back into the queue at the signal.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.rendering import ROOT
from tests.servers import free_ports
from tests.small_study import MARK, SmallStudy, end_marked, marked

SCRIPT = ROOT / "cluster/slurm/overlap.sbatch"
STAND_INS = {
    # A step begins with its command: what comes before are srun's options.
    "srun": 'printf "%s\\n" "$*" >> "$STEPS"\nwhile [[ $1 == --* ]]; do shift; done\nexec "$@"\n',
    "scontrol": '[ "$1 $2" = "show hostnames" ] && tr , "\\n" <<< "$3"\n',
    "overlap": f'exec "{sys.executable}" -m overlap.cli "$@"\n',
}


class Allocation:
    """What a job's batch script finds on its first node."""

    def __init__(self, folder: Path) -> None:
        self.mark = secrets.token_hex(8)
        self.steps = folder / "steps"
        self.job = 0
        while not self.job:  # the script makes its ports of the job's number: take one whose ports are free
            (port,) = free_ports(1)
            self.job = (port - 20_000) // 2 if port > 20_001 else 0
        programs = folder / "bin"
        programs.mkdir()
        for name, body in STAND_INS.items():
            (programs / name).write_text(f"#!/usr/bin/env bash\n{body}", encoding="utf-8")
            (programs / name).chmod(0o755)
        self.environment = os.environ | {
            MARK: self.mark,
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "STEPS": str(self.steps),
            "OVERLAP_CACHE": str(folder / "cache"),
            "SLURM_JOB_ID": str(self.job),
            "SLURM_JOB_NODELIST": "n1,n2",
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_CPUS_PER_TASK": "1",
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(SCRIPT), *arguments]
        return subprocess.run(
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            start_new_session=True,
        )


@pytest.fixture
def allocation(tmp_path: Path) -> Iterator[Allocation]:
    made = Allocation(tmp_path)
    yield made
    end_marked(made.mark)


def test_a_study_over_two_nodes(allocation: Allocation, complete: SmallStudy) -> None:
    done = allocation.run(str(complete.path), "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    (outcome,) = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"data"')]
    assert outcome["units"] == 0
    head, workers, removed = allocation.steps.read_text(encoding="utf-8").splitlines()
    assert "--nodelist=n1" in head
    assert "ray start" in head
    assert "--exclude=n1 ray start" in workers
    assert "--address=" in workers
    assert removed.endswith(f"rm -rf /tmp/ray-{allocation.job}")
    assert not Path(f"/tmp/ray-{allocation.job}").exists()
    until = time.monotonic() + 30
    while marked(allocation.mark) and time.monotonic() < until:
        time.sleep(0.2)
    assert marked(allocation.mark) == {}, "Ray ends with the job"


def test_the_exit_code_is_the_study_s(allocation: Allocation, tmp_path: Path) -> None:
    allocation.environment["SLURM_JOB_NUM_NODES"] = "1"
    (tmp_path / "study.toml").write_text("nmae = 1\n", encoding="utf-8")
    done = allocation.run(str(tmp_path / "study.toml"))
    assert done.returncode == 2
    assert "error: " in done.stderr
    assert allocation.run().returncode == 2, "no study named"
