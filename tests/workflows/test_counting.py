"""Logits that are looked up while ensembles are judged one by one: each of them is counted."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import ray

from overlap.analysis.ensembles.shortlists import answered
from overlap.analysis.ensembles.sums import Terms, right_together
from overlap.store.folder import Folder
from overlap.study import load_study
from tests.ray_cluster import RayCluster
from tests.small_study import DATA, SmallStudy
from workflows.gate import Gate
from workflows.plan import make_plan
from workflows.reductions.answers import read
from workflows.reductions.counting import told
from workflows.reductions.judging import rights
from workflows.reductions.subject import Subject


def test_every_row_that_judging_reads_is_counted(undisturbed: SmallStudy, cluster: RayCluster) -> None:
    plan = make_plan(load_study(undisturbed.path), DATA)
    names = dict(sorted((one.id, one.fingerprint) for one in plan.checkpoints))
    subject = Subject(plan, None, names, (), Gate(plan, (), {}, known=False), Folder(undisturbed.store))
    answers = read(subject.panel(), plan, subject.manifests)
    images = np.arange(len(answers.keys))
    short = [  # of ten classes two are kept, which leaves images open
        answered([answers.look_up(model, images)], answers.labels, one.of(answers.folds), 2)
        for model, one in enumerate(answers.calibrations)
    ]
    answers = replace(answers, answered=tuple(ray.put(one) for one in short))
    ensembles = [*combinations(range(len(names)), 3)]
    right, counted = rights(ensembles, answers)

    asked: dict[int, int] = {}

    def look_up(model: int, images: np.ndarray) -> np.ndarray:
        asked[model] = asked.get(model, 0) + len(images)
        return answers.look_up(model, images)

    terms = [Terms.alike(members) for members in ensembles]
    expected = right_together(terms, dict(enumerate(short)), answers.labels, look_up)
    assert np.array_equal(right, expected.T)
    assert counted.rows == asked
    assert counted.total > 0, "some images are left open by what is kept"
    assert not any(answers.was_read), "the run before has kept them all"
    assert told(answers, [counted])["logits_looked_up"] == f"{counted.total} images of the others"
