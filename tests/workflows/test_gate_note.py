"""What a reduction says where published figures exist and nothing says that its images are those."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from overlap.images.dataset import Dataset
from overlap.panel import Panel
from overlap.study import load_study
from overlap.zoo.checkpoint import Checkpoint
from overlap.zoo.resolve import data_space, resolve
from workflows.gate import Gate
from workflows.plan import Plan

STUDY = """name = "s"
[data.val]
shards = "x.tar"
classes = 1000
class_space = "imagenet-1k"
[[checkpoint]]
id = "a"
source = "timm:resnet18.a1_in1k"
"""


@pytest.mark.parametrize(("gate", "judged"), [("", 0), ('[gate]\ndata = ["val"]\n', 1)])
def test_figures_to_which_nothing_is_held_are_told(gate: str, judged: int, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY + gate)
    study = load_study(tmp_path / "study.toml")
    (candidate,), _ = resolve(study, 1000, data_space("val", study.data["val"]))
    plan = Plan(study, Dataset("val.first9", 1000, ()), (Checkpoint(candidate, "0" * 64, 1),), (), frozenset())
    labels = np.arange(1000, dtype=np.int32)
    told = Gate(plan).judge(Panel(("a",), [f"k{number}" for number in labels], labels, labels[None]))
    assert len(told.verdicts) == judged
    if judged:
        assert set(told.quarantined) == {"a"}, "every answer right is not what was published either"
    else:
        (note,) = told.notes
        assert 'data = ["val"] under `[gate]`' in note
