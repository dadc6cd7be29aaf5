"""What each stage of a run takes: time, and the most memory that the driver and any of Ray's workers held.

Stages are functions of the driver, wrapped where their caller finds them; a stage within another is a row of its own
below it. Processor time is that of the driver and all that it started, which others on the machine change less. Memory
is sampled from /proc ten times a second, as GiB that are resident: `own` without what is shared with other processes,
which for a worker is Ray's object store as far as it has read in it. Linux only.
"""

from __future__ import annotations

import functools
import importlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

EVERY = 0.1
KINDS = ("driver", "worker", "ray")
GIB = 1 << 30


@dataclass
class Stage:
    """One stage, or several of one name."""

    name: str
    depth: int
    seconds: float = 0.0
    cpu: float = 0.0
    """Seconds of processor time."""
    resident: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    own: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))


class Stages:
    """The stages of one run, in the order in which they began."""

    def __init__(self) -> None:
        self._open: list[Stage] = []
        self._lock = threading.Lock()
        self._ticks: dict[tuple[int, str], int] = {}  # of every process ever seen, by its number and start
        self.all: dict[tuple[str, ...], Stage] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Something that takes time."""
        with self._lock:
            path = (*(one.name for one in self._open), name)
            stage = self.all.setdefault(path, Stage(name, len(self._open)))
            self._open.append(stage)
            spent = self.cpu()
        start = time.perf_counter()
        try:
            yield
        finally:
            stage.seconds += time.perf_counter() - start
            with self._lock:
                stage.cpu += self.cpu() - spent
                self._open.remove(stage)

    def wrap(self, where: str, *names: str, within: str | None = None) -> None:
        """Make a stage of a function or method; of one that is called several times, one for each name in turn.

        Args:
            where: module and attribute, as `workflows.reduce:search`.
            names: of the stage.
            within: the stage that calls it, where calls by others are no stages.
        """
        module, _, attribute = where.partition(":")
        holder: Any = importlib.import_module(module)
        *owners, last = attribute.split(".")
        for owner in owners:
            holder = getattr(holder, owner)
        function: Callable[..., Any] = getattr(holder, last)
        calls = count()

        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            if within is not None and (not self._open or self._open[-1].name != within):
                return function(*arguments, **options)
            with self.stage(names[next(calls) % len(names)]):
                return function(*arguments, **options)

        setattr(holder, last, timed)

    def cpu(self) -> float:
        """Seconds of processor time so far, with those of processes that have ended, as they were last seen."""
        for process, fields in family(os.getpid()).items():
            self._ticks[process, fields[19]] = int(fields[11]) + int(fields[12])
        return sum(self._ticks.values()) / os.sysconf("SC_CLK_TCK")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Sample memory meanwhile."""
        end = threading.Event()

        def watch() -> None:
            while not end.wait(EVERY):
                seen = resident(os.getpid())
                with self._lock:
                    self.cpu()
                    for stage in self._open:
                        for kind, whole, own in seen:
                            stage.resident[kind] = max(stage.resident[kind], whole)
                            stage.own[kind] = max(stage.own[kind], own)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()

    def show(self, title: str) -> None:
        """Print a table, stages within others indented."""
        table = Table(title=title, title_justify="left")
        table.add_column("stage")
        for column in ("seconds", "CPU s", "driver GiB", "own", "worker GiB", "own"):
            table.add_column(column, justify="right")
        for path in sorted(self.all, key=functools.cmp_to_key(self._before)):
            stage = self.all[path]
            memory = [
                f"{held[kind] / GIB:.2f}" for kind in ("driver", "worker") for held in (stage.resident, stage.own)
            ]
            table.add_row("  " * stage.depth + stage.name, f"{stage.seconds:.2f}", f"{stage.cpu:.2f}", *memory)
        Console(width=120).print(table)
        peaks = {kind: max((stage.resident[kind] for stage in self.all.values()), default=0) for kind in KINDS}
        print(", ".join(f"{kind} at most {peak / GIB:.2f} GiB" for kind, peak in peaks.items()))
        print(f"{os.cpu_count()} cores, {memory_of_machine() / GIB:.0f} GiB; load {os.getloadavg()[0]:.1f} at the end")

    def _before(self, one: tuple[str, ...], other: tuple[str, ...]) -> int:
        """A stage before what is within it, and its siblings in the order in which they began."""
        began = {path: place for place, path in enumerate(self.all)}
        keys = [[began[path[: depth + 1]] for depth in range(len(path))] for path in (one, other)]
        return -1 if keys[0] < keys[1] else 1


def resident(driver: int) -> list[tuple[str, int, int]]:
    """Of a process and all below it: what it is, resident bytes, and those that are its own."""
    found = []
    for process in family(driver):
        lines = dict(line.split(":", 1) for line in _read(Path(f"/proc/{process}/status")).splitlines() if ":" in line)
        if "VmRSS" in lines:
            kind = "driver" if process == driver else "worker" if _is_worker(process) else "ray"
            found.append((kind, *(int(lines[name].split()[0]) << 10 for name in ("VmRSS", "RssAnon"))))
    return found


def family(driver: int) -> dict[int, list[str]]:
    """A process and all below it, each with the fields of its stat after the name."""
    stats: dict[int, list[str]] = {}
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (text := _read(entry / "stat")):
            stats[int(entry.name)] = fields = text.rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = {}, [driver]
    while waiting:
        process = waiting.pop()
        waiting += children.get(process, [])
        if process in stats:
            found[process] = stats[process]
    return found


def memory_of_machine() -> int:
    """Bytes of physical memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _is_worker(process: int) -> bool:
    return _read(Path(f"/proc/{process}/cmdline")).startswith("ray::")


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # it has ended
        return ""
