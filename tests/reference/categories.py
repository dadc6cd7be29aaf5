"""The part of the images in the noise of a category's mean, pair by pair and image by image."""

from __future__ import annotations

from collections.abc import Sequence

from tests.reference.consistency import cells, kappa


def mean_kappa(correct: Sequence[Sequence[bool]], pairs: Sequence[tuple[int, int]]) -> float:
    kappas = [kappa(cells(correct[a], correct[b])) for a, b in pairs]
    assert None not in kappas
    return sum(float(value) for value in kappas if value is not None) / len(kappas)


def jackknife_variance(correct: Sequence[Sequence[bool]], pairs: Sequence[tuple[int, int]]) -> float:
    """Variance of the mean kappa over samples of images: each image is left out once."""
    n = len(correct[0])
    left_out = []
    for image in range(n):
        rest = [[*row[:image], *row[image + 1 :]] for row in correct]
        left_out.append(mean_kappa(rest, pairs))
    mean = sum(left_out) / n
    return (n - 1) / n * sum((value - mean) ** 2 for value in left_out)


def inconsistency_variance(correct: Sequence[Sequence[bool]], pairs: Sequence[tuple[int, int]]) -> float:
    """Variance of the mean error inconsistency: that of the share of inconsistent pairs of an image, over n."""
    n = len(correct[0])
    shares = [sum(correct[a][image] != correct[b][image] for a, b in pairs) / len(pairs) for image in range(n)]
    mean = sum(shares) / n
    return sum((share - mean) ** 2 for share in shares) / n / n
