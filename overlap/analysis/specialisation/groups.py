"""Which classes belong together: what figures by group are sums over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

NONE: Final = -1
"""The group of a class without one."""


@dataclass(frozen=True)
class ClassGroups:
    """Groups of the classes of a data set.

    Attributes:
        names: of the groups, ascending.
        of_class: (K,) int32, by class its group's place among the names, or -1 for none.
    """

    names: tuple[str, ...]
    of_class: NDArray[np.int32]

    def of(self, classes: NDArray[np.integer]) -> NDArray[np.int32]:
        """The group of each class number, in their shape; -1 for a class without one."""
        return np.asarray(self.of_class[classes])
