"""Ensembles of several models over a range of images: bounds decide, stored logits decide the rest of the samples.

Guarantees: as of `spread`; what stays open is counted and never guessed; on audited images bounds are compared with all
logits, and one disagreement is an error. Everything is additive over ranges of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.calibration import probabilities
from overlap.analysis.tops import spread
from overlap.analysis.tops.bounded import Bounded
from overlap.analysis.tops.counts import Disagreement, Whole
from overlap.analysis.tops.spread import OPEN, RIGHT, Spread

Counts = NDArray[np.int64]
Members = tuple[int, ...]

CHUNK = 1 << 23
"""Listed probabilities that are held together: 100 MiB of bounds and classes (at least one image of all models)."""


@dataclass(frozen=True)
class Range:
    """All models on a range of images.

    Attributes:
        models: of the same n images.
        labels: (n,) or (n, L).
        selection: (n,) True in the selection split.
        whole: all logits, where they are stored.
    """

    models: tuple[Bounded, ...]
    labels: NDArray[np.int32]
    selection: NDArray[np.bool_]
    whole: Whole

    def counted(self, members: Members, candidates: Sequence[int]) -> Counts:
        """(2, C): images of the selection split that are right with each candidate, and those that are undecided."""
        images = np.flatnonzero(self.selection)
        found = np.zeros((2, len(candidates)), np.int64)
        step = self._step(len(members) + len(candidates))
        for start in range(0, len(images), step):
            said = self._verdicts(members, candidates, images[start : start + step])[0]
            found += np.stack([(said == RIGHT).sum(axis=0), (said == OPEN).sum(axis=0)])
        return found

    def judged(self, members: Members, reference: int, after: int = 0) -> Counts:
        """(steps, 10): what the ensembles of the first members do, of more than `after`, beside the best single model.

        First of the selection, then of the test split: images right, undecided, right where the reference is wrong,
        wrong where it is right. In the end decisions that were compared with all logits, and those certified of them.
        """
        n = len(self.labels)
        single = truths.right(self.models[reference].prediction, self.labels)
        found = np.zeros((len(members) - after, 10), np.int64)
        for step in range(after, len(members)):
            together = self._step(step + 1)
            for start in range(0, n, together):
                images = np.arange(start, min(start + together, n))
                said, audited, certified = self._verdicts(members[:step], members[step : step + 1], images)
                is_right, is_open, alone = said[:, 0] == RIGHT, said[:, 0] == OPEN, single[images]
                cells = (is_right, is_open, is_right & ~alone, ~is_right & ~is_open & alone)
                for place, chosen in enumerate((self.selection[images], ~self.selection[images])):
                    found[step - after, 4 * place : 4 * place + 4] += [int((cell & chosen).sum()) for cell in cells]
                found[step - after, 8:] += [audited, certified]
        return found

    def _step(self, models: int) -> int:
        """Images at a time."""
        return max(1, CHUNK // (models * int(self.models[0].largest.shape[1])))

    def _verdicts(
        self, members: Members, candidates: Sequence[int], images: Counts
    ) -> tuple[NDArray[np.uint8], int, int]:
        """(m, C) verdicts; decisions that were audited, and that bounds had certified."""
        spreads = {model: Spread.of(self.models[model].take(images)) for model in sorted({*members, *candidates})}
        accepted = truths.accepted(self.labels[images])
        said = spread.verdicts(
            [spreads[model] for model in members], [spreads[model] for model in candidates], accepted
        )
        if not members:  # one model alone says what its largest logit says, whatever its probabilities round to
            return said, 0, 0
        inside = np.isin(self.whole.rows, images)
        rows = np.searchsorted(images, self.whole.rows[inside])
        wanted = (said[rows] == OPEN).any(axis=1) | self.whole.audited[inside]
        held = np.flatnonzero(inside)[wanted]
        rows = rows[wanted]
        if not len(rows):
            return said, 0, 0
        looked = self.whole.audited[held]
        exact = self._by_all(members, candidates, held)
        before = said[rows]
        if ((before != OPEN) & (before != exact)).any():
            raise Disagreement(f"an ensemble of {len(members) + 1} that was certified is another by all logits")
        said[rows] = exact
        return said, int(looked.sum()) * len(candidates), int((before[looked] != OPEN).sum())

    def _by_all(self, members: Members, candidates: Sequence[int], held: Counts) -> NDArray[np.uint8]:
        """(s, C): the same from all logits of some images of the samples, as `sums.right_together` has it."""
        images = self.whole.rows[held]
        labels = self.labels[images]
        of = {
            model: probabilities(self.whole.logits[model][held], self.models[model].temperature[images])
            for model in {*members, *candidates}
        }
        total = np.zeros((len(held), self.models[0].among))
        for model in members:
            total += of[model]
        found = np.empty((len(held), len(candidates)), np.uint8)
        for place, model in enumerate(candidates):
            found[:, place] = truths.right((total + of[model]).argmax(axis=1), labels)
        return found
