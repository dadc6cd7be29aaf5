"""Two data sets in one study, one of them with half of the classes: heads are mapped, and pairs compared across."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from overlap.demo.digits import evaluation
from overlap.images.packing import pack
from overlap.opened import OpenedStudy
from tests.ray_cluster import RayCluster
from tests.reference import across as reference
from tests.small_study import DATA, IMAGES, Entry, SmallStudy, net
from tests.study_fixtures import Run

SYNSETS = [f"n{number:08d}" for number in range(10)]
ODD = [1, 3, 5, 7, 9]
"""The digits of the smaller set, which it numbers from 0, greatest first."""


def entries() -> list[Entry]:
    return [{**net(f"net-{seed}", seed, width=16 + 8 * (seed % 2)), "synsets": "digits.txt"} for seed in range(5)]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, cluster: RayCluster, run: Run) -> tuple[SmallStudy, list[dict]]:
    folder = tmp_path_factory.mktemp("several") / "study"
    folder.mkdir()
    (folder / "digits.txt").write_text("".join(f"{synset}\n" for synset in SYNSETS))
    (folder / "odd.txt").write_text("".join(f"{SYNSETS[digit]}\n" for digit in reversed(ODD)))
    study = SmallStudy.make(folder, entries())
    odd = [
        replace(sample, label=ODD[::-1].index(sample.label))
        for sample in evaluation()[::6][:IMAGES]
        if sample.label in ODD
    ]
    pack(odd, folder / "odd", prefix="odd", shards=2)
    study.sections[DATA] = {"synsets": "digits.txt"}
    study.write(**{"data.odd": {"shards": "odd", "classes": 5, "synsets": "odd.txt"}})
    ran = run(study)
    assert ran.code == 0, ran
    return study, [json.loads(line) for line in ran.stdout.splitlines()]


def test_a_smaller_set_gets_the_same_logits_of_its_classes(both: tuple[SmallStudy, list[dict]]) -> None:
    study, outcomes = both
    assert [outcome["data"] for outcome in outcomes] == [DATA, "odd"]
    on_digits, on_odd = (OpenedStudy(str(study.store), data) for data in (DATA, "odd"))
    whole = dict(zip(on_digits.labels()["key"], on_digits.logits("net-1"), strict=True))
    labels = on_odd.labels()
    part = on_odd.logits("net-1")
    assert part.shape == (len(labels), 5)
    for key, row, label in zip(labels["key"], part, labels["label"], strict=True):
        np.testing.assert_allclose(row, whole[key][ODD[::-1]], rtol=2e-3, atol=2e-3)
        assert 0 <= label < 5
    right = (part.argmax(1) == labels["label"].to_numpy()).mean()
    accuracy = dict(on_odd.models().select("model", "accuracy").iter_rows())["net-1"]
    assert accuracy == pytest.approx(right)
    assert accuracy > 0.6, "a mapping in another order would be right on a fifth"
    identities = {}
    for path in (study.store / "identities" / "net-1").iterdir():
        identity = json.loads(path.read_bytes())
        identities["class_map" in identity] = identity
    assert len(identities) == 2, "on the digits the head has the data's own classes and no mapping"
    assert {key for key, value in identities[True].items() if value != identities[False].get(key)} == {"class_map"}


def test_pairs_are_compared_across(both: tuple[SmallStudy, list[dict]], run: Run) -> None:
    study, outcomes = both
    table = pl.read_parquet(study.store / "results" / "across.parquet")
    pairs = {data: study.tables(data)["pairs"] for data in (DATA, "odd")}
    assert table.height == 10
    assert table["kappa_x"].to_list() == pairs[DATA]["kappa"].to_list()
    assert table["kappa_y"].to_list() == pairs["odd"]["kappa"].to_list()
    summary = pl.read_parquet(study.store / "results" / "across-summary.parquet")
    assert outcomes[0]["across"] == []
    assert outcomes[1]["across"] == summary.to_dicts()
    for row in summary.to_dicts():
        on_x, on_y = (table[f"{row['statistic']}_{side}"].to_list() for side in "xy")
        assert row["rank_correlation"] == pytest.approx(reference.rank_correlation(on_x, on_y, [1.0] * 10))
        assert row["low"] <= row["rank_correlation"] <= row["high"]


def test_nothing_new_is_not_compared_again_and_damage_is_mended(
    both: tuple[SmallStudy, list[dict]], run: Run, tmp_path: Path
) -> None:
    study = both[0].copy(tmp_path / "study")
    tables = [study.store / "results" / name for name in ("across.parquet", "across-summary.parquet")]
    before = [(path.stat().st_mtime_ns, path.read_bytes()) for path in tables]
    again = run(study)
    assert json.loads(again.stdout.splitlines()[1])["across"] == both[1][1]["across"]
    assert [(path.stat().st_mtime_ns, path.read_bytes()) for path in tables] == before
    tables[0].unlink()
    tables[1].write_bytes(b"PAR1")
    run(study)
    assert [path.read_bytes() for path in tables] == [body for _, body in before]
