"""What is kept of a checkpoint's logits under a truth, as arrays of one object and back.

Guarantees: what is read back is, bit for bit, what the same logits would come to again. The name holds everything that
went in: the images and their labels, the settings, the units that were read, and the version of what is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.calibration import Calibration, Scored
from overlap.analysis.ensembles import largest, shortlists
from overlap.analysis.ensembles.largest import Largest
from overlap.analysis.ensembles.shortlists import Answered, Shortlist
from overlap.analysis.splits import FOLDS
from overlap.identity import canonical_json, digest, digest_keys
from overlap.store.ledger import Record

VERSION = 1
"""Of what is made of logits; raising it makes everything again."""

SHORT = ("logits", "classes", "tail", "least", "odds")
LARGEST = ("values", "classes", "tail", "right")


@dataclass(frozen=True)
class Kept:
    """What one checkpoint's logits come to."""

    scored: Scored
    answered: Answered
    largest: Largest
    """On the selection split."""
    sample: NDArray[np.float16]
    """(S, K): logits on the sample."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """By name, as they are stored."""
        found, short = self.scored.calibration, self.answered.short
        figures = [found.temperature, *found.fold_temperatures, *map(_number, (found.nll, found.ece, found.top5))]
        return {
            "calibration": np.array(figures, np.float64),
            "confidence": self.scored.confidence,
            "likelihood": self.scored.likelihood,
            "sizes": np.array([short.sorted, short.among]),
            "own": self.answered.own,
            "calibrated_odds": self.answered.odds,
            "sample": self.sample,
            **{f"short_{name}": getattr(short, name) for name in SHORT},
            **{f"largest_{name}": getattr(self.largest, name) for name in LARGEST},
        }

    @classmethod
    def of(cls, arrays: dict[str, NDArray[Any]], folds: NDArray[np.int8]) -> Kept:
        """From what `arrays` gave, with the calibration fold of each image."""
        temperature, *others = arrays["calibration"].tolist()
        nll, ece, top5 = (None if np.isnan(value) else value for value in others[FOLDS:])
        calibration = Calibration(temperature, np.array(others[:FOLDS]), nll, ece, top5)
        sorted_, among = arrays["sizes"].tolist()
        short = Shortlist(**{name: arrays[f"short_{name}"] for name in SHORT}, sorted=sorted_, among=among)
        return cls(
            Scored(calibration, arrays["confidence"], arrays["likelihood"]),
            Answered(short, arrays["own"], calibration.of(folds), arrays["calibrated_odds"]),
            Largest(*(arrays[f"largest_{name}"] for name in LARGEST)),
            arrays["sample"],
        )


def context(dataset: str, keys: Sequence[str], labels: NDArray[np.int32], sample: int) -> str:
    """What goes into every checkpoint's answers, as a digest.

    Args:
        dataset: digest of the data set.
        keys: of the images that take part.
        labels: of these, in either form.
        sample: images of the sample.
    """
    held = np.ascontiguousarray(labels, "<i4")
    return digest(
        canonical_json(
            {
                "version": VERSION,
                "dataset": dataset,
                "keys": digest_keys(keys),
                "labels": [list(held.shape), digest(held.tobytes())],
                "sample": sample,
                "kept": [shortlists.KEPT, shortlists.SAID, largest.KEPT],
            }
        )
    )


def source(records: Sequence[Record]) -> str:
    """The units that a checkpoint's logits are read from, as a digest."""
    return digest(canonical_json([record.bytes_digest for record in records]))


def _number(value: float | None) -> float:
    return np.nan if value is None else value
