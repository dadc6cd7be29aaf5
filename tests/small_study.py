"""A small but whole study for tests: real digits in shards, seeded random weights, run through the command line.

Everything a run starts carries a mark in its environment, so that what it leaves behind can be found, and only that.
"""

from __future__ import annotations

import io
import json
import os
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from overlap.demo.digits import evaluation, training
from overlap.identity import digest
from overlap.images.packing import pack
from tests import small_nets

ROOT = Path(__file__).parents[1]
DATA = "digits"
IMAGES = 240
SHARDS = 6
CLASSES = 10
MARK = "OVERLAP_TEST_MARK"
SESSIONS: dict[str, int] = {}
"""Process session by mark."""
PIXELS = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "crop_pct": 1.0}
TABLES = ("models", "pairs", "pair_ensembles", "ensembles", "categories")

Entry = dict[str, Any]


def net(name: str, seed: int, *, size: int = 8, factory: str = "small_nets:Net.build", **arguments: Any) -> Entry:
    """The entry of a checkpoint of `small_nets`; `weights_of` makes its file."""
    return {
        "id": name,
        "factory": factory,
        "arguments": {"width": 16, **arguments},
        "weights": f"weights/{name}.safetensors",
        "preprocess": {"input_size": size, **PIXELS},
        "training": {
            "dataset": "none",
            "framework": "random",
            "architecture": f"width {arguments.get('width', 16)}",
            "hyper_parameters": "none",
            "seed": seed,
        },
    }


def timm_net(name: str, seed: int) -> Entry:
    return {
        "id": name,
        "source": "timm:test_resnet",
        "weights": f"weights/{name}.safetensors",
        "preprocess": {"input_size": 24, **PIXELS},
        "training": {
            "dataset": "none",
            "framework": "random",
            "architecture": "test_resnet",
            "hyper_parameters": "none",
            "seed": seed,
        },
    }


def zoo() -> list[Entry]:
    """Six networks of two widths, at two sizes, and a timm model: 42 units on two CPUs, a second in forward passes."""
    return [
        *(net(f"narrow-{seed}", seed, delay=0.05) for seed in range(3)),
        *(net(f"wide-{seed}", seed, width=32, size=12, delay=0.05) for seed in range(3)),
        timm_net("resnet", 0),
    ]


def module_of(entry: Entry) -> Any:
    """The module that an entry's weights are for, seeded by its training."""
    import torch

    torch.manual_seed(int(digest(f"{entry['training']['architecture']} {entry['training']['seed']}".encode())[:8], 16))
    if "source" in entry:
        import timm

        module = timm.create_model(entry["source"].partition(":")[2], num_classes=CLASSES)
        for part in module.modules():  # fresh ones answer nearly the same to every image
            if isinstance(part, torch.nn.Linear):
                torch.nn.init.normal_(part.weight)
        return module
    module = small_nets.Net.build(entry["arguments"].get("width", 16))
    torch.nn.init.normal_(module.hidden.weight, std=0.3)
    module.head.weight.data, module.head.bias.data = _ridge(module, entry["preprocess"]["input_size"])
    return module


def _ridge(module: small_nets.Net, size: int) -> tuple[Any, Any]:
    """Head on random features by least squares, from the demo's training digits: right on most images, not on all."""
    import torch
    from PIL import Image

    samples = training("digits")
    images = [Image.open(io.BytesIO(sample.image)).convert("RGB").resize((size, size)) for sample in samples]
    pixels = torch.tensor(np.stack(images)).permute(0, 3, 1, 2).float().div(255).sub(0.5).div(0.25)
    with torch.no_grad():
        features = torch.relu(module.hidden(module.pool(pixels).flatten(1)))
        features = torch.cat([features, torch.ones(len(features), 1)], 1).double()
        wanted = torch.nn.functional.one_hot(torch.tensor([sample.label for sample in samples]), CLASSES).double()
        found = torch.linalg.solve(features.T @ features + torch.eye(features.shape[1]), features.T @ wanted)
    return found[:-1].T.float() * 5, found[-1].float() * 5


def save_weights(folder: Path, entry: Entry) -> Path:
    from safetensors.torch import save_file

    path = folder / entry["weights"]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in module_of(entry).state_dict().items()}, path)
    return path


