"""NLL and calibration error of pairs against plain Python, whatever the tiles, parts and other models."""

from __future__ import annotations

import numpy as np
import pytest

from overlap.analysis import calibration
from overlap.analysis.blocks import Block
from overlap.analysis.combining import COMBINERS
from overlap.analysis.ensembles import duets
from overlap.analysis.ensembles.lanes import LOGITS, sample_size, sampled
from tests.analysis.ensembles.test_two_temperatures import block_of
from tests.analysis.together import Scored, score_all
from tests.analysis.zoo import logits
from tests.reference import ensembles as reference


def scored(block: Block, parts: int = 1, together: int | None = None) -> Scored:
    models = len(block.logits)
    pieces = np.array_split(np.arange(len(block.labels)), parts)
    chosen = [sampled(block, np.isin(np.arange(len(block.labels)), piece)) for piece in pieces]
    return score_all(chosen, models, together)


def zoo_of(models: int, images: int, classes: int, several: bool, seed: int = 0) -> Block:
    zoo, labels = logits(models, images, classes, seed)
    if several:
        further = np.where(np.arange(images) % 2 == 0, (labels + 1) % classes, -1)
        labels = np.column_stack([labels, further]).astype(np.int32)
    return block_of(zoo, labels)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(("images", "classes"), [(150, 7), (90, 2), (7, 30)])
def test_every_pair_is_that_of_plain_python(images: int, classes: int, several: bool) -> None:
    block = zoo_of(3, images, classes, several)
    found = scored(block)
    assert found.n == images
    rows = block.labels if several else block.labels[:, None]
    accepted = [[label for label in row if label >= 0] for row in rows.tolist()]
    z = [values.astype(float).tolist() for values in block.logits]
    for combiner in COMBINERS:
        for a, b in ((0, 1), (0, 2), (1, 2)):
            together, right = [], []
            for image, fold in enumerate(block.folds):
                brought = [
                    reference.members(
                        combiner,
                        z[one][image],
                        block.calibrations[one].fold_temperatures[fold],
                        found.weights[fold, one, other],
                    )
                    for one, other in ((a, b), (b, a))
                ]
                together.append(reference.ensemble(combiner, *brought))
                right.append(reference.combined(brought) in accepted[image])
            assert found.nll[combiner][a, b] == pytest.approx(reference.nll(together, accepted), rel=1e-5)
            confidence = np.array([max(row) for row in together])
            expected = calibration.calibration_error(confidence, np.array(right))
            assert found.ece[combiner][a, b] == pytest.approx(expected, abs=1e-5)
            assert np.isnan(found.nll[combiner][b, a])


def test_neither_pairs_at_a_time_nor_parts_nor_other_models_change_a_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    block = zoo_of(5, 120, 6, several=False)
    whole = scored(block)
    monkeypatch.setattr(duets, "TOGETHER", 130)
    pieces = scored(block, parts=7, together=3)
    two = scored(Block([block.logits[i] for i in (1, 3)], [block.calibrations[i] for i in (1, 3)], *rest(block)))
    for combiner in COMBINERS:
        for figure in ("nll", "ece"):
            one, other = getattr(whole, figure)[combiner], getattr(pieces, figure)[combiner]
            assert np.array_equal(one, other, equal_nan=True)
            assert getattr(two, figure)[combiner][0, 1] == one[1, 3]
    assert np.array_equal(whole.weights, pieces.weights)
    assert np.array_equal(two.weights[:, [0, 1], [1, 0]], whole.weights[:, [1, 3], [3, 1]])


def rest(block: Block) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return block.labels, block.folds, block.selection


def test_equal_confidences_share_their_accuracy() -> None:
    """Two constant models: every image has one confidence, so that one bin's gap is all there is."""
    labels = np.array([0, 0, 0, 1, 2, 2, 2, 2] * 8, np.int32)
    z = np.zeros((len(labels), 3), np.float16)
    z[:, 0] = 2
    found = scored(block_of([z, z], labels))
    confidence = np.exp(2) / (np.exp(2) + 2)
    for combiner in ("mean_probability_uncalibrated", "mean_log_probability_uncalibrated"):
        assert found.ece[combiner][0, 1] == pytest.approx(abs(3 / 8 - confidence), abs=1e-6)


def test_improbable_truths_have_a_finite_likelihood() -> None:
    """Logits so far apart that float32 has no number for the probability."""
    z = np.array([[500, 0, -500]] * 20, np.float16)
    labels = np.array([0, 2] * 10, np.int32)
    found = scored(block_of([z, z], labels))
    assert found.nll["mean_probability_uncalibrated"][0, 1] == pytest.approx(500)
    assert found.nll["mean_log_probability_uncalibrated"][0, 1] == pytest.approx(500)


def test_the_sample_is_a_number_of_logits() -> None:
    assert sample_size(1000) == LOGITS // 1000 == 1048
    assert sample_size(0) == LOGITS
    block = zoo_of(2, 50, 3, several=False)
    chosen = np.arange(50) % 4 == 0
    part = sampled(block, chosen)
    assert [len(values) for values in part.logits] == [13, 13]
    assert list(part.keys) == [str(image) for image in range(0, 50, 4)]


def test_models_of_different_classes_are_refused() -> None:
    block = zoo_of(2, 20, 3, several=False)
    other = Block([block.logits[0], block.logits[1][:, :2]], block.calibrations, *rest(block))
    with pytest.raises(ValueError, match=r"models of \[2, 3\] classes"):
        score_all([other], 2)
