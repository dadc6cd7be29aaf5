"""Pair ensembles: counts against plain Python, and the identities of paper.md 1.2."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.analysis import calibration, combining
from overlap.analysis.calibration import Calibration
from overlap.analysis.combining import COMBINERS, MAIN, EnsembleCounts
from overlap.analysis.consistency import PairCounts
from overlap.analysis.ensembles.shortlists import most_said, shortlist
from overlap.analysis.notes import pair_ensemble_notes
from overlap.analysis.pair_ensembles import pair_ensembles_table
from overlap.analysis.pairs import CATEGORIES
from overlap.analysis.splits import folds
from overlap.analysis.tally import add_gains
from tests.analysis.together import count_ensembles, ensemble_counts, together
from tests.analysis.zoo import calibrate, logits, pair_counts, predictions
from tests.reference import ensembles as reference
from tests.reference import intervals

ONES = np.ones((5, 3, 3))

COLUMNS = [
    *("model_a", "model_b", "combiner", "n", "both_right", "only_a", "only_b", "both_wrong", "accuracy"),
    *("gain_mean", "gain_best", "gain_low", "gain_high", "conversion_rate", "r11", "r00", "nll", "ece", "soft_n"),
]


class Study:
    """A zoo, calibrated; with `accepted` > 1 some images have several accepted classes."""

    def __init__(self, models: int, images: int, classes: int, seed: int = 0, accepted: int = 1) -> None:
        self.logits, self.labels = logits(models, images, classes, seed)
        self.names = [f"m{number}" for number in range(models)]
        self.prediction = predictions(self.logits)
        self.folds = folds([str(image) for image in range(images)])
        self.calibrations = [calibrate([z], self.labels, self.folds) for z in self.logits]
        random = np.random.default_rng(seed)
        if accepted > 1:
            further = (self.labels[:, None] + random.integers(1, classes, (images, accepted - 1))).astype(np.int32)
            further = np.where(random.random(further.shape) < 0.5, further % classes, -1)
            self.labels = np.column_stack([self.labels, -np.sort(-further)]).astype(np.int32)
        self.counts = pair_counts(self.prediction, self.labels)
        self.categories = random.choice(np.array([None, "reinit", "dataset"], object), (models, models))
        self.weights = random.uniform(0, 2, (5, models, models)) * (random.random((5, models, models)) < 0.9)

    @property
    def accepted(self) -> list[list[int]]:
        rows = self.labels[:, None] if self.labels.ndim == 1 else self.labels
        return [[label for label in row if label >= 0] for row in rows.tolist()]

    def ensembles(self, images: slice | np.ndarray, combiner: str) -> EnsembleCounts:
        return ensemble_counts(
            [z[images] for z in self.logits],
            self.calibrations,
            self.labels[images],
            self.folds[images],
            combiner=combiner,
            weights=self.weights,
            right=self.counts.right,
            categories=self.categories,
        )

    def scores(self, combiner: str, a: int, b: int) -> list[list[float]]:
        """What model a brings to its pair with b."""
        temperature, weight = self.calibrations[a].of(self.folds), self.weights[self.folds, a, b]
        rows = zip(self.logits[a].astype(float).tolist(), temperature.tolist(), weight.tolist(), strict=True)
        return [reference.members(combiner, *row) for row in rows]

    def table(self, combiner: str) -> pl.DataFrame:
        return pair_ensembles_table(self.names, self.counts, self.ensembles(slice(None), combiner), combiner)


STUDIES = [
    Study(6, 400, 10),
    Study(5, 300, 3, seed=1),
    Study(4, 200, 2, seed=2),
    Study(8, 60, 40, seed=3),
    Study(6, 300, 12, seed=4, accepted=3),
]


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("combiner", COMBINERS)
def test_every_row_is_that_of_plain_python(study: Study, combiner: str) -> None:
    rows = study.table(combiner)
    assert rows.columns == COLUMNS
    assert len(rows) == len(study.names) * (len(study.names) - 1) / 2
    predicted = study.prediction.tolist()
    for row in rows.iter_rows(named=True):
        a, b = int(row["model_a"][1]), int(row["model_b"][1])
        scores = study.scores(combiner, a, b), study.scores(combiner, b, a)
        found = reference.pair(*scores, predicted[a], predicted[b], study.accepted)
        n, right = row["n"], sum(found["right" + cell] for cell in ("11", "10", "01", "00"))
        assert (row["both_right"], row["only_a"]) == (found["n11"], found["n10"])
        assert (row["only_b"], row["both_wrong"]) == (found["n01"], found["n00"])
        assert row["accuracy"] == right / n
        right_a, right_b = found["n11"] + found["n10"], found["n11"] + found["n01"]
        assert row["gain_mean"] == pytest.approx((right - (right_a + right_b) / 2) / n)
        assert row["gain_best"] == pytest.approx((right - max(right_a, right_b)) / n)
        assert row["conversion_rate"] == (found["right10"] + found["right01"]) / (found["n10"] + found["n01"])
        assert row["r11"] == found["right11"] / found["n11"]
        assert row["r00"] == found["right00"] / found["n00"]
        ahead, behind = ("01", "10") if right_a >= right_b else ("10", "01")
        plus = found["right" + ahead] + found["right00"]
        minus = found["n" + behind] - found["right" + behind] + found["n11"] - found["right11"]
        assert (row["gain_low"], row["gain_high"]) == pytest.approx(intervals.gain_interval(plus, minus, n))


def test_classes_that_no_model_predicts_can_win() -> None:
    """The full look at all classes: both models' second choice wins, or is level with the label and of a lower number.

    The two predict 3 and 4; a third model predicts the label, which makes it no candidate of theirs alone.
    """
    z = np.full((3, 1, 40), -30, np.float16)
    z[0, 0, [3, 20]] = 4, 3.5
    z[1, 0, [4, 20]] = 4, 3.5
    z[2, 0, 5] = 4
    calibrations = [Calibration(1.0, np.ones(5), None, None, None)] * 3
    for combiner in COMBINERS:
        for label, expected in ((20, 1), (3, 0), (5, 0), (21, 0)):
            counts = ensemble_counts(
                list(z), calibrations, np.array([label]), np.zeros(1, np.int8), combiner=combiner, weights=ONES
            )
            assert counts.recovered[0, 1] == expected
            assert counts.converted[0, 1] == 0
    z[0, 0, 19] = z[1, 0, 19] = 3.5
    for combiner in COMBINERS:
        counts = ensemble_counts(
            list(z), calibrations, np.array([20]), np.zeros(1, np.int8), combiner=combiner, weights=ONES
        )
        assert counts.recovered[0, 1] == 0, "level with class 19, which is lower"


def test_a_third_model_changes_nothing() -> None:
    study = STUDIES[0]
    for combiner in COMBINERS:
        whole = study.ensembles(slice(None), combiner)
        two = ensemble_counts(
            [study.logits[1], study.logits[4]],
            [study.calibrations[1], study.calibrations[4]],
            study.labels,
            study.folds,
            combiner=combiner,
            weights=study.weights[:, [[1], [4]], [1, 4]],
        )
        for name in ("kept", "converted", "recovered"):
            assert getattr(two, name)[0, 1] == getattr(whole, name)[1, 4]
        assert two.converted[1, 0] == whole.converted[4, 1]


@given(st.integers(0, 10_000), st.sampled_from(sorted(COMBINERS)), st.integers(2, 6), st.integers(1, 2))
@settings(max_examples=40, deadline=None)
def test_gain_is_what_conversion_and_recovery_make(seed: int, combiner: str, classes: int, accepted: int) -> None:
    """A_ens - m = EI (conv - 1/2) + P(both wrong) r00 - P(both right) (1 - r11), where r11 = 1.

    With several accepted classes two models can be right by different ones, and a third class win: then r11 < 1.
    """
    for row in Study(3, 60, classes, seed, accepted).table(combiner).iter_rows(named=True):
        n = row["n"]
        inconsistency = (row["only_a"] + row["only_b"]) / n
        converted = inconsistency * (row["conversion_rate"] - 0.5) if inconsistency else 0
        recovered = row["both_wrong"] / n * row["r00"] if row["both_wrong"] else 0
        lost = row["both_right"] / n * (1 - row["r11"]) if row["both_right"] else 0
        if accepted == 1:
            assert row["r11"] in (1, None)
            assert lost == 0
        assert row["gain_mean"] == pytest.approx(converted + recovered - lost, abs=1e-12)
        assert row["gain_best"] <= row["gain_mean"] + 1e-12
        if classes == 2:
            assert row["r00"] in (0, None)


@pytest.mark.parametrize("study", [STUDIES[0], STUDIES[3], STUDIES[4]])
@pytest.mark.parametrize("kept", [1, 3, 8])
def test_neither_chunks_nor_shortlists_change_a_count(study: Study, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What shortlists leave open is looked up; where all classes are kept, nothing is."""
    given = (study.logits, study.calibrations, study.labels, study.folds, study.weights)
    whole, looked_up = together(*given, kept=10**4)
    assert looked_up == 0
    assert whole.counts.sum() > 0
    monkeypatch.setattr(combining, "CHUNK", 70 * len(study.logits))
    classes = study.logits[0].shape[1]
    counts = []
    for said in (None, most_said(study.prediction[1:], classes, 2), most_said(study.prediction, classes)):
        found, looked_up = together(*given, kept=kept, said=said)
        for name, values in vars(whole).items():
            assert np.array_equal(getattr(found, name), values), name
        counts.append(looked_up)
    assert counts[0] >= counts[1] >= counts[2]
    assert kept > 1 or counts[0] > 0, "something is looked up"


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_level_and_nearly_level_classes_are_settled_exactly(data: st.DataObject) -> None:
    """Logits of few values that are equal or a last digit apart, in every order: all classes, kept or looked up."""
    classes, models = data.draw(st.integers(2, 9)), data.draw(st.integers(2, 4))
    values = np.array(data.draw(st.lists(st.sampled_from(GRID), min_size=1, max_size=4, unique=True)), np.float16)
    values = np.concatenate([values, np.nextafter(values, np.float16(0))])
    random = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    zoo = [random.choice(values, (30, classes)) for _ in range(models)]
    labels = random.integers(0, classes, 30).astype(np.int32)
    if data.draw(st.booleans()):
        labels = np.column_stack([labels, np.where(random.random(30) < 0.5, (labels + 1) % classes, -1)])
    temperature = data.draw(st.sampled_from([0.01, 0.5, 1.0, 3.0, 100.0]))
    fitted = [Calibration(temperature, np.full(5, temperature * (1 + m % 2)), None, None, None) for m in range(models)]
    own = (zoo, fitted, labels.astype(np.int32), (np.arange(30) % 5).astype(np.int8))
    weights = random.choice([0.0, 0.5, 1.0, 2.0], (5, models, models))
    kept = data.draw(st.integers(1, classes))
    found, _ = together(*own, weights, kept)
    whole, looked_up = together(*own, weights, classes)
    assert looked_up == 0
    for name, expected in vars(whole).items():
        assert np.array_equal(getattr(found, name), expected), name
    for name, counts in count_ensembles(*own, weights=weights, kept=kept).of.items():
        full = Plain(*own, weights).counts(name)
        for a in range(models):
            for b in range(a + 1, models):
                cells = (counts.kept[a, b], counts.converted[a, b], counts.converted[b, a], counts.recovered[a, b])
                assert cells == full[a, b], name


