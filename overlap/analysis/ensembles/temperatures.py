"""Two temperatures of a pair, fitted together: softmax(z_a / T_a + z_b / T_b) (Asymmetric Duos, arXiv 2505.18636).

The mean NLL is convex in the weights w = (1 / T_a, 1 / T_b). It is minimised over the square from 0 to `GREATEST` by
Newton's method: each step goes to the least value of the quadratic model within the square, halved while the NLL
rises. Guarantees: cross-fitted, so that an image of fold f never enters the weights that serve f (but for a start of
five fits that end where a step would gain less than `TOLERANCE`); a pair's weights depend on its two models alone;
models without information, identical or always right, get finite weights. Images with several accepted classes are
left out, as in `calibration`. Exact softmax over all classes; sums are float32 within an image, float64 over images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.calibration import BOUNDS
from overlap.analysis.compiler import compiled
from overlap.analysis.ensembles.floats import exponential
from overlap.analysis.splits import FOLDS

Fractions = NDArray[np.float64]
Singles = NDArray[np.float32]

GREATEST = 1 / BOUNDS[0]
"""The largest weight: that of the least temperature. The least weight is 0, a model that is not listened to."""

TOLERANCE = 1e-6
"""Mean NLL, in nats, below which a step's gain ends a fit: a thousandth of the statistical error of a large sample."""

STEPS = 60
"""Evaluations after which a fit ends with the best weights so far; in practice four, and one or two for each fold."""

FAINT = np.float32(1e-16)
"""Sum of odds below which they are taken against the largest, lest float32 runs out of exponents."""


@compiled
def fit(
    za: Singles,
    zb: Singles,
    label: NDArray[np.int32],
    folds: NDArray[np.int64],
    start_a: Fractions,
    start_b: Fractions,
    weights: Fractions,
) -> None:
    """Fit one pair: for each fold, on the images of all others.

    Args:
        za: (G, K, LANES) logits less the largest of the image, as `lanes.Lanes` has them; of the first model.
        zb: of the second.
        label: (G, LANES) true classes; -1 for images that do not count.
        folds: (G,) fold of each group of images.
        start_a: (6,) weights of the first model to begin with: on all images, and what stands where a fold has none.
        start_b: of the second.
        weights: (5, 2); written.
    """
    sums = np.zeros((FOLDS, 7))
    start = np.array([start_a[0], start_b[0]])
    overall = _minimise(za, zb, label, folds, -1, start, False, sums)
    for fold in range(FOLDS):
        if sums[:, 0].sum() == sums[fold, 0]:
            weights[fold, 0], weights[fold, 1] = start_a[1 + fold], start_b[1 + fold]
        else:
            weights[fold] = _minimise(za, zb, label, folds, fold, overall, True, sums.copy())


@compiled
def _minimise(
    za: Singles,
    zb: Singles,
    label: NDArray[np.int32],
    folds: NDArray[np.int64],
    without: int,
    start: Fractions,
    known: bool,
    sums: Fractions,
) -> Fractions:
    """The best weights without one fold. `sums` are those at the start if they are known, and in the end at the last
    weights that were looked at, which are returned where no fold is left out."""
    here, best, least = start.copy(), start.copy(), np.inf
    for _ in range(STEPS):
        if not known:
            _evaluate(za, zb, label, folds, without, here, sums)
        known = False
        total = np.zeros(7)
        for fold in range(FOLDS):
            if fold != without:
                total += sums[fold]
        if total[0] == 0:
            return start
        total /= total[0]
        if total[1] > least + 1e-7 * (1 + abs(least)):
            here = (here + best) / 2
            continue
        least, best = total[1], here.copy()
        step = _step(total, best)
        gain = -(total[2] * step[0] + total[3] * step[1])
        if gain < TOLERANCE:  # a long step of no gain means that the model knows nothing of where it leads
            last = without >= 0 and (np.abs(step) <= 0.1 * best).all()
            return best + step if last else best
        here = best + step
    return best


