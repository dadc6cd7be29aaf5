"""Weights of the lease that waits come to the node while the one before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.servers import SeaweedFS
from tests.small_study import SmallStudy, net
from tests.study_fixtures import Run
from workflows.predicting import fanout


class _Recorded:
    """The task, and what was asked of it."""

    def __init__(self, task: Any) -> None:
        self._task = task
        self.asked: list[tuple[str, str]] = []
        self.references: list[Any] = []

    def options(self, **options: Any) -> _Recorded:
        self._node, self._options = options["scheduling_strategy"].node_id, options
        return self

    def remote(self, where: Any, digest: str) -> None:
        self.asked.append((self._node, digest))
        self.references.append(self._task.options(**self._options).remote(where, digest))


@pytest.mark.parametrize("kind", ["bucket", "folder"])
def test_weights_come_one_lease_ahead(
    kind: str, s3_server: SeaweedFS, tmp_path: Path, run: Run, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    task = _Recorded(fanout.fetch_ahead)
    monkeypatch.setattr(fanout, "fetch_ahead", task)
    study = SmallStudy.make(tmp_path / "study", [net(f"n{seed}", 10 + seed, delay=0.05) for seed in range(4)])
    if kind == "bucket":
        bucket = s3_server.create_bucket("overlap-fetch-ahead")
        study.write(store={"uri": f"s3://{bucket}", "endpoint_url": s3_server.endpoint_url})
    done = run(study)
    assert done.code == 0, done
    assert done.outcome["computed"] == 24
    if kind == "folder":
        assert task.asked == []  # read where it is
        return
    assert task.asked
    assert len(set(task.asked)) == len(task.asked)
    ray.get(task.references)
    for _, digest in task.asked:
        assert (scratch / "cache" / digest).is_file()
