"""The accuracy gate: is a checkpoint what its makers published? Arrays in, verdicts out.

A checkpoint passes where its published accuracy lies in the interval of what is measured, widened by an allowance for
rounding and for what is left of preprocessing. The intervals of all gated checkpoints hold together at the stated level
(Bonferroni), so that a large zoo of good checkpoints is not thinned by chance. What fails gets its likely causes; an
order of classes that explains it is found out (`class_orders`), the other causes are guesses from the figures alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from overlap.analysis.class_orders import Explanation, Order, explain

SMALL = 0.1
"""Deviation up to which crop, input size and interpolation come first to mind: they cost a few points, seldom ten."""
RECOVERED = 0.75
"""Share of what an accuracy lacks that an order of classes must bring back to be the explanation."""
ONE_SIDED = 0.5
"""Share of the answers that one class gets where something before the head must be wrong."""


@dataclass(frozen=True)
class Tolerance:
    """How far a measured accuracy may be from the published one."""

    level: float = 0.99
    """Confidence with which all checkpoints that are as published pass."""
    allowance: float = 0.003
    """Deviation that is always let pass, as a fraction of the images."""
    gated: int = 1
    """Checkpoints that are judged together."""
    population: int | None = None
    """Images behind the published figures where these are among them; then only what was left out is uncertain."""

    @property
    def alpha(self) -> float:
        """Chance of a false alarm that a single checkpoint may have."""
        return (1 - self.level) / max(1, self.gated)

    def interval(self, right: int, n: int) -> tuple[float, float]:
        """Accuracies that a published one may have beside `right` of `n`, within 0..1.

        Clopper and Pearson (1934), which covers at least as often as it says; for a sample of a finite population drawn
        together by sqrt((population - n) / (population - 1)); then widened by the allowance.
        """
        if n == 0:
            return 0.0, 1.0
        share, tail = right / n, self.alpha / 2
        low = float(stats.beta.ppf(tail, right, n - right + 1)) if right else 0.0
        high = float(stats.beta.ppf(1 - tail, right + 1, n - right)) if right < n else 1.0
        if self.population is not None:
            rest = sqrt(max(0, self.population - n) / max(1, self.population - 1))
            low, high = share - rest * (share - low), share + rest * (high - share)
        return max(0.0, low - self.allowance), min(1.0, high + self.allowance)


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one checkpoint; accuracies are fractions."""

    model: str
    published: float
    source: str
    """Where the published accuracy stands."""
    n: int
    right: int
    low: float
    """Published accuracies from here to `high` pass."""
    high: float
    causes: tuple[str, ...] = ()
    """Of what fails, the likeliest first."""
    order: Explanation | None = None

    @property
    def measured(self) -> float | None:
        """Measured accuracy, None without images."""
        return self.right / self.n if self.n else None

    @property
    def passed(self) -> bool:
        """Whether the checkpoint is what it was published as."""
        return self.low <= self.published <= self.high

    @property
    def reason(self) -> str:
        """The verdict as one line for a person."""
        measured = "no image" if self.measured is None else f"top-1 {self.measured:.1%} of {self.n:,} images"
        said = f"{measured}, published {self.published:.1%} ({self.source}); {self.low:.1%} to {self.high:.1%} would do"
        return said if self.passed else f"{said}; likely: {'; or '.join(self.causes)}"


def judge(
    model: str,
    prediction: NDArray[np.integer],
    labels: NDArray[np.integer],
    published: tuple[float, str],
    tolerance: Tolerance,
    *,
    fit: NDArray[np.bool_],
    classes: int,
    known: Mapping[str, Order],
) -> Verdict:
    """Judge one checkpoint.

    Args:
        model: its name.
        prediction: classes it answers, shape (N,).
        labels: shape (N,).
        published: its accuracy as a fraction, and where that stands.
        tolerance: of the whole zoo.
        fit: the half of the images that orders are chosen on, shape (N,); see `class_orders.halves`.
        classes: of the data.
        known: orders to try by name; see `class_orders.known_orders`.
    """
    n, right = len(labels), int((prediction == labels).sum())
    low, high = tolerance.interval(right, n)
    verdict = Verdict(model, *published, n, right, low, high)
    if verdict.passed:
        return verdict
    order = explain(prediction, labels, fit, classes, known, tolerance.alpha)
    if order is not None and not _recovers(order, verdict.published):
        order = None
    causes = tuple(_causes(verdict, prediction, classes, tolerance, order))
    return Verdict(model, *published, n, right, low, high, causes, order)


def _causes(
    verdict: Verdict,
    prediction: NDArray[np.integer],
    classes: int,
    tolerance: Tolerance,
    order: Explanation | None,
) -> Iterator[str]:
    low, high = verdict.low, verdict.high
    if order is not None:  # what it leaves to be explained may have a second cause
        low, high = tolerance.interval(order.right, order.images)
        yield _told(order)
        if low <= verdict.published <= high:
            return
    share = np.bincount(prediction[prediction >= 0], minlength=1)
    if share.max() > ONE_SIDED * verdict.n:
        yield f"pixels are scaled otherwise (mean, std): {share.max() / verdict.n:.0%} of the answers are one class"
    if verdict.published < low:
        yield "other weights than those published, a figure for other images, or images that were trained on"
    elif low <= 1 / classes:
        yield "wrong weights, or a head that was never trained: no better than chance"
        yield "pixels that are nothing like those of the training (mean and std, crop)"
    elif verdict.published - high <= SMALL:
        yield "crop or input size, interpolation, mean and std"
        yield "the weights of another training"
    else:
        yield "wrong weights"
        yield "mean and std, crop or input size"


def _recovers(order: Explanation, published: float) -> bool:
    """Whether an order explains the result: wrong pixels mix classes up too, and then some order does a bit better."""
    before = order.right_before / order.images
    return published > before and order.accuracy - before >= RECOVERED * (published - before)


def _told(order: Explanation) -> str:
    pairs = [f"{place}→{held if held >= 0 else 'none'}" for place, held in enumerate(order.mapping) if place != held]
    examples = ", ".join(pairs[:4]) + (", …" if len(pairs) > 4 else "")
    return (
        f"label order: {order.name} ({order.moved} classes moved: {examples}), under which {order.accuracy:.1%} of "
        f"{order.images:,} held-out images are right instead of {order.right_before / order.images:.1%}"
    )
