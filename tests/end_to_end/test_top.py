"""A study of the largest logits alone, through the command line, beside the same study of all logits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from overlap import ensemble
from overlap.analysis import splits
from overlap.analysis.calibration import Calibration, probabilities, score
from overlap.analysis.tops import samples
from overlap.errors import DataError
from overlap.opened import OpenedStudy
from tests import hundred
from tests.small_study import DATA, SmallStudy
from tests.study_fixtures import Run, invoke

UNCALIBRATED = ("mean_probability_uncalibrated", "mean_log_probability_uncalibrated")
BUDGET = 9000
"""Parameters of two networks, whichever."""
SEARCHES = {
    "greedy": "forward",
    "greedy from net-2": "forward",
    "greedy without replacement": "without_replacement",
    "weak models for net-2": "pool",
    "control for net-2": "control",
    f"within {BUDGET:,} parameters": "budget",
}
RATES = ("accuracy", "gain_mean", "gain_best", "gain_low", "gain_high", "conversion_rate", "r11", "r00")


@dataclass(frozen=True)
class Both:
    """The same study twice, run to its end."""

    full: SmallStudy
    top: SmallStudy

    @property
    def opened(self) -> tuple[OpenedStudy, OpenedStudy]:
        return OpenedStudy(str(self.full.store)), OpenedStudy(str(self.top.store))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Iterator[Both]:
    full = hundred.make(tmp_path_factory.mktemp("full") / "study")
    top = full.copy(tmp_path_factory.mktemp("top") / "study")
    budgets = {"ensembles.budgets": {"parameters": BUDGET}}
    top.write(predict={"output": "top"}, ensembles={"anchors": ["net-2"]}, **budgets)
    for study in (full, top):
        ran = run(study)
        assert ran.code == 0, ran
        assert ran.outcome["computed"] == 12
    return Both(full, top)


def told(study: SmallStudy) -> dict:
    return dict(json.loads((study.store / "results" / DATA / "reduction.json").read_bytes()))


@dataclass(frozen=True)
class Exact:
    """What the study of all logits comes to at the temperatures of the other."""

    models: list[str]
    keys: list[str]
    labels: np.ndarray
    logits: list[np.ndarray]
    calibrations: list[Calibration]

    @classmethod
    def of(cls, opened: OpenedStudy) -> Exact:
        truth = opened.labels()
        keys, labels = truth["key"].to_list(), truth["label"].to_numpy()
        models = opened.models()["model"].sort().to_list()
        logits = [opened.logits(model) for model in models]
        sample, folds = samples.calibration(keys), splits.folds(keys)
        fitted = [score([z[sample]], labels[sample], folds[sample]).calibration for z in logits]
        return cls(models, keys, labels, logits, fitted)

    def right(self, members: list[str]) -> np.ndarray:
        total = np.zeros(self.logits[0].shape)
        for model in members:
            place = self.models.index(model)
            total += probabilities(self.logits[place], self.calibrations[place].of(splits.folds(self.keys)))
        return np.asarray(total.argmax(axis=1) == self.labels)


def test_hard_predictions_and_pairs_are_the_same(both: Both) -> None:
    full, top = both.opened
    assert full.pairs().equals(top.pairs())
    columns = ["model", "n", "accuracy", "top5", "status"]
    assert full.models().select(columns).equals(top.models().select(columns))
    assert 0.2 < full.models()["accuracy"].min() < full.models()["accuracy"].max() < 0.95
    fingerprints = both.full.fingerprints(), both.top.fingerprints()
    assert fingerprints[0].keys() == fingerprints[1].keys()
    assert not set(fingerprints[0].values()) & set(fingerprints[1].values())
    kinds = [
        {json.loads(body)["output"] for body in study.objects("identities").values()} for study in (both.full, both.top)
    ]
    assert kinds == [{"logits"}, {"top"}]


def test_temperatures_nll_and_ece_are_of_the_calibration_sample(both: Both) -> None:
    full, top = both.opened
    exact = Exact.of(full)
    rows = top.models().sort("model")
    for name in ("temperature", "nll", "ece"):
        assert rows[name].to_list() == [getattr(one, name) for one in exact.calibrations]
    sample = int(samples.calibration(exact.keys).sum())
    assert sample > 20
    assert any(f"of the {sample} images of the calibration sample" in note for note in told(both.top)["notes"])
    assert any("not made of the largest logits alone" in note for note in told(both.top)["notes"])


def test_certified_ensembles_of_pairs_are_those_of_all_logits(both: Both) -> None:
    full, top = both.opened
    exact, expected = Exact.of(full), full.table("pair_ensembles")
    found, bounds = top.table("pair_ensembles"), top.table("pair_ensemble_bounds")
    keys = ["model_a", "model_b", "combiner"]
    assert found.select(keys).equals(expected.select(keys))
    assert found.select(keys).equals(bounds.select(keys))
    for column in RATES:
        for one, other, row in zip(found[column], expected[column], found.select(keys).rows(), strict=True):
            assert row[2] not in UNCALIBRATED or one is None or one == other
    for row in bounds.filter(pl.col("combiner") == "mean_probability").iter_rows(named=True):
        accuracy = exact.right([row["model_a"], row["model_b"]]).mean()
        assert row["accuracy_low"] - 1e-12 <= accuracy <= row["accuracy_high"] + 1e-12
        own = found.filter(*(pl.col(name) == row[name] for name in keys))["accuracy"][0]
        assert (own is None) == (row["undecided"] > 0)
        assert own is None or own == pytest.approx(accuracy, abs=1e-12)
    probability = bounds.filter(pl.col("combiner").str.starts_with("mean_probability"))
    assert probability["undecided"].sum() <= 0.005 * hundred.IMAGES * probability.height
    assert found.filter(pl.col("combiner") == "mean_probability")["accuracy"].null_count() < 6
    assert (found["gain_best"].drop_nulls() != 0).any()


def test_certified_searches_are_those_of_all_logits(both: Both) -> None:
    full, top = both.opened
    exact = Exact.of(full)
    steps = top.table("ensembles").join(top.table("ensemble_bounds"), on=["search", "step"], validate="1:1")
    searches = top.table("searches")
    kinds = dict(searches.select("search", "kind").iter_rows())
    assert SEARCHES.items() <= kinds.items()
    assert set(kinds) <= {*SEARCHES, "weak models of other training for net-2"}
    assert set(steps["search"]) == set(searches.filter(pl.col("size").is_not_null())["search"])
    selection = splits.selection(exact.keys)
    alone = {model: exact.right([model])[selection].mean() for model in exact.models}
    weak = [model for model in exact.models if alone[model] < np.median([*alone.values()]) and model != "net-2"]
    for search in set(steps["search"]):
        rows = steps.filter(pl.col("search") == search).sort("step")
        members = rows["model"].to_list()
        assert len(members) > 1
        for step, row in enumerate(rows.iter_rows(named=True)):
            right = exact.right(members[: step + 1])
            if step and kinds[search] in ("forward", "without_replacement", "pool"):  # the first of the best
                pool = weak if search.startswith("weak models for") else exact.models
                if kinds[search] == "without_replacement":
                    pool = [model for model in pool if model not in members[:step]]
                counts = [exact.right([*members[:step], model])[selection].sum() for model in pool]
                assert search.startswith("weak models of") or pool[int(np.argmax(counts))] == row["model"]
            for split, chosen in (("select", selection), ("test", ~selection)):
                accuracy = right[chosen].mean()
                assert row[f"accuracy_{split}_low"] - 1e-12 <= accuracy <= row[f"accuracy_{split}_high"] + 1e-12
                assert (row[f"accuracy_{split}"] is None) == (row[f"undecided_{split}"] > 0)
                if row[f"accuracy_{split}"] is not None:
                    assert row[f"accuracy_{split}"] == pytest.approx(accuracy, abs=1e-12)
    weights = top.table("ensemble_weights").group_by("search").agg(pl.col("weight").sum(), pl.len())
    certain = searches.filter(pl.col("size").is_not_null()).join(weights, on="search", validate="1:1")
    assert set(weights["search"]) == set(certain["search"])
    assert certain["weight"].to_list() == pytest.approx([1.0] * certain.height)
    assert certain["len"].to_list() == certain["distinct"].to_list()
    within = searches.filter(pl.col("kind") == "budget")
    assert within["parameters"].drop_nulls().max() <= BUDGET
    assert searches["size"].drop_nulls().len() or searches["reason"].drop_nulls().len()


def test_what_is_stored_is_checked_against_all_logits(both: Both) -> None:
    _, top = both.opened
    agreement = top.table("top_agreement")
    keys = top.labels()["key"].to_list()
    assert agreement["audited"].to_list() == [int(samples.audit(keys).sum())] * 4
    assert agreement["audited"][0] > 0
    assert agreement["width_uncalibrated_max"].max() < 1e-4
    (note,) = [note for note in told(both.top)["notes"] if "audit sample" in note]
    assert "all rightly" in note
    with pytest.raises(DataError, match=r'predict\.output = "logits"'):
        top.logits("net-0")
    report = (both.top.store / "results" / DATA / "report.html").read_text(encoding="utf-8")
    assert "calibration sample" in report


def test_a_second_run_has_nothing_to_do_and_damage_is_mended(both: Both, tmp_path: Path, run: Run) -> None:
    study = both.top.copy(tmp_path / "study")
    again = run(study)
    assert (again.code, again.outcome["computed"]) == (0, 0)
    before = study.recorded_bytes()
    damaged = next(iter(sorted((study.store / "predictions" / DATA).rglob("*.parquet"))))
    damaged.write_bytes(damaged.read_bytes()[:-100])
    mended = run(study, "--verify")
    assert mended.code == 0, mended
    assert mended.outcome["computed"] == 1
    assert study.recorded_bytes() == before


def test_a_checkpoint_that_is_added_joins_the_others(both: Both, tmp_path: Path, run: Run) -> None:
    study = both.top.copy(tmp_path / "study")
    (entry,) = [one for one in hundred.entries(5) if one["id"] == "net-4"]
    hundred.save(study.folder, entry)
    study.add(entry, weights=False)
    ran = run(study)
    assert (ran.code, ran.outcome["computed"]) == (0, 3), ran
    opened = OpenedStudy(str(study.store))
    before, keys = both.opened[1], ["model_a", "model_b", "combiner"]
    pairs = opened.table("pair_ensembles")
    assert pairs.height == 10 * 5
    kept = pairs.join(before.table("pair_ensembles"), on=keys, how="semi").sort(keys)
    assert kept.equals(before.table("pair_ensembles").sort(keys))
    assert told(study)["news"] is not None


def test_ensembles_of_a_selection_of_pairs_are_those_among_all(both: Both, tmp_path: Path, run: Run) -> None:
    study = both.top.copy(tmp_path / "study")
    study.write(analysis={"detailed_pairs": 4})
    assert run(study).code == 0
    before, after = both.opened[1], OpenedStudy(str(study.store))
    chosen, keys = after.table("divergence").select("model_a", "model_b"), ["model_a", "model_b"]
    assert (chosen.height, after.pairs().height) == (4, 6)
    for name in ("pair_ensembles", "pair_ensemble_bounds"):
        expected = before.table(name).join(chosen, on=keys, how="semi", maintain_order="left")
        assert after.table(name).equals(expected)
    assert told(study)["provenance"]["detailed_pairs"].startswith("4 of 6 pairs, chosen by hash (")


def test_its_best_ensemble_is_exported_and_asked_for_all_classes(both: Both, tmp_path: Path) -> None:
    exported = invoke("export", str(both.top.path), str(tmp_path / "export"))
    assert exported.code == 0, exported
    found = ensemble.load(tmp_path / "export")
    assert {member.top for member in found.description.members} == {True}
    asked = found.predict([Image.fromarray(one) for one in hundred.pictures(3, 2, 60)[0]])
    assert asked.shape == (3, hundred.CLASSES)
    np.testing.assert_allclose(asked.sum(1), 1, rtol=1e-5)


def test_changing_the_output_says_what_is_computed_again(both: Both, tmp_path: Path) -> None:
    study = both.top.copy(tmp_path / "study")
    study.write(predict={"output": "logits"})
    said = invoke("plan", str(study.path), "--explain")
    assert said.code == 0, said
    assert 'changed: output "top" -> "logits"' in said.stdout


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({DATA: {"classes": 64}}, 'data.digits has 64 classes, and predict.output = "top" keeps the 64 largest'),
        ({DATA: {"classes": 70000}}, "holds at most 65534"),
        ({"champion": {"register": True}}, "the champion is judged by all logits"),
        ({"predict": {"output": "most"}}, "predict.output"),
    ],
)
def test_combinations_that_cannot_be_are_refused(sections: dict, said: str, both: Both, tmp_path: Path) -> None:
    study = both.top.copy(tmp_path / "study")
    study.write(**sections)
    refused = invoke("plan", str(study.path))
    assert refused.code == 2, refused
    assert said in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
