"""What is kept of a checkpoint's largest logits under a truth, as arrays of one object and back.

Guarantees: what is read back is, bit for bit, what the same units would come to again. It is about as large as what it
was made from: searches and pairs with other checkpoints go through all of it, and then read nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.calibration import Calibration
from overlap.analysis.tops import samples
from overlap.analysis.tops.agreement import Agreement
from overlap.analysis.tops.bounded import Bounded
from overlap.analysis.tops.moments import GRID, KEPT
from workflows.reductions import kept_answers

VERSION = 1
"""Of what is made of the largest logits; raising it makes everything again."""

BOUNDED = ("largest", "classes", "least", "low", "high")


@dataclass(frozen=True)
class KeptTop:
    """What one checkpoint's largest logits come to."""

    calibration: Calibration
    agreement: Agreement
    bounded: Bounded
    logits: NDArray[np.float16]
    """(s, K): all of the images of both samples."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """By name, as they are stored."""
        _, *compared = astuple(self.agreement)  # a checkpoint's name is not what its logits come to
        return {
            "calibration": kept_answers.figures(self.calibration),
            "agreement": np.array(compared, np.float64),
            "among": np.array([self.bounded.among]),
            "logits": self.logits,
            **{name: getattr(self.bounded, name) for name in BOUNDED},
        }

    @classmethod
    def of(cls, arrays: dict[str, NDArray[Any]], model: str, folds: NDArray[np.int8]) -> KeptTop:
        """From what `arrays` gave, with the model's name and the calibration fold of each image."""
        calibration = kept_answers.calibration_of(arrays["calibration"])
        audited, *widths = arrays["agreement"].tolist()
        largest, classes, least, low, high = (arrays[name] for name in BOUNDED)
        temperature = calibration.of(folds)
        bounded = Bounded(largest, classes, least, temperature, low, high, int(arrays["among"][0]))
        return cls(calibration, Agreement(model, int(audited), *widths), bounded, arrays["logits"])


def context(dataset: str, keys: Sequence[str], labels: NDArray[np.int32]) -> str:
    """What goes into every checkpoint's answers, as a digest; arguments as of `kept_answers.context`."""
    shares = [samples.CALIBRATION_SHARE, samples.AUDIT_SHARE]
    return kept_answers.context_of(dataset, keys, labels, {"top": VERSION, "kept": [KEPT, *GRID], "shares": shares})
