"""How hard images are and how able models are: P(m is right on x) = sigma(ability - difficulty), after Rasch (1960).

Fitted by marginal maximum likelihood (Bock & Aitkin 1981): abilities are parameters, difficulties a sample from a
distribution that is itself estimated, as weights of a grid (Laird 1978). Under the model the number of models that get
an image right says all that their answers say of its difficulty.

Guarantees: depends on the counts alone, not on the order of images or models. Difficulty zero is where a model of mean
ability is right half the time; both are in logits. Abilities are finite also of models always right or always wrong,
which count as half an image short of that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit, logsumexp

Fractions = NDArray[np.float64]
Counts = NDArray[np.int64]

MODELS = 4
"""Fewer models have no fit: a pair needs two others at least, whose answers say how unequal the images are."""

REACH = 9.0
"""The grid of difficulties goes so far beyond the abilities, in logits: there, answers say nothing any more."""

STEPS = 300
"""EM steps at most; a step that changes no ability and no probability of a score by `TOLERANCE` is the last."""

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Rasch:
    """A fitted model.

    Attributes:
        n: images.
        ability: (M,), of mean zero.
        nodes: (K,) difficulties.
        weight: (K,) share of the images at each node.
        posterior: (K, M + 1) what is known of an image of each total score: its column sums to one.
    """

    n: int
    ability: Fractions
    nodes: Fractions
    weight: Fractions
    posterior: Fractions

    @property
    def difficulty(self) -> Fractions:
        """(M + 1,): posterior mean of the difficulty of an image, by the number of models that get it right."""
        return np.asarray(self.nodes @ self.posterior)


def fit(right: Counts, scores: Counts) -> Rasch | None:
    """Fit abilities and the distribution of difficulties; None with fewer than `MODELS` models, or without images.

    Args:
        right: (M,) images that each model gets right.
        scores: (M + 1,) images by the number of models that get them right.
    """
    models, n = len(right), int(scores.sum())
    if models < MODELS or n == 0:
        return None
    accuracy = np.clip(right / n, 0.5 / n, 1 - 0.5 / n)
    ability = np.log(accuracy / (1 - accuracy)) * 1.5
    ability -= ability.mean()
    # of many models the posterior of a difficulty is narrow, and the grid has to be narrower
    spacing = min(0.25, 1.5 / np.sqrt(models))
    reach = REACH + np.abs(ability).max()
    nodes = np.linspace(-reach, reach, 2 * int(np.ceil(reach / spacing)) + 1)
    weight = np.exp(-0.5 * (nodes / 3) ** 2)
    weight /= weight.sum()
    posterior = np.zeros((len(nodes), models + 1))
    for _ in range(STEPS):
        posterior = np.exp(_log_posterior(ability, nodes, weight))
        mass = posterior @ scores
        moved = _abilities(ability, nodes, mass, accuracy)
        shift = moved.mean()
        change = max(np.abs(moved - shift - ability).max(), np.abs(mass / n - weight).max())
        ability, weight = moved - shift, mass / n
        if change < TOLERANCE:
            break
    return Rasch(n, ability, nodes, weight, np.exp(_log_posterior(ability, nodes, weight)))


def log_kernel(ability: Fractions, nodes: Fractions, scores: Counts) -> Fractions:
    """(K, S): log likelihood of each score at each node, less what depends on the score alone."""
    return np.asarray(log_expit(nodes[:, None] - ability[None, :]).sum(axis=1)[:, None] - np.outer(nodes, scores))


def _log_posterior(ability: Fractions, nodes: Fractions, weight: Fractions) -> Fractions:
    with np.errstate(divide="ignore"):
        logs = log_kernel(ability, nodes, np.arange(len(ability) + 1)) + np.log(weight)[:, None]
    return np.asarray(logs - logsumexp(logs, axis=0))


def _abilities(start: Fractions, nodes: Fractions, mass: Fractions, accuracy: Fractions) -> Fractions:
    """The abilities at which expected accuracies are the observed ones."""
    return solve_abilities(start, nodes, np.broadcast_to(mass / mass.sum(), (len(start), len(mass))), accuracy)


def solve_abilities(
    start: Fractions, nodes: Fractions, weight: Fractions, accuracy: Fractions, steps: int = 4
) -> Fractions:
    """(P,): abilities at which the mean of sigma(ability - difficulty) is the accuracy, by Newton's method.

    Args:
        start: (P,) near them.
        nodes: (K,) difficulties.
        weight: (P, K) of sum one.
        accuracy: (P,) within 0 and 1.
        steps: of Newton's method.
    """
    ability: Fractions = start.copy()
    for _ in range(steps):
        p = expit(ability[:, None] - nodes[None, :])
        mean = np.einsum("pk,pk->p", weight, p)
        slope = np.einsum("pk,pk->p", weight, p * (1 - p))
        # of its logit: nearly straight, so that no step goes astray
        gap = np.log(accuracy / (1 - accuracy)) - np.log(mean / (1 - mean))
        ability += np.clip(gap * mean * (1 - mean) / np.maximum(slope, 1e-12), -3, 3)
    return ability
