"""What the main job must reach, as tables: python -m tests.benchmarks.main_job

Each part runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import subprocess
import sys

PARTS = ("tests.benchmarks.fanout", "tests.benchmarks.pairs")


def main() -> None:
    """Run all parts one after the other."""
    for part in PARTS:
        subprocess.run([sys.executable, "-m", part], check=True)


if __name__ == "__main__":
    main()
