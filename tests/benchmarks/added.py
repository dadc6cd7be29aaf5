"""One checkpoint added to a complete store, reduced: python -m tests.benchmarks.added [--models 100]

The store is that of `tests.benchmarks.reductions`, made once under --store with a checkpoint more than --models. The
study is reduced without it, and then with it; its predictions are there, so that the second run is everything but its
inference. Printed are the stages of that run, what it took without the searches, and whose logits were read. With
--gone the predictions of all others are moved away meanwhile, so that nothing can have read them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from overlap.published import read_results, read_snapshot
from overlap.store import layout
from overlap.store.folder import Folder
from overlap.study import Study, load_study
from tests.benchmarks import large_store
from tests.benchmarks.reductions import Quiet, reduce
from workflows.run import run

LIMIT = 60.0
"""Seconds on two cores, of 100 models x 50,000 images x 1,000 classes."""


def without_last(study: Study) -> Study:
    """The same study over the same store, less its last checkpoint."""
    text = study.path.read_text(encoding="utf-8")
    path = study.path.with_name("fewer.toml")
    path.write_text(text[: text.rindex("[[checkpoint]]")], encoding="utf-8")
    assert len(tomllib.loads(text)["checkpoint"]) == len(tomllib.loads(path.read_text())["checkpoint"]) + 1
    return load_study(path)


@contextmanager
def gone(study: Study, added: str) -> Iterator[None]:
    """No predictions but those of one checkpoint."""
    store = Path(study.store.uri)
    held, aside = store / layout.predictions_prefix(large_store.DATA), store.with_name("aside")
    held.rename(aside)
    try:
        held.mkdir()
        (held / added).symlink_to(aside / added)
        yield
    finally:
        (held / added).unlink(missing_ok=True)
        held.rmdir()
        aside.rename(held)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=100, help="of the complete store")
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--store", type=Path, default=Path(tempfile.gettempdir()) / "overlap-benchmark")
    parser.add_argument("--gone", action="store_true", help="move the others' predictions away meanwhile")
    parser.add_argument("--output", choices=("logits", "top"), default="logits", help="what is stored of an image")
    arguments = parser.parse_args()
    size = large_store.Size(arguments.models + 1, arguments.images, arguments.classes, output=arguments.output)
    folder = arguments.store / f"{size.models}-{size.images}-{size.classes}{'-top' * (size.output == 'top')}"
    study = large_store.make(folder, size)
    print(f"{folder}; load {os.getloadavg()[0]:.1f}", flush=True)
    fewer, store = without_last(study), Path(study.store.uri)
    for prefix in ("answers", "pairs"):  # what an earlier benchmark kept
        shutil.rmtree(store / prefix, ignore_errors=True)
    (store / layout.results(large_store.DATA, "reduction.json")).unlink(missing_ok=True)
    start = time.perf_counter()
    (first,) = run(fewer, Quiet())
    assert first.results is not None
    print(f"the first {arguments.models} models, nothing kept: {time.perf_counter() - start:.1f} s", flush=True)
    snapshot = read_snapshot(large_store.DATA, Folder(store))
    assert snapshot is not None
    assert len(snapshot.models) == arguments.models
    (new,) = set(os.listdir(store / "predictions" / large_store.DATA)) - set(snapshot.models.values())
    title = f"one added to {arguments.models} models x {size.images:,} images x {size.classes:,} classes"
    if arguments.gone:
        with gone(study, new):
            stages = reduce(study, title)
    else:
        stages = reduce(study, title)
    spent = {stage.name: stage.seconds for stage in stages.all.values()}
    rest = spent["overlap run"] - spent.get("selection", 0) - spent.get("searches from bounds", 0)
    print(f"everything but inference and searches: {rest:.1f} s (at most {LIMIT:.0f} at full size on 2 quiet cores)")
    again = read_results(large_store.DATA, Folder(store))
    assert again is not None
    for name in ("logits_read", "logits_looked_up", "pairs_counted"):
        print(f"{name}: {again.provenance.get(name, '-')}")


if __name__ == "__main__":
    main()
