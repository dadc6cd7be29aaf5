"""A study that insists on GPUs is refused where there are none and none will come; one that declines takes none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from overlap.errors import StudyError
from overlap.study import load_study
from tests.ray_cluster import RayCluster
from tests.small_study import SmallStudy
from tests.study_fixtures import Run
from tests.workflows.jobs import Heard, tiny
from workflows.nodes.capacity import await_gpus
from workflows.nodes.cluster import Node, gpus_per_predictor


@pytest.fixture
def study(tmp_path: Path) -> SmallStudy:
    return tiny(tmp_path / "study")


def test_no_gpu_where_one_is_wanted(study: SmallStudy, run: Run) -> None:
    study.write(predict={"device": "gpu"})
    ran = run(study)
    assert ran.code == 2, ran
    (said,) = [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
    assert said == (
        'error: predict.device = "gpu" with 1 a predictor, but no node has more than 0 GPUs; '
        'start a node with GPUs, or set device = "auto" to predict on CPUs'
    )
    assert not (study.store / "predictions").exists()


def test_a_cluster_of_fixed_nodes_is_not_waited_for(study: SmallStudy, cluster: RayCluster) -> None:
    study.write(predict={"device": "gpu", "gpus_per_worker": 0.5})
    with pytest.raises(StudyError, match=re.escape('predict.device = "gpu" with 0.5 a predictor, but no node has')):
        await_gpus(load_study(study.path), True, Heard())


def test_gpus_that_are_declined(study: SmallStudy) -> None:
    study.write(predict={"device": "cpu"})
    predict = load_study(study.path).predict
    assert gpus_per_predictor(predict.gpus, [Node("a", 8, 4.0, 1 << 30, 1 << 30)]) == 0
    assert (
        gpus_per_predictor(load_study(study.path).predict.gpus_per_worker, [Node("a", 8, 4.0, 1 << 30, 1 << 30)]) == 1
    )
    study.write(predict={"device": "gpu", "gpus_per_worker": 0})
    with pytest.raises(StudyError, match="needs gpus_per_worker above 0"):
        load_study(study.path)
    study.write(predict={"device": "tpu"})
    with pytest.raises(StudyError, match=r"key 'predict\.device'"):
        load_study(study.path)
