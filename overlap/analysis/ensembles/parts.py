"""All parts of the selection images together: what searches ask.

Guarantees: answers are sums of integers over the parts, so that neither how many parts there are nor where they are can
change a choice; and a choice is that of the full computation: the highest value, of equals the lowest model. Candidates
whose upper bound is below another's lower bound are never looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.ensembles.part import Counts, Members, Part

Call = Callable[[str, tuple[Any, ...]], Iterable[NDArray[np.int64]]]
"""Calls the method of this name with these arguments on every part, here or in other processes: their answers."""
Value = Callable[[Counts, Counts], NDArray[np.float64]]
"""From candidates and their counts to what is to be maximised; for each candidate it rises with its count."""


class Parts:
    """The selection images, wherever they are held.

    Attributes:
        scored: images scored so far, once for each candidate of each step.
        uncertified: those among them that bounds left open.
        looked_up: those among them whose probabilities of all classes were read.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self.scored = self.uncertified = self.looked_up = 0
        self.single: Counts = self._sum("single")
        """Images that each model gets right alone, (M,)."""

    @classmethod
    def here(cls, parts: Sequence[Part], threads: int = 1) -> Parts:
        """Parts in this process, asked by this many threads."""

        def call(method: str, arguments: tuple[Any, ...]) -> Iterable[NDArray[np.int64]]:
            if threads == 1:
                return [getattr(part, method)(*arguments) for part in parts]
            with ThreadPoolExecutor(threads) as pool:
                return list(pool.map(lambda part: getattr(part, method)(*arguments), parts))

        return cls(call)

    def choose(self, members: Members, candidates: Counts, images: int, value: Value | None = None) -> int:
        """The candidate with the highest value when added to the members, the lowest of equals.

        Args:
            members: so far.
            candidates: (C,) models in ascending order, at least one.
            images: of the selection split; for the share that is not certified.
            value: what is to be maximised; without it the count of right images.
        """
        low, high = self._sum("bounds", members, candidates)
        self.scored += images * len(candidates)
        self.uncertified += int((high - low).sum())
        while True:
            least = low if value is None else value(candidates, low)
            greatest = high if value is None else value(candidates, high)
            best = int(np.argmax(least))
            rivals = (greatest > least[best]) | ((greatest == least[best]) & (np.arange(len(candidates)) < best))
            rivals[best] = False
            if not rivals.any():
                return int(candidates[best])
            rivals[best] = True
            open_ = np.flatnonzero(rivals & (low < high))
            place = int(open_[np.argmax(greatest[open_])])
            exact, looked_up = self._sum("exact", members, int(candidates[place]))
            low[place] = high[place] = exact
            self.looked_up += int(looked_up)

    def right(self, members: Members) -> int:
        """Images that the members get right together; of one member alone nothing is read."""
        return int(self.single[members[0]] if len(members) == 1 else self._sum("right", members)[0])

    def weighed(self, models: Counts, weights: NDArray[np.float64]) -> Counts:
        """Images right by the kept classes alone under each row of weights, (V,)."""
        return self._sum("weighed", models, weights)

    def _sum(self, method: str, *arguments: Any) -> Counts:
        answers = list(self._call(method, arguments))
        return np.asarray(sum(answers[1:], start=answers[0].copy()))
