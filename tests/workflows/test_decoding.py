"""Decoding by GPUs on real Ray: refused where there are none, before anything is predicted; few at a time elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from overlap.errors import StudyError
from overlap.study import load_study
from overlap.zoo.preprocessing import Preprocessing
from tests.study_fixtures import Run
from tests.workflows.jobs import tiny
from workflows.nodes.cluster import Node
from workflows.predicting.decoding import EACH_GPU, cpus


def test_a_study_that_wants_gpus_to_decode_where_there_are_none(tmp_path: Path, run: Run) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU that torch sees")
    study = tiny(tmp_path / "study")
    study.write(predict={"decoder": "nvjpeg"})
    ran = run(study)
    assert ran.code == 2, ran
    (said,) = [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
    assert said.startswith("error: node ")
    assert said.endswith(
        'has no GPU for decoder = "nvjpeg"; give every node a GPU that torch can use, or set decoder = "torchvision"'
    )
    assert not (study.store / "predictions").exists()
    study.write(predict={"decoder": "nvjpeg", "device": "cpu"})
    with pytest.raises(StudyError, match='decoder = "nvjpeg" needs GPUs, which device = "cpu" declines'):
        load_study(study.path)


def test_a_gpu_decodes_a_few_shards_at_a_time() -> None:
    hard, soft = ([Preprocessing((8, 8), decoder=name).signature] for name in ("nvjpeg", "torchvision"))
    for held in (1, 2, 16, 96):
        for gpus in (0.0, 1.0, 2.0, 8.0):
            node = Node("a", held, gpus, 1 << 30, 1 << 30)
            assert cpus(node, soft) == 1
            at_once = held // cpus(node, hard)
            assert 1 <= at_once <= max(held, 1)
            if gpus and held >= EACH_GPU * gpus:
                assert EACH_GPU * gpus <= at_once <= 2 * EACH_GPU * gpus
