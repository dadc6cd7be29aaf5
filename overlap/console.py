"""What a person sees while a long verb runs: lines and bars on standard error, never on standard output."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

QUIET_SECONDS = 10.0
"""Seconds between two lines about the same stage where there is no terminal to draw a bar on."""


class Terminal:
    """Lines and progress bars; one line now and then where standard error is a file."""

    def __init__(self) -> None:
        """Nothing is drawn before the first stage."""
        self._console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._bars = Progress(
            TextColumn("{task.description:>8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._stages: dict[str, TaskID] = {}
        self._told: dict[str, float] = {}

    def __enter__(self) -> Terminal:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bars.stop()

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(text, markup=False)

    def progress(self, stage: str, done: int, total: int) -> None:
        """How far a stage is; it gets a bar when first heard of."""
        if self._console.is_terminal:
            if stage not in self._stages:
                self._stages[stage] = self._bars.add_task(stage, total=total)
            self._bars.update(self._stages[stage], completed=done, total=total)
            return
        now = time.monotonic()
        if done == total or now - self._told.get(stage, now - QUIET_SECONDS) >= QUIET_SECONDS:
            self._told[stage] = now
            self.say(f"{stage}: {done} of {total}")
