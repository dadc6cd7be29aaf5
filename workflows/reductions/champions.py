"""What the best ensemble gets right is remembered while its members' logits are at hand.

Then whoever compares it with a champion, be it weeks later, reads no logits again.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from overlap.ensemble.challenge import wanted
from overlap.ensemble.choice import MAIN
from overlap.ensemble.rights import Judge
from workflows.reductions.answers import Answers
from workflows.reductions.counting import LookedUp
from workflows.reductions.judging import rights
from workflows.reductions.subject import Subject


def remember(subject: Subject, answers: Answers, found: Mapping[str, pl.DataFrame]) -> LookedUp:
    """Remember of the main search's best ensemble which images it gets right, where a champion is wanted.

    Args:
        subject: of the reduction.
        answers: of its models.
        found: the tables of the searches.

    Returns:
        The logits that were read for it.
    """
    if subject.truth is not None or not wanted(subject.plan.study, subject.name) or "searches" not in found:
        return LookedUp()
    best = found["searches"].filter((pl.col("search") == MAIN) & pl.col("size").is_not_null())
    steps = found["ensembles"].filter(pl.col("search") == MAIN).sort("step")
    if not best.height:
        return LookedUp()
    models = steps["model"].to_list()[: best["size"][0]]
    members = tuple(answers.models.index(model) for model in models)
    judge = Judge(subject.objects, subject.name, subject.plan.dataset.digest)
    right, looked_up = rights([members], answers)
    judge.remember([subject.fingerprints[model] for model in models], right[0])
    return looked_up