@compiled
def _step(total: Fractions, here: Fractions) -> Fractions:
    """To the least value of the quadratic model within the square; the tiny ridge chooses among equals."""
    ga, gb = total[2], total[3]
    aa, ab, bb = total[4] * (1 + 1e-6) + 1e-12, total[5], total[6] * (1 + 1e-6) + 1e-12
    low_a, high_a, low_b, high_b = -here[0], GREATEST - here[0], -here[1], GREATEST - here[1]
    step = np.zeros(2)
    determinant = aa * bb - ab * ab
    if determinant > 0:
        step[0], step[1] = (ab * gb - bb * ga) / determinant, (ab * ga - aa * gb) / determinant
        if low_a <= step[0] <= high_a and low_b <= step[1] <= high_b:
            return step
    least = np.inf
    for edge in range(4):
        if edge < 2:
            a = low_a if edge == 0 else high_a
            b = min(max(-(gb + ab * a) / bb, low_b), high_b)
        else:
            b = low_b if edge == 2 else high_b
            a = min(max(-(ga + ab * b) / aa, low_a), high_a)
        value = ga * a + gb * b + 0.5 * (aa * a * a + 2 * ab * a * b + bb * b * b)
        if value < least:
            least, step[0], step[1] = value, a, b
    return step


@compiled
def _evaluate(
    za: Singles,
    zb: Singles,
    label: NDArray[np.int32],
    folds: NDArray[np.int64],
    without: int,
    weight: Fractions,
    sums: Fractions,
) -> None:
    """By fold: images, their NLL, its two first and its three second derivatives."""
    lanes = za.shape[2]
    a, b = np.float32(weight[0]), np.float32(weight[1])
    largest, s = np.empty(lanes, np.float32), np.empty(lanes, np.float32)
    sa, sb = np.empty(lanes, np.float32), np.empty(lanes, np.float32)
    saa, sab, sbb = np.empty(lanes, np.float32), np.empty(lanes, np.float32), np.empty(lanes, np.float32)
    sums[:] = 0
    for group in range(len(folds)):
        if folds[group] == without:
            continue
        largest[:] = 0  # no sum is larger; where all are far smaller, the largest is looked for
        _moments(za[group], zb[group], a, b, largest, s, sa, sb, saa, sab, sbb)
        if s.min() < FAINT:
            _largest(za[group], zb[group], a, b, largest)
            _moments(za[group], zb[group], a, b, largest, s, sa, sb, saa, sab, sbb)
        for lane in range(lanes):
            true = label[group, lane]
            if true < 0:
                continue
            own_a, own_b = np.float64(za[group, true, lane]), np.float64(zb[group, true, lane])
            total = np.float64(s[lane])
            mean_a, mean_b = sa[lane] / total, sb[lane] / total
            of = sums[folds[group]]
            of[0] += 1
            of[1] += np.log(total) + largest[lane] - weight[0] * own_a - weight[1] * own_b
            of[2] += mean_a - own_a
            of[3] += mean_b - own_b
            of[4] += saa[lane] / total - mean_a * mean_a
            of[5] += sab[lane] / total - mean_a * mean_b
            of[6] += sbb[lane] / total - mean_b * mean_b


@compiled
def _largest(za: Singles, zb: Singles, a: np.float32, b: np.float32, largest: Singles) -> None:
    """The largest weighted sum of each lane."""
    largest[:] = -np.inf
    for c in range(za.shape[0]):
        for lane in range(za.shape[1]):
            value = a * za[c, lane] + b * zb[c, lane]
            largest[lane] = value if value > largest[lane] else largest[lane]


@compiled
def _moments(
    za: Singles,
    zb: Singles,
    a: np.float32,
    b: np.float32,
    largest: Singles,
    s: Singles,
    sa: Singles,
    sb: Singles,
    saa: Singles,
    sab: Singles,
    sbb: Singles,
) -> None:
    """Sums over classes of the odds against the largest sum, alone and times z_a, z_b, z_a^2, z_a z_b and z_b^2."""
    for array in (s, sa, sb, saa, sab, sbb):
        array[:] = 0
    for c in range(za.shape[0]):
        for lane in range(za.shape[1]):
            x, y = za[c, lane], zb[c, lane]
            odds = exponential(a * x + b * y - largest[lane])
            odds_x, odds_y = odds * x, odds * y
            s[lane] += odds
            sa[lane] += odds_x
            sb[lane] += odds_y
            saa[lane] += odds_x * x
            sab[lane] += odds_x * y
            sbb[lane] += odds_y * y
