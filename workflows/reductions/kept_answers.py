"""What is kept of a checkpoint's logits under a truth, as arrays of one object and back; and where it is.

Guarantees: what is read back is, bit for bit, what the same logits would come to again. The name holds everything that
went in: the images and their labels, the settings, the units that were read, and the version of what is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.calibration import Calibration, Scored
from overlap.analysis.ensembles import largest, shortlists
from overlap.analysis.ensembles.largest import Largest
from overlap.analysis.ensembles.shortlists import Answered, Shortlist
from overlap.analysis.splits import FOLDS
from overlap.identity import SHORT as SHORT_DIGEST
from overlap.identity import canonical_json, digest, digest_keys
from overlap.store import kept, layout
from overlap.store.ledger import Record
from overlap.store.location import Location, open_objects

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
        short = self.answered.short
        return {
            "calibration": figures(self.scored.calibration),
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
        calibration = calibration_of(arrays["calibration"])
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
    settings = {"version": VERSION, "sample": sample, "kept": [shortlists.KEPT, shortlists.SAID, largest.KEPT]}
    return context_of(dataset, keys, labels, settings)


def context_of(dataset: str, keys: Sequence[str], labels: NDArray[np.int32], settings: Mapping[str, Any]) -> str:
    """A digest of the images, of their labels, and of how what is kept of a checkpoint is made."""
    held = np.ascontiguousarray(labels, "<i4")
    about = {"dataset": dataset, "keys": digest_keys(keys), "labels": [list(held.shape), digest(held.tobytes())]}
    return digest(canonical_json({**about, **settings}))


def source(records: Sequence[Record]) -> str:
    """The units that a checkpoint's logits are read from, as a digest."""
    return digest(canonical_json([record.bytes_digest for record in records]))


def figures(found: Calibration) -> NDArray[np.float64]:
    """A calibration as numbers."""
    soft = (np.nan if value is None else value for value in (found.nll, found.ece, found.top5))
    return np.array([found.temperature, *found.fold_temperatures, *soft], np.float64)


def calibration_of(numbers: NDArray[np.float64]) -> Calibration:
    """From what `figures` gave."""
    temperature, *others = numbers.tolist()
    nll, ece, top5 = (None if np.isnan(value) else value for value in others[FOLDS:])
    return Calibration(temperature, np.array(others[:FOLDS]), nll, ece, top5)


@dataclass(frozen=True)
class Place:
    """Where what one checkpoint's logits come to is kept, for the task that recalls or makes it."""

    where: Location
    data: str
    context: str
    name: tuple[str, str]
    """The fingerprint, and the digest of the units."""
    keys: tuple[str, ...]
    """Of what is there."""

    def recall(self) -> dict[str, NDArray[Any]] | None:
        """The arrays; None where there are none that are whole."""
        objects = open_objects(self.where)
        found = (kept.read(objects, key) for key in self.keys)
        return next((arrays for arrays in found if arrays is not None), None)

    def keep(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep arrays."""
        kept.write(open_objects(self.where), self._key, arrays)

    def _key(self, digest: str) -> str:
        return layout.answers(self.data, self.context, *self.name, digest)


def places(where: Location, data: str, context: str, names: Sequence[tuple[str, str]]) -> list[Place]:
    """Of each checkpoint; one listing."""
    there: dict[tuple[str, str], tuple[str, ...]] = {}
    for info in open_objects(where).list(layout.answers_prefix(data, context)):
        told = layout.parse_answers(info.key)
        if told is not None:
            there[told[1:]] = (*there.get(told[1:], ()), info.key)
    return [Place(where, data, context, name, there.get((name[0], name[1][:SHORT_DIGEST]), ())) for name in names]
