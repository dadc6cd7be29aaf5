"""All that reads logits, of a study that stores the largest alone: tables, and in words what there is none of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from overlap.analysis.calibration import Calibration
from overlap.analysis.combining import COMBINERS, EnsembleCounts
from overlap.analysis.consistency import PairCounts
from overlap.analysis.ensembles.weak_helps import weak_helps_table
from overlap.analysis.gain_fits import gain_fits_table
from overlap.analysis.pair_categories import PairCategories
from overlap.analysis.some_pairs import SomePairs, categorised
from overlap.analysis.tops.agreement import agreement_table
from overlap.panel import Panel
from overlap.store.kept import Asked
from overlap.store.ledger import Manifest
from workflows.plan import Plan
from workflows.reductions import costs
from workflows.reductions.asked import asked
from workflows.reductions.tops.answers import TopAnswers, read
from workflows.reductions.tops.pairs import TopPairs, combine
from workflows.reductions.tops.searches import search

NOT_MADE = (
    "distances between whole distributions of probabilities (capa, symmetric_kl, jensen_shannon)",
    "specialisation by confidence (the tables theta, specialisation and specialisation_categories)",
    "searches that are not greedy by accuracy (bagged, of weights, by likelihood), and the table pareto",
    "nll_test of searches",
)
"""What needs all logits of every image."""

FEW = 200
"""Images of the calibration sample below which a note says that they are few: temperatures are then off by some 10%."""


@dataclass(frozen=True)
class TopStudy:
    """What came of it; empty of a study that stores all logits.

    Attributes:
        tables: by name.
        notes: for the report.
        calibrations: by model.
        main: rows of pair_ensembles by the main combiner, counts: of its ensembles; None where an image is undecided.
        missing: anchors that are no models.
        told: for the provenance.
        asked: of what is kept; None of a study that stores all logits.
    """

    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    calibrations: dict[str, Calibration] = field(default_factory=dict)
    main: pl.DataFrame | None = None
    counts: EnsembleCounts | None = None
    missing: tuple[str, ...] = ()
    told: dict[str, str] = field(default_factory=dict)
    asked: Asked | None = None


def tabulate(
    panel: Panel,
    plan: Plan,
    manifests: dict[str, Manifest],
    counts: PairCounts,
    categories: PairCategories,
    counted: Any,
    some: SomePairs | None = None,
) -> TopStudy:
    """Everything that the largest logits decide.

    Args:
        panel: all models that take part.
        plan: of the study.
        manifests: of its complete checkpoints.
        counts: joint counts of the pairs of the panel.
        categories: of its models' pairs.
        counted: of `costs.count`.
        some: the pairs of the panel that this is about; without them all.

    Raises:
        DamagedUnits: a certified object is not what its record says.
        Disagreement: on an audited image bounds certified what all logits deny.
    """
    answers = read(panel, plan, manifests)
    if not answers.models:
        return TopStudy()
    joint, own = counts.among(answers.rows), categories.among(answers.rows)
    mine = None if some is None else some.among(answers.rows)
    found = combine(answers, joint, own, mine)
    priced = costs.of(answers.models, plan, manifests, counted)
    searched, compared, missing = search(answers, own, priced, plan.study.ensembles)
    decided = found.table.filter(~pl.col("accuracy").is_null().any().over("combiner"))
    tables = {
        "pair_ensembles": found.table,
        "pair_ensemble_bounds": found.bounds,
        "top_agreement": agreement_table(answers.agreements),
        **searched,
    }
    if decided.height:
        tables["gain_fits"] = gain_fits_table(categorised(answers.models, own, mine), decided, sampled=some is not None)
    if (main := found.main) is not None:
        gain = main["gain_best"].fill_null(np.nan).to_numpy()
        tables["weak_helps"] = weak_helps_table(answers.models, joint.right, joint.n, gain, mine)
    decisions = tuple(np.add(found.decisions, compared).tolist())
    notes = tuple(_notes(answers, found, searched["ensemble_bounds"], (decisions[0], decisions[1])))
    told = {
        "logits_read": f"the largest of {sum(answers.was_read)} of {len(answers.models)} checkpoints, "
        f"all of {len(answers.whole)} images",
        "pairs_counted": f"{found.counted} of {len(found.table) // len(COMBINERS)} pairs",
    }
    return TopStudy(tables, notes, answers.by_name, main, found.counts, tuple(missing), told, asked(answers))


def _notes(answers: TopAnswers, found: TopPairs, steps: pl.DataFrame, decisions: tuple[int, int]) -> Iterator[str]:
    """How much is certain, what was compared, and what there is none of."""
    sample = len(answers.calibrated)
    yield (
        f'predict.output = "top": temperatures, nll and ece are of the {sample:,} images of the calibration sample, of '
        "which alone all logits serve them; accuracies, top5 and pairs are of every image"
    )
    if sample < FEW:
        yield f"temperatures that are fitted on {sample} images are uncertain; {FEW} and more were better"
    if not sample:
        yield "the calibration sample has no image: all temperatures are 1"
    rows = found.bounds.filter(pl.col("undecided") > 0)
    if rows.height:
        most, total = (
            int(value) for value in rows.select(pl.max("undecided"), pl.sum("undecided").alias("sum")).row(0)
        )
        yield (
            f"{rows.height:,} of {found.bounds.height:,} ensembles of pairs have images that neither bounds nor stored "
            f"logits decide ({most:,} of {len(answers.keys):,} at most, {total:,} "
            "in all): what these could change is null in pair_ensembles, and between its bounds in pair_ensemble_bounds"
        )
    if found.main is None:
        yield "gains by category, and weak_helps, are left out: an image is undecided of a pair by mean probability"
    is_open = steps.filter((pl.col("undecided_select") > 0) | (pl.col("undecided_test") > 0))
    if is_open.height:
        yield (
            f"{is_open.height:,} of {steps.height:,} steps of searches have undecided images: accuracies are null in "
            "ensembles, and between their bounds in ensemble_bounds"
        )
    audited, certified = decisions
    share = f": bounds had certified {100 * certified / audited:.2f}%, all rightly" if audited else ""
    yield (
        f"on the {int(answers.audited.sum()):,} images of the audit sample {audited:,} decisions were compared with "
        f"all logits{share}"
    )
    yield f"not made of the largest logits alone: {'; '.join(NOT_MADE)}"
