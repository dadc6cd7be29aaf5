"""The accuracy gate, end to end: a head in another order and a wrong crop are quarantined, and the reason found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.torch import load_file, save_file

from overlap.status import state
from overlap.study import load_study
from tests.ray_cluster import RayCluster
from tests.small_study import CLASSES, DATA, SmallStudy, net
from tests.study_fixtures import Run

GOOD = ("good-0", "good-1", "good-2")
ORDER = np.roll(np.arange(CLASSES), 3)[[1, 0, 2, 3, 4, 5, 6, 7, 8, 9]]
"""Class that each output of the shuffled head stands for."""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory, cluster: RayCluster, run: Run) -> SmallStudy:
    """Three good checkpoints, a shuffled copy of one, a reversed copy of one, and one whose crop is too small."""
    entries = [net(name, seed, width=32) for seed, name in enumerate(GOOD)]
    entries += [net(name, 0, width=32) for name in ("shuffled", "reversed", "cropped")]
    entries[-1]["preprocess"] = {**entries[-1]["preprocess"], "crop_pct": 0.75}
    study = SmallStudy.make(tmp_path_factory.mktemp("gate") / "study", entries)
    for name, order in (("shuffled", ORDER), ("reversed", np.arange(CLASSES)[::-1])):
        tensors = load_file(study.folder / f"weights/{name}.safetensors")
        tensors |= {part: tensors[part][order.tolist()].contiguous() for part in ("head.weight", "head.bias")}
        save_file(tensors, study.folder / f"weights/{name}.safetensors")
    ran = run(study)
    assert ran.code == 0, ran
    accuracy = {row["model"]: row["accuracy"] for row in study.tables()["models"].to_dicts()}
    for entry in study.entries:
        # As published, but for the rounding; what is faulty was published by its healthy twin.
        entry["published_top1"] = round(100 * accuracy[entry["id"] if entry["id"] in GOOD else "good-0"], 1)
    study.write()
    return study


def test_wrong_checkpoints_are_quarantined_and_the_fault_is_named(faulty: SmallStudy, run: Run) -> None:
    ran = run(faulty)
    assert ran.code == 3, ran
    assert ran.outcome["computed"] == 0
    assert ran.outcome["reduced"], "published values are part of what goes into a reduction"
    tables = faulty.tables()
    status = dict(tables["models"].select("model", "status").iter_rows())
    assert status == dict.fromkeys(GOOD, "complete") | dict.fromkeys(("cropped", "reversed", "shuffled"), "quarantined")
    models = tables["models"].filter(pl.col("status") == "quarantined")
    assert models["accuracy"].null_count() == 0
    assert models["n"].unique().to_list() == [240]
    assert {*tables["pairs"]["model_a"], *tables["pairs"]["model_b"]} == set(GOOD)
    assert {*tables["ensembles"]["model"]} <= set(GOOD)
    reasons = ran.outcome["failed"]
    assert "label order: another order of the classes" in reasons["shuffled"]
    assert f"0→{ORDER[0]}, 1→{ORDER[1]}," in reasons["shuffled"]
    assert "label order: the head is reversed" in reasons["reversed"]
    assert "label order" not in reasons["cropped"]
    assert "crop" in reasons["cropped"]
    assert all(reason.startswith("quarantined: top-1 ") for reason in reasons.values())
    report = (faulty.store / "results" / DATA / "report.html").read_text(encoding="utf-8")
    assert "the head is reversed" in report
    told = {model.model: model.reason for model in state(load_study(faulty.path))[0].models if model.reason}
    assert told == reasons
    again = run(faulty)
    assert (again.code, again.outcome["reduced"]) == (3, False)
    assert again.outcome["failed"] == reasons


def test_the_study_may_keep_them_and_a_change_of_the_gate_is_seen(faulty: SmallStudy, run: Run, tmp_path: Path) -> None:
    study = faulty.copy(tmp_path / "study")
    study.write(gate={"quarantine": False})
    kept = run(study)
    assert (kept.code, kept.outcome["reduced"]) == (0, True)
    assert len(study.tables()["pairs"]) == 15
    head = json.loads((study.store / "results" / DATA / "reduction.json").read_bytes())
    assert len([note for note in head["notes"] if "is not as published, and kept" in note]) == 3
    study.write(gate={"allowance": 100.0})
    assert run(study).code == 0
    assert study.tables()["models"]["status"].unique().to_list() == ["complete"]
    study.write(gate={"quarantine": True, "data": [DATA]})
    for entry in study.entries:
        del entry["published_top1"]
    study.write(gate={"published": "table.csv"})
    (study.folder / "table.csv").write_text("model,published_top1,source\nreversed,90,the paper\n", encoding="utf-8")
    tabled = run(study)
    assert tabled.code == 3
    assert set(tabled.outcome["failed"]) == {"reversed"}
    assert "published 90.0% (the paper)" in tabled.outcome["failed"]["reversed"]
    (study.folder / "table.csv").write_text("model,published_top1,source\nreversed,x,y\n", encoding="utf-8")
    refused = run(study)
    assert refused.code == 2
    assert "line 2: model 'reversed' has published_top1 'x', no percentage" in refused.stderr


def test_what_fails_where_figures_are_known_is_left_out_of_other_data_too(
    faulty: SmallStudy, run: Run, tmp_path: Path
) -> None:
    study = faulty.copy(tmp_path / "study")
    shutil.copytree(study.folder / "data", study.folder / "more")
    study.write(**{"data.again": {"shards": "more", "classes": CLASSES}, "gate": {"data": ["again"]}})
    ran = run(study)
    assert ran.code == 3
    first, second = (json.loads(line) for line in ran.stdout.splitlines())
    assert (first["data"], second["data"]) == (DATA, "again")
    assert set(first["failed"]) == set(second["failed"]) == {"cropped", "reversed", "shuffled"}
    assert all(reason.startswith("quarantined: top-1 ") for reason in second["failed"].values())
    assert all(reason.startswith("quarantined on data 'again': top-1 ") for reason in first["failed"].values())
    for data in (DATA, "again"):
        assert len(study.tables(data)["pairs"]) == 3
    again = [json.loads(line) for line in run(study).stdout.splitlines()]
    assert [outcome["reduced"] for outcome in again] == [False, False]
    assert again[0]["failed"] == first["failed"]


def test_a_study_in_which_nothing_is_as_published_says_so(faulty: SmallStudy, run: Run, tmp_path: Path) -> None:
    study = faulty.copy(tmp_path / "study")
    for entry in study.entries:
        entry["published_top1"] = 100.0
    study.write()
    ran = run(study)
    assert ran.code == 3
    assert set(study.tables()["models"]["status"]) == {"quarantined"}
    assert study.tables()["pairs"].is_empty()
    head = json.loads((study.store / "results" / DATA / "reduction.json").read_bytes())
    assert head["notes"][0].startswith("6 of 6 published accuracies do not fit: are they about these images")
    study.write(gate={"data": ["nowhere"]})
    refused = run(study)
    assert refused.code == 2
    assert "gate.data names 'nowhere'" in refused.stderr