GRID = [0.0, 1.0, -1.0, 2.5, 8.0, -8.0, 60.0, 1000.0, 2.0**-14]


@dataclass(frozen=True)
class Plain:
    """All classes of all images, in float64, with the arithmetic that the guarantee names."""

    zoo: list[np.ndarray]
    calibrations: list[Calibration]
    labels: np.ndarray
    folds: np.ndarray
    weights: np.ndarray

    def scores(self, name: str, model: int, other: int) -> np.ndarray:
        wide = self.zoo[model].astype(np.float32)
        z = (wide - wide.max(axis=1, keepdims=True)).astype(np.float64)
        if name == "two_temperatures":
            return np.asarray(self.weights[self.folds, model, other][:, None] * z)
        temperature = np.ones(len(z)) if name.endswith("uncalibrated") else self.calibrations[model].of(self.folds)
        if not name.startswith("mean_probability"):
            return np.asarray(z * (1 / temperature)[:, None])
        normaliser = np.log(calibration.odds(self.zoo[model], temperature).sum(axis=1), dtype=np.float64)
        scaled = z * (1 / temperature)[:, None] - normaliser[:, None]
        return np.array([[math.exp(value) for value in row] for row in scaled.tolist()])

    def counts(self, name: str) -> dict[tuple[int, int], tuple[int, int, int, int]]:
        accepted = self.labels[:, None] if self.labels.ndim == 1 else self.labels
        found = {}
        for a in range(len(self.zoo)):
            for b in range(a + 1, len(self.zoo)):
                tops = [self.zoo[model].argmax(axis=1) for model in (a, b)]
                decided = (self.scores(name, a, b) + self.scores(name, b, a)).argmax(axis=1)
                decided = np.where(tops[0] == tops[1], tops[0], decided)
                alone = [(top[:, None] == accepted).any(axis=1) for top in tops]
                right = (decided[:, None] == accepted).any(axis=1)
                cells = [(alone[0] == one) & (alone[1] == two) & right for one, two in CELLS]
                found[a, b] = tuple(int(cell.sum()) for cell in cells)
        return found