def make_shards(folder: Path, images: int = IMAGES, shards: int = SHARDS) -> list[Path]:
    return pack(evaluation()[::6][:images], folder, prefix="part", shards=shards, classes=[*"0123456789"])


@dataclass
class SmallStudy:
    """A study's folder: shards, weights, code, and `study.toml`, which `write` makes."""

    folder: Path
    entries: list[Entry] = field(default_factory=list)
    sections: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, entries: Sequence[Entry] | None = None) -> SmallStudy:
        study = cls(folder, list(zoo() if entries is None else entries), {"tracking": {"uri": "none"}})
        make_shards(folder / "data")
        shutil.copy(ROOT / "tests" / "small_nets.py", folder)
        for entry in study.entries:
            save_weights(folder, entry)
        study.write()
        return study

    def copy(self, folder: Path) -> SmallStudy:
        """The same study elsewhere, its store included. Times are kept, so that nothing has to be hashed again."""
        shutil.copytree(self.folder, folder, copy_function=shutil.copy2)
        return SmallStudy(folder, deepcopy(self.entries), dict(self.sections))

    def add(self, entry: Entry, *, weights: bool = True) -> None:
        self.entries.append(entry)
        if weights:
            save_weights(self.folder, entry)
        self.write()

    def remove(self, name: str) -> None:
        self.entries = [entry for entry in self.entries if entry["id"] != name]
        self.write()

    def write(self, **sections: Mapping[str, Any]) -> None:
        """(Re)write study.toml; sections given here replace those of before."""
        self.sections |= sections
        data = {"shards": "data", "classes": CLASSES, **self.sections.get(DATA, {})}
        parts = ['name = "small"', _table(f"data.{DATA}", data)]
        parts += [_table(name, values) for name, values in self.sections.items() if name != DATA]
        parts += [_table("[checkpoint]", entry) for entry in self.entries]
        self.path.write_text("\n".join(parts), encoding="utf-8")

    @property
    def path(self) -> Path:
        return self.folder / "study.toml"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def fingerprints(self) -> dict[str, str]:
        """By checkpoint name, as the last run resolved them."""
        return dict(json.loads((self.store / "studies" / f"{DATA}.json").read_bytes())["models"])

    def objects(self, prefix: str) -> dict[str, bytes]:
        """The bytes of every object under a prefix, by key."""
        below = self.store / prefix
        return {
            path.relative_to(self.store).as_posix(): path.read_bytes()
            for path in sorted(below.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        }

    def records(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The newest record of each unit, by fingerprint and shard."""
        newest = {}
        for key in sorted(self.objects(f"records/{DATA}"), key=lambda key: (len(key), key)):  # generations in order
            _, _, fingerprint, name = key.split("/")
            newest[(fingerprint, name.partition(".")[0])] = key
        return {unit: json.loads((self.store / key).read_bytes()) for unit, key in newest.items()}

    def recorded_bytes(self) -> dict[tuple[str, str], str]:
        """Digest of the object that each unit's newest record names, as it is on disk."""
        return {unit: digest((self.store / record["object"]).read_bytes()) for unit, record in self.records().items()}

    def tables(self, data: str = DATA) -> dict[str, pl.DataFrame]:
        return {name: pl.read_parquet(self.store / "results" / data / f"{name}.parquet") for name in TABLES}

    def run(self, *arguments: str, **options: Any) -> Ran:
        return overlap("run", str(self.path), "--json", *arguments, **options)


def equal(one: Mapping[str, pl.DataFrame], other: Mapping[str, pl.DataFrame]) -> list[str]:
    """Names of the tables that differ."""
    return [name for name in one if not one[name].equals(other[name])]


def read_tables(get: Any, data: str = DATA) -> dict[str, pl.DataFrame]:
    """The tables through a function from key to bytes."""
    return {name: pl.read_parquet(io.BytesIO(get(f"results/{data}/{name}.parquet"))) for name in TABLES}


@dataclass(frozen=True)
class Ran:
    """What a finished command said."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    cpu: float = 0.0
    """Seconds of processor time, of a command that was a process of its own."""

    @property
    def outcome(self) -> dict[str, Any]:
        """The one line of JSON of a run on one data set."""
        lines = self.stdout.strip().splitlines()
        assert len(lines) == 1, self
        return dict(json.loads(lines[0]))

    @property
    def complaints(self) -> list[str]:
        """Lines of stderr that are not progress."""
        return [line for line in self.stderr.splitlines() if not line.startswith(("digits", "predict:", "damaged:"))]


def surroundings(mark: str, scratch: Path) -> dict[str, str]:
    """Environment of whatever a test starts: marked, with its temporary files and Ray's in one folder of its own."""
    return {
        MARK: mark,
        "PYTHONPATH": str(ROOT),
        "RAY_TMPDIR": str(scratch),
        "TMPDIR": str(scratch),
        "RAY_AUTH_MODE": "token",
        "OVERLAP_CACHE": str(scratch / "cache"),
        "PYTHONUNBUFFERED": "1",
    }


class Command:
    """An `overlap` command as a process of its own, with all that it starts marked and in a session of its own."""

    def __init__(self, *arguments: str, environment: Mapping[str, str] | None = None, scratch: Path) -> None:
        self.mark = secrets.token_hex(8)
        self.scratch = scratch
        settings = surroundings(self.mark, scratch) | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self._out, self._err = scratch / f"{self.mark}.out", scratch / f"{self.mark}.err"
        self.started, self._cpu = time.monotonic(), _children_cpu()
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "overlap.cli", *arguments],
                env=os.environ | settings | (environment or {}),
                cwd=scratch,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        SESSIONS[self.mark] = self.process.pid

    def wait(self, timeout: float = 120.0) -> Ran:
        """Its end, and that nothing it started outlives it."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError(f"no end after {timeout} s: {self._err.read_text()[-3000:]}") from None
        seconds = time.monotonic() - self.started
        assert self.gone(), f"left behind: {self.family()}"
        return Ran(code, self._out.read_text(), self._err.read_text(), seconds, _children_cpu() - self._cpu)

    def stderr(self) -> str:
        """What it has said so far."""
        return self._err.read_text()

    def kill(self) -> None:
        """SIGKILL the driver alone; Ray's own watchers are to end what works for it.

        Its agents may seek their lost head for a minute more, where the driver was ending Ray; they are ended here.
        """
        self.process.kill()
        self.process.wait()
        until = time.monotonic() + 20
        while left := {pid: line for pid, line in self.family().items() if "Agent" not in line}:
            if time.monotonic() > until:
                self.end()
                raise AssertionError(f"the driver is dead and these live on: {left}")
            time.sleep(0.05)
        self.end()

    def end(self) -> None:
        """SIGKILL everything of this command that is left, by pid."""
        end_marked(self.mark)
        self.process.wait()

    def gone(self, within: float = 10.0) -> bool:
        """Whether all processes of this command end by themselves."""
        until = time.monotonic() + within
        while self.family():
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True

    def family(self) -> dict[int, str]:
        """Living processes with this command's mark: pid to command line."""
        return marked(self.mark)


def _children_cpu() -> float:
    """Processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def marked(mark: str) -> dict[int, str]:
    """Living processes of what was started with this mark: pid to command line.

    By session, and by the mark in the environment for what left its session; the environment alone would not do, since
    processes that set a long title write over the beginning of it.
    """
    wanted = f"{MARK}={mark}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                session = int((entry / "stat").read_text().rpartition(")")[2].split()[3])
                if session == SESSIONS.get(mark) or wanted in (entry / "environ").read_bytes().split(b"\0"):
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if line:  # a zombie has none
                        found[int(entry.name)] = line[:120]
    return found


def end_marked(mark: str) -> None:
    """SIGKILL every living process with this mark, by pid, until there is none."""
    while pids := marked(mark):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def predictors(mark: str) -> list[int]:
    """Pids of Ray's actors that hold a device, among the processes with this mark."""
    return [pid for pid, line in marked(mark).items() if line.startswith("ray::Predictors")]


def overlap(*arguments: str, scratch: Path, environment: Mapping[str, str] | None = None, timeout: float = 120) -> Ran:
    """Run a command to its end."""
    command = Command(*arguments, environment=environment, scratch=scratch)
    try:
        return command.wait(timeout)
    finally:
        command.end()


def _table(name: str, values: Mapping[str, Any]) -> str:
    return f"[{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)
