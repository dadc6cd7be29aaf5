"""Two data sets in one study, one of them with half of the classes: heads are mapped, and pairs compared across."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from mlflow import MlflowClient

from overlap.demo.digits import evaluation
from overlap.images.packing import pack
from overlap.opened import OpenedStudy
from overlap.published import read_results
from overlap.report.wording import number
from overlap.store.folder import Folder
from tests.ray_cluster import RayCluster
from tests.reference import across as reference
from tests.small_study import DATA, IMAGES, Entry, SmallStudy, net
from tests.study_fixtures import Run
from workflows import across
from workflows.outcome import Outcome

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
    study.write(
        tracking={"uri": "sqlite:///mlflow.db"}, **{"data.odd": {"shards": "odd", "classes": 5, "synsets": "odd.txt"}}
    )
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


def test_a_selection_of_pairs_is_the_same_on_either_set(
    both: tuple[SmallStudy, list[dict]], tmp_path: Path, run: Run
) -> None:
    """Chosen by what models are, whatever classes they are asked for: so all pairs that were chosen are compared."""
    study = both[0].copy(tmp_path / "study")
    before = pl.read_parquet(study.store / "results" / "across.parquet")
    study.write(tracking={"uri": "none"}, analysis={"detailed_pairs": 6})
    assert run(study).code == 0
    names = ["model_a", "model_b"]
    chosen = [
        pl.read_parquet(study.store / f"results/{data}/divergence.parquet").select(names) for data in (DATA, "odd")
    ]
    assert chosen[0].equals(chosen[1])
    table = pl.read_parquet(study.store / "results" / "across.parquet")
    assert table.height == 6
    assert table.equals(before.join(chosen[0], on=names, how="semi", maintain_order="left"))


def test_reports_and_mlflow_show_how_pairs_compare(both: tuple[SmallStudy, list[dict]]) -> None:
    """The first set's report too, though it was reduced before there was anything to compare it with."""
    study, outcomes = both
    summary = pl.read_parquet(study.store / "results" / "across-summary.parquet").to_dicts()
    client = MlflowClient(tracking_uri=f"sqlite:///{study.folder}/mlflow.db")
    (experiment,) = [one for one in client.search_experiments() if one.name == "small"]
    runs = client.search_runs([experiment.experiment_id], "tags.`overlap.kind` = 'reduction'")
    metrics = {run.data.tags["overlap.data"]: run.data.metrics for run in runs}
    assert len(runs) == 2
    for outcome, other in zip(outcomes, ("odd", DATA), strict=True):
        assert outcome["tracking_error"] is None
        page = (study.store / "results" / outcome["data"] / "report.html").read_text()
        (table,) = re.findall(r'id="across-summary">(.*?)</table>', page, re.S)
        assert table.count(f"<code>{other}</code>") == len(summary) == 3
        for row in summary:
            assert f">{number(row['rank_correlation'])}</td>" in table
            told = metrics[outcome["data"]][f"across/{other}/{row['statistic']}"]
            assert told == pytest.approx(row["rank_correlation"])


def test_what_could_not_be_shown_is_shown_by_the_next_run(both: tuple[SmallStudy, list[dict]], tmp_path: Path) -> None:
    objects = Folder(both[0].copy(tmp_path / "study").store)
    (objects.root / "results" / "across.json").unlink()

    def outcomes() -> list[Outcome]:
        return [Outcome(data, results=read_results(data, objects)) for data in (DATA, "odd")]

    shown: list[str] = []

    def down(outcome: Outcome, table: pl.DataFrame) -> None:
        shown.append(outcome.data)
        assert table.height == 3
        outcome.tracking_error = "MLflow is down"

    first = outcomes()
    across.compare(first, objects, down)
    assert [len(outcome.across) for outcome in first] == [0, 3]
    assert across.stored(first[0].results, objects) is None
    across.compare(outcomes(), objects, lambda outcome, _: shown.append(outcome.data))
    across.compare(outcomes(), objects, lambda outcome, _: shown.append(outcome.data))
    assert shown == [DATA, "odd"] * 2, "once more, and then no more"
    for outcome in outcomes():
        told = across.stored(outcome.results, objects)
        assert told is not None
        assert told.height == 3
        assert across.stored(replace(outcome.results, inputs_digest="0" * 64), objects) is None


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
