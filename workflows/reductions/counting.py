"""How many logits had to be looked up, that shortlists left open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from workflows.reductions.answers import Answers


@dataclass(frozen=True)
class LookedUp:
    """Rows of logits, that is images of a model, by model."""

    rows: dict[int, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Of all models."""
        return sum(self.rows.values())

    @classmethod
    def sum(cls, parts: Sequence[LookedUp]) -> LookedUp:
        """Those of several tasks."""
        found: dict[int, int] = {}
        for part in parts:
            for model, rows in part.rows.items():
                found[model] = found.get(model, 0) + rows
        return cls(found)


class Counting:
    """A look-up that counts; asked about a range of images, it numbers them from the first."""

    def __init__(self, look_up: Callable[[int, NDArray[np.int64]], NDArray[np.float16]], first: int = 0) -> None:
        self._look_up, self._first = look_up, first
        self._rows: dict[int, int] = {}

    def __call__(self, model: int, images: NDArray[np.int64]) -> NDArray[np.float16]:
        """(m, K) of one model on m images of the range, ascending."""
        self._rows[model] = self._rows.get(model, 0) + len(images)
        return self._look_up(model, images + self._first)

    @property
    def told(self) -> LookedUp:
        """What was counted so far."""
        return LookedUp(dict(self._rows))


def told(answers: Answers, parts: Sequence[LookedUp]) -> dict[str, str]:
    """For the provenance: whose logits were read whole, and how many rows of the others were looked up."""
    rows = LookedUp.sum(parts).rows
    others = sum(count for model, count in rows.items() if not answers.was_read[model])
    return {
        "logits_read": f"{sum(answers.was_read)} of {len(answers.models)} checkpoints",
        "logits_looked_up": f"{others} images of the others",
    }
