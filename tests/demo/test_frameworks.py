from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from overlap.demo import frameworks, pretraining
from overlap.demo.frameworks import Task, shifted
from overlap.demo.nets import Cnn
from overlap.demo.recipes import HyperParameters
from tests.reference import contrastive


def task(images: torch.Tensor, labels: torch.Tensor | None = None, pixel: int = 1) -> Task:
    classes = torch.arange(len(images)) % 10 if labels is None else labels
    return Task(images, classes, black=-1.0, pixel=pixel, hyper=HyperParameters())


@pytest.mark.parametrize("pixel", [1, 2])
def test_shifting_moves_by_whole_pixels_of_the_original_over_black(pixel: int) -> None:
    torch.manual_seed(0)
    size = 8 * pixel
    images = torch.rand(200, 3, size, size)
    moved = shifted(images, task(images, pixel=pixel), 1)
    seen = set()
    for image, result in zip(images, moved, strict=True):
        matching = []
        for down in (-pixel, 0, pixel):
            for right in (-pixel, 0, pixel):
                expected = torch.full_like(image, -1.0)
                for row in range(size):
                    for column in range(size):
                        if 0 <= row - down < size and 0 <= column - right < size:
                            expected[:, row, column] = image[:, row - down, column - right]
                if torch.equal(expected, result):
                    matching.append((down, right))
        assert len(matching) == 1
        seen.add(matching[0])
    assert len(seen) == 9
    assert shifted(images, task(images), 0) is images


def test_contrastive_loss_is_that_of_the_paper() -> None:
    torch.manual_seed(0)
    projected = torch.randn(10, 4, dtype=torch.float64)
    expected = contrastive.contrastive_loss(projected.tolist(), 0.5)
    assert float(pretraining.contrastive_loss(projected, 0.5)) == pytest.approx(expected, rel=1e-9)


def test_the_head_is_penalised_multinomial_regression_on_standardised_features() -> None:
    torch.manual_seed(0)
    model = Cnn.build(width=2).eval()
    images = torch.randn(200, 3, 8, 8)
    job = task(images, torch.randint(0, 10, (200,)))
    pretraining.fit_head(model, job)
    with torch.no_grad():
        features = model.forward_features(images).double().numpy()
        logits = model(images).double().numpy()
    standardised = (features - features.mean(axis=0)) / features.std(axis=0, ddof=1)
    reference = LogisticRegression(C=1 / (2 * 200 * pretraining.PENALTY), tol=1e-8, max_iter=5000)
    reference.fit(standardised, job.labels.numpy())
    expected = reference.predict_proba(standardised)
    found = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.abs(found - expected).max() < 5e-3


def test_views_differ_from_one_another_and_keep_the_background() -> None:
    torch.manual_seed(0)
    images = torch.full((6, 3, 8, 8), -1.0)
    images[:, :, 3:5, 3:5] = 1.0
    first, second = (pretraining._view(images, task(images)) for _ in range(2))
    assert not torch.allclose(first, second, atol=0.3)
    corners = first[:, :, 0, 0]
    assert (corners + 1).abs().max() < 0.6, "six standard deviations of the noise"
    assert first[:, :, 2:6, 2:6].mean() > -0.8, "the ink is still there"
    assert torch.equal(first[:, 0], first[:, 1]), "views stay grey"


def test_pretraining_reads_no_labels_before_the_head() -> None:
    images = torch.rand(40, 3, 8, 8)
    encoders = []
    for labels in (torch.arange(40) % 10, torch.arange(40) % 3):
        torch.manual_seed(1)
        model = Cnn.build(width=4)
        job = Task(images, labels, -1.0, 1, HyperParameters(pretraining_steps=3, batch=20))
        pretraining.masked(model, job)
        encoders.append(torch.cat([value.flatten().float() for value in model.encoder.state_dict().values()]))
    assert torch.equal(encoders[0], encoders[1])


def test_distillation_moves_the_student_towards_its_teacher() -> None:
    torch.manual_seed(0)
    images = torch.rand(60, 3, 8, 8)
    teacher = Cnn.build(width=4).eval().requires_grad_(False)
    taught = torch.nn.functional.softmax(teacher(images), dim=1)
    student = Cnn.build(width=4)
    labels = teacher(images).argmax(dim=1)
    job = Task(images, labels, 0.0, 1, HyperParameters(steps=60), teacher)

    def distance() -> float:
        with torch.no_grad():
            learned = torch.nn.functional.log_softmax(student.eval()(images), dim=1)
        return float(torch.nn.functional.kl_div(learned, taught, reduction="batchmean"))

    before = distance()
    frameworks.distilled(student, job)
    assert distance() < before / 2
    with pytest.raises(ValueError, match="teacher"):
        frameworks.distilled(student, task(images))