CELLS = ((True, True), (True, False), (False, True), (False, False))


@pytest.mark.parametrize("study", [STUDIES[0], STUDIES[4]])
def test_gains_of_categories_are_sums_over_pairs_and_images(study: Study) -> None:
    combiner = MAIN
    found = study.ensembles(slice(None), combiner)
    correct = np.array([[p in row for p, row in zip(own, study.accepted, strict=True)] for own in study.prediction])
    for number, category in enumerate(CATEGORIES):
        per_image = np.zeros(len(study.labels), int)
        for a in range(6):
            for b in range(a + 1, 6):
                if study.categories[a, b] == category:
                    both = zip(study.scores(combiner, a, b), study.scores(combiner, b, a), strict=True)
                    decisions = [reference.combined(scores) for scores in both]
                    agreed = study.prediction[a] == study.prediction[b]
                    decisions = np.where(agreed, study.prediction[a], decisions).tolist()
                    better = a if study.counts.right[a] >= study.counts.right[b] else b
                    per_image += [d in row for d, row in zip(decisions, study.accepted, strict=True)]
                    per_image -= correct[better]
        assert found.gain[number] == per_image.sum()
        assert found.gain_square[number] == (per_image**2).sum()


def test_memory_that_is_read_only_is_enough() -> None:
    """As Ray's object store hands it out."""
    study = Study(3, 100, 4)
    for array in (*study.logits, study.labels, study.folds, study.weights, study.counts.both_right):
        array.flags.writeable = False
    for combiner in COMBINERS:
        assert study.ensembles(slice(None), combiner).n == 100


