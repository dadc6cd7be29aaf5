"""What every stage of the benchmarks is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """Where, how large, and how often."""

    folder: Path
    """Thrown away afterwards; a short path, since Ray's sockets may be below it."""
    quick: bool = False
    """Small sizes and two rounds: whether the program works, not how fast it is."""
    cache: Path | None = None
    """Kept: where programs are installed that need other versions than overlap's."""

    @property
    def rounds(self) -> int:
        return 2 if self.quick else 5


def seconds(work: Callable[[], object]) -> float:
    """Wall time of something."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
