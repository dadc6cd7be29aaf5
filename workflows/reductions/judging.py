"""Which images ensembles get right: counted for the tables of searches, and one by one, to compare them in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from overlap.analysis.ensembles.outcomes import Outcomes, added, outcomes, used
from overlap.analysis.ensembles.shortlists import Answered
from overlap.analysis.ensembles.suite import Suite
from overlap.analysis.ensembles.sums import Terms, right_together
from workflows.nodes.cluster import fetch
from workflows.nodes.remote import remote
from workflows.reductions.answers import Answers, LookUp
from workflows.reductions.counting import Counting, LookedUp

Members = tuple[int, ...]
"""Models of `Answers`, in the order in which they were selected; one may be there several times."""

IMAGES = 1 << 13
"""Images of one task: shortlists of 100 models take 0.2 GiB."""


def judge(suite: Suite, answers: Answers) -> tuple[Outcomes, LookedUp]:
    """What all ensembles of a suite do on both splits, and how many logits were read for it."""
    models = used(suite.ensembles, suite.reference)
    found, about = ray.put(suite), ray.put((answers.labels, answers.selection, answers.look_up))
    held = [answers.answered[model] for model in models]
    parts = fetch([_count.remote(found, models, held, about, images) for images in _ranges(answers)])
    return added([outcome for outcome, _ in parts]), LookedUp.sum([looked_up for _, looked_up in parts])


def rights(ensembles: Sequence[Members], answers: Answers) -> tuple[NDArray[np.bool_], LookedUp]:
    """Which images the mean of the members' calibrated probabilities (out of fold) gets right, and how many logits were
    read for it.

    Args:
        ensembles: E ensembles of at least one member each.
        answers: of the models.

    Returns:
        (E, N); sums are float64 in the order of the members, the lowest class on ties.
    """
    models = sorted({model for members in ensembles for model in members})
    wanted, about = ray.put(tuple(ensembles)), ray.put((answers.labels, answers.look_up))
    kept = [answers.answered[model] for model in models]
    parts = fetch([_rights.remote(wanted, models, kept, about, images) for images in _ranges(answers)])
    return np.concatenate([right for right, _ in parts], axis=1), LookedUp.sum([looked_up for _, looked_up in parts])


def _ranges(answers: Answers) -> list[slice]:
    edges = [*range(0, len(answers.keys), IMAGES), len(answers.keys)] if len(answers.keys) else [0, 0]
    return [slice(start, stop) for start, stop in pairwise(edges)]


def _taken(models: Sequence[int], held: Sequence[Any], images: slice) -> dict[int, Answered]:
    return {model: one.take(images) for model, one in zip(models, ray.get([*held]), strict=True)}


@remote(num_cpus=1)
def _count(
    suite: Suite, models: Sequence[int], held: Sequence[Any], about: tuple[Any, ...], images: slice
) -> tuple[Outcomes, LookedUp]:
    labels, selection, look_up = about
    looked = Counting(look_up, images.start)
    taken = _taken(models, held, images)
    counted = outcomes(suite.ensembles, suite.reference, taken, labels[images], selection[images], looked)
    return counted, looked.told


@remote(num_cpus=1)
def _rights(
    ensembles: Sequence[Members], models: Sequence[int], held: Sequence[Any], about: tuple[Any, ...], images: slice
) -> tuple[NDArray[np.bool_], LookedUp]:
    labels, look_up = about
    own: LookUp = look_up
    looked = Counting(own, images.start)
    terms = [Terms.alike(members) for members in ensembles]
    right = right_together(terms, _taken(models, held, images), labels[images], looked).T
    return right, looked.told
