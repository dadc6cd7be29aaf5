"""A second truth about the same images: every table is asked again under it, and nothing is predicted again."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from overlap.opened import OpenedStudy
from tests.small_study import DATA, SmallStudy, net
from tests.study_fixtures import Run

REAL = f"{DATA}@real"


def accepted_of(key: str, label: int, place: int) -> list[int]:
    """Every seventh image has no accepted class, every fifth two, every eleventh another than its label."""
    if place % 7 == 0:
        return []
    if place % 5 == 0:
        return [label, (label + 1) % 10]
    return [(label + 3) % 10] if place % 11 == 0 else [label]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, run: Run) -> SmallStudy:
    study = SmallStudy.make(
        tmp_path_factory.mktemp("truths") / "study", [net(f"net-{seed}", seed) for seed in range(4)]
    )
    assert run(study).code == 0
    labels = OpenedStudy(str(study.store)).labels().sort("key")
    accepted = [accepted_of(key, label, place) for place, (key, label) in enumerate(labels.iter_rows())]
    (study.folder / "real.json").write_text(json.dumps(accepted))
    study.write(**{DATA: {"truths": {"real": "real.json"}}})
    ran = run(study)
    assert ran.code == 0, ran
    outcomes = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [(outcome["data"], outcome["computed"], outcome["reduced"]) for outcome in outcomes] == [
        (DATA, 0, False),
        (REAL, 0, True),
    ]
    return study


def test_every_table_is_asked_under_the_other_truth(study: SmallStudy) -> None:
    own, real = OpenedStudy(str(study.store)), OpenedStudy(str(study.store), REAL)
    accepted = dict(real.labels().iter_rows())
    keys = own.labels()["key"].to_list()
    known = [place for place, key in enumerate(keys) if accepted[key]]
    assert 0 < len(known) < len(keys)
    right = {}
    for model in real.models()["model"]:
        guesses = own.logits(model).argmax(axis=1).tolist()
        right[model] = [guesses[place] in accepted[keys[place]] for place in known]
        row = real.models().row(by_predicate=pl.col("model") == model, named=True)
        assert row["n"] == len(known)
        assert row["accuracy"] == pytest.approx(sum(right[model]) / len(known))
    assert real.pairs().height == 6
    for row in real.pairs().to_dicts():
        a, b = right[row["model_a"]], right[row["model_b"]]
        only = sum(x != y for x, y in zip(a, b, strict=True))
        assert row["both_right"] == sum(x and y for x, y in zip(a, b, strict=True))
        assert row["error_inconsistency"] == pytest.approx(only / len(known))
    for row in real.pair_ensembles().to_dicts():
        cells = row["both_right"] * (row["r11"] or 0) + row["both_wrong"] * (row["r00"] or 0)
        cells += (row["only_a"] + row["only_b"]) * (row["conversion_rate"] or 0)
        assert row["accuracy"] == pytest.approx(cells / len(known))
    assert real.ensembles().height


def test_both_truths_are_published(study: SmallStudy) -> None:
    for data in (DATA, REAL):
        assert (study.store / "results" / data / "report.html").stat().st_size > 10_000
    notes = json.loads((study.store / "results" / REAL / "reduction.json").read_bytes())["notes"]
    assert any("accepts no class of 35 of 240 images" in note for note in notes), notes
    with pytest.raises(Exception, match="name one of them"):
        OpenedStudy(str(study.store), f"{DATA}@other")
    assert OpenedStudy(str(study.store)).data == DATA


def test_a_truth_that_does_not_fit_is_said_before_anything_runs(study: SmallStudy, tmp_path: Path, run: Run) -> None:
    copy = study.copy(tmp_path / "copy")
    (copy.folder / "real.json").write_text("[[1], [2]]")
    ran = run(copy)
    assert ran.code == 2
    assert "truth 'real'" in ran.stderr
    assert "2 entries for 240 images" in ran.stderr
