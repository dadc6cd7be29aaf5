"""Logistic regression at one strength of regularisation, by torch's L-BFGS on the processor or on a GPU.

Minimises  mean over images of the loss + strength / 2 × (sum of squared weights);  biases are free. The loss of one
true class is the softmax's cross-entropy (multinomial), that of several classes per image the sum over classes of the
binary cross-entropy (independent regressions, one against the rest). scikit-learn's C is 1 / (strength × images).

Guarantees: deterministic on one machine and number of threads; logits of at most `CHUNK` numbers are held at a time.
float32 throughout: beside float64 the solution differs by less than the solver's tolerance does (measured), at half the
memory and time. Not guaranteed: the last digits across devices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

CHUNK = 1 << 26
"""Logits held at a time: 256 MiB."""

STEPS = 500
"""L-BFGS iterations at most; a regularised problem on standardised features takes 20 to 60."""

MEMORY = 10
"""Steps that L-BFGS remembers; more save no evaluations here (measured), and cost time and memory."""

TOLERANCE = 1e-5
"""A solution's largest component of the gradient (the mean loss is of the order of one)."""


@dataclass(frozen=True)
class Problem:
    """Images and what is true of them, on one device.

    Attributes:
        x: (n, D + 1) float32, standardised features and a last column of ones, n > 0.
        y: (n,) int64 classes, or (n, K) float32 zeros and ones where several classes can hold of an image.
        classes: K; all of them occur in (n,) classes.
    """

    x: Tensor
    y: Tensor
    classes: int

    def loss(self, solution: Tensor, gradient: Tensor | None = None) -> float:
        """Mean loss of (K, D + 1) weights and biases, without the penalty; its gradient is added to `gradient`."""
        n = len(self.x)
        step = max(1, CHUNK // self.classes)
        total = 0.0
        for start in range(0, n, step):
            x, y = self.x[start : start + step], self.y[start : start + step]
            z = x @ solution.T
            loss, error = _multinomial(z, y) if y.ndim == 1 else _binary(z, y)
            total += loss
            if gradient is not None:
                gradient.addmm_(error.T, x, alpha=1 / n)
        return total / n


def minimise(problem: Problem, strength: float, start: Tensor, tolerance: float = TOLERANCE) -> Tensor:
    """The (K, D + 1) weights and biases of least penalised loss, from a start of that shape (left as it is)."""
    solution = start.clone()
    gradient = solution.grad = torch.zeros_like(solution)
    solver = torch.optim.LBFGS(
        [solution],
        max_iter=STEPS,
        max_eval=2 * STEPS,
        tolerance_grad=tolerance,
        tolerance_change=1e-9,
        history_size=MEMORY,
        line_search_fn="strong_wolfe",
    )

    def closure() -> float:
        weights = solution[:, :-1]
        gradient.zero_()
        gradient[:, :-1].add_(weights, alpha=strength)
        penalty = strength / 2 * float(weights.square().sum(dtype=torch.float64))
        return problem.loss(solution, gradient) + penalty

    with torch.no_grad():
        # the gradient is written by hand: half the time of small problems is autograd's otherwise
        solver.step(cast("type[float]", torch.no_grad()(closure)))  # type: ignore[no-untyped-call]
    solution.grad = None
    return solution


def _multinomial(z: Tensor, y: Tensor) -> tuple[float, Tensor]:
    """Summed cross-entropy of logits (n, K) and its derivative by them, which overwrites them."""
    log_probability = torch.log_softmax(z, dim=1)
    own = y[:, None]
    loss = -float(log_probability.gather(1, own).sum(dtype=torch.float64))
    error = log_probability.exp_()
    error.scatter_add_(1, own, torch.full_like(own, -1, dtype=error.dtype))
    return loss, error


def _binary(z: Tensor, y: Tensor) -> tuple[float, Tensor]:
    """Binary cross-entropy of logits (n, K), summed over images and classes, and its derivative by them."""
    loss = float((torch.nn.functional.softplus(z) - y * z).sum(dtype=torch.float64))
    return loss, z.sigmoid_() - y
