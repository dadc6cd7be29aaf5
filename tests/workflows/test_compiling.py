"""A study whose networks are compiled, whole: what they say beside plain float32 is stored, and told in the tables."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.study_fixtures import Run
from tests.workflows.jobs import tiny

PROMPT = """
import torch, small_nets

class Net(small_nets.Net):
    def forward(self, images):
        return self.head(torch.relu(self.hidden(self.pool(images).flatten(1))))
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ on a CPU")
def test_a_study_that_compiles(tmp_path: Path, run: Run) -> None:
    study = tiny(tmp_path / "study")
    (study.folder / "prompt_nets.py").write_text(PROMPT)
    study.entries[0]["factory"] = "prompt_nets:Net.build"
    study.entries[1]["compile"] = False  # it may sleep, which no compiler takes
    study.write(predict={"compile": True})
    ran = run(study)
    assert ran.code == 0, ran
    audits = [len(record["provenance"].get("audit", ())) for record in study.records().values()]
    assert sorted(audits) == [0, 0, 20, 20], "of the compiled one, all images of its two shards"
    floors = dict(study.tables()["models"].select("model", "noise_floor_ei").iter_rows())
    assert floors == {"net-0": 0.0, "net-1": None}