def test_ties_go_to_the_lowest_class() -> None:
    """Two models, each sure of another class: the sums tie, and the lower class wins."""
    z = [np.array([[4, 0, 0], [0, 4, 0]], np.float16), np.array([[0, 4, 0], [4, 0, 0]], np.float16)]
    calibrations = [Calibration(1.0, np.ones(5), None, None, None)] * 2
    for combiner in COMBINERS:
        for label, right in ((0, 2), (1, 0)):
            labels = np.full(2, label)
            nothing = np.zeros(2, np.int8)
            found = ensemble_counts(z, calibrations, labels, nothing, combiner=combiner, weights=ONES[:, :2, :2])
            assert found.converted.sum() == right


def test_identical_models_gain_nothing() -> None:
    study = STUDIES[1]
    twins = [study.logits[0]] * 2
    counts = pair_counts(predictions(twins), study.labels)
    found = ensemble_counts(twins, [study.calibrations[0]] * 2, study.labels, study.folds)
    rows = pair_ensembles_table(["a", "b"], counts, found, "mean_probability")
    row = rows.row(0, named=True)
    assert (row["gain_mean"], row["gain_best"], row["conversion_rate"]) == (0, 0, None)
    assert (row["r11"], row["r00"]) == (1, 0)
    assert pair_ensemble_notes(rows) == [
        "1 pair ensemble has no conversion rate: no image is right for exactly one of the two"
    ]


@pytest.mark.parametrize("models", [0, 1])
def test_fewer_than_two_models_make_an_empty_table(models: int) -> None:
    study = STUDIES[0]
    found = ensemble_counts(study.logits[:models], study.calibrations[:models], study.labels, study.folds)
    counts = pair_counts(study.prediction[:models], study.labels)
    rows = pair_ensembles_table(study.names[:models], counts, found, "mean_probability")
    assert rows.columns == COLUMNS
    assert len(rows) == 0


def test_no_images_make_null_figures() -> None:
    nothing = [np.zeros((0, 3), np.float16)] * 2
    calibrations = [calibrate([z], np.zeros(0, int), np.zeros(0, np.int8)) for z in nothing]
    found = ensemble_counts(nothing, calibrations, np.zeros(0, int), np.zeros(0, np.int8))
    rows = pair_ensembles_table(
        ["a", "b"], pair_counts(np.zeros((2, 0), int), np.zeros(0, int)), found, "mean_probability"
    )
    assert rows.select(pl.col(pl.Float64).null_count()).row(0) == (1,) * 10
    assert pair_ensemble_notes(rows) == ["1 pair ensemble has no figures: there is no image"]


def test_what_does_not_fit_is_refused() -> None:
    study = STUDIES[0]
    with pytest.raises(ValueError, match="shortlists of different images, classes or truths"):
        together([study.logits[0], study.logits[1][:, :3]], study.calibrations[:2], study.labels % 3, study.folds, None)
    for weights in (-study.weights, study.weights * np.nan):
        with pytest.raises(ValueError, match="weights of shape"):
            together(study.logits, study.calibrations, study.labels, study.folds, weights)
    with pytest.raises(ValueError, match="at most 65535"):
        shortlist([np.zeros((1, 1 << 16), np.float16)])
    whole, _ = together(study.logits, study.calibrations, study.labels, study.folds, study.weights)
    one, nothing = np.array([0]), np.zeros((1, 400), np.int32)
    with pytest.raises(ValueError, match="other predictions"):
        add_gains(
            whole, one, one, np.array([1]), 0 * study.prediction, study.prediction > 0, study.counts.right, one, nothing
        )
    less = PairCounts(399, study.counts.both_right, study.counts.disagreement)
    with pytest.raises(ValueError, match="399 images, their ensembles over 400"):
        pair_ensembles_table(study.names, less, study.ensembles(slice(None), "mean_probability"), "mean_probability")
