"""Categories of pairs from what is declared of each model: numbers, found for the pairs that are asked for.

Guarantees: what `overlap.methodology.category` says of each pair, symmetric in the two. Memory: eight numbers a model,
whatever the number of pairs, and of those that are asked for a byte each (a reference, where names are asked for).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.pairs import CATEGORIES

Codes = NDArray[np.int64]
Numbers = NDArray[np.int8]

NONE = -1
"""Of a pair without a category, and of what is not declared."""
SHARED_LINEAGE, DUPLICATE = CATEGORIES.index("shared_lineage"), CATEGORIES.index("duplicate")

_NAMES = np.array([*CATEGORIES, None], np.object_)
_NAMES.flags.writeable = False


@dataclass(frozen=True, eq=False)
class PairCategories:
    """The categories of all pairs of M models; `categories[first, second]` names those of some.

    Attributes:
        axes: (4, M) what each model has on each axis of training, outermost first, as numbers; `NONE` where it is not
            declared. Numbers of different axes are not compared.
        name: (M,) distinct numbers.
        parent: (M,) the parent's number, of the models' numbers where it is one of them; `NONE` where it has none.
        teacher: (M,) likewise.
        weights: (M,) of the weights, `NONE` where they are unknown.
    """

    axes: Codes
    name: Codes
    parent: Codes
    teacher: Codes
    weights: Codes

    def __len__(self) -> int:
        return len(self.name)

    def __getitem__(self, place: tuple[Any, Any]) -> Any:
        """Names of the categories of pairs, or None, in the shape that both places have together."""
        return _NAMES[self.numbers(*place)]

    def numbers(self, first: Any, second: Any) -> Numbers:
        """Positions in `CATEGORIES`, `NONE` where there is no category, as of a model with itself: int8.

        Args:
            first: models' places, of any shape.
            second: of a shape that fits.
        """
        a, b = np.asarray(first), np.asarray(second)
        found = np.zeros(np.broadcast_shapes(a.shape, b.shape), np.int8)
        for place in reversed(range(len(self.axes))):  # the outermost axis has the last word
            one, other = self.axes[place][a], self.axes[place][b]
            found = np.where(one != other, np.int8(len(self.axes) - place), found)
            found = np.where((one == NONE) | (other == NONE), np.int8(NONE), found)
        stems = (self.parent[a] == self.name[b]) | (self.teacher[a] == self.name[b])
        stems |= (self.parent[b] == self.name[a]) | (self.teacher[b] == self.name[a])
        stems |= (self.parent[a] == self.parent[b]) & (self.parent[a] != NONE)
        found = np.where(stems, np.int8(SHARED_LINEAGE), found)
        same = (self.weights[a] == self.weights[b]) & (self.weights[a] != NONE)
        found = np.where(same, np.int8(DUPLICATE), found)
        return np.asarray(np.where(a == b, np.int8(NONE), found))

    def related(self, first: Any, second: Any) -> NDArray[np.bool_]:
        """Whether pairs are of shared lineage, or duplicates; arguments are those of `numbers`."""
        return np.asarray(self.numbers(first, second) >= min(SHARED_LINEAGE, DUPLICATE))

    def among(self, models: Sequence[int]) -> PairCategories:
        """Those of some of the models, in this order."""
        some = np.asarray(models, np.int64)
        return PairCategories(
            self.axes[:, some], self.name[some], self.parent[some], self.teacher[some], self.weights[some]
        )
