"""What is kept of pairs of checkpoints: made once, found again by the names of both, whatever other models there are.

Guarantees: a pair's figures are those that it would come to again, bit for bit; a pair is known by what its models'
answers are kept by, in the order of their names in the study (another order is computed anew). Two runs at a time
write the same pairs twice, of which one is used. What is damaged counts as not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.combining import COMBINERS
from overlap.analysis.ensembles.soft_scores import SoftScores
from overlap.analysis.splits import FOLDS
from overlap.analysis.tally import Together
from overlap.identity import canonical_json, digest
from overlap.store import kept, layout
from overlap.store.objects import Objects

VERSION = 1
"""Of what is made of pairs; raising it makes everything again."""

Name = tuple[str, str]
"""Of a model: its fingerprint, and the digest of the units that were read."""

More = Mapping[str, tuple[int, ...]]
"""What is kept of a pair beside what all studies keep: the shape of its numbers, by name."""

SOFT = ("nll", "ece", "weights")
TOGETHER = ("counts", "bits", "starts")


@dataclass(frozen=True)
class PairRows:
    """Pairs and what they come to.

    Attributes:
        pairs: (P,) the names of both models.
        soft: on the sample.
        together: on every image.
        more: what else is kept of each, (P, ...) int64 by name.
    """

    pairs: tuple[tuple[Name, Name], ...]
    soft: SoftScores
    together: Together
    more: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    @classmethod
    def joined(cls, parts: Sequence[PairRows]) -> PairRows:
        """Several as one; at least one.

        Raises:
            ValueError: samples of different sizes, or more kept of some than of others.
        """
        if len({(part.soft.n, *sorted(part.more)) for part in parts}) > 1:
            raise ValueError("pairs on samples of different sizes, or of different figures")
        offsets = np.cumsum([0, *(len(part.together.bits) for part in parts)])
        starts = [part.together.starts[:-1] + offset for part, offset in zip(parts, offsets, strict=False)]
        return cls(
            tuple(pair for part in parts for pair in part.pairs),
            SoftScores(
                parts[0].soft.n,
                np.concatenate([part.soft.nll for part in parts], axis=1),
                np.concatenate([part.soft.ece for part in parts], axis=1),
                np.concatenate([part.soft.weights for part in parts]),
            ),
            Together(
                np.concatenate([part.together.counts for part in parts]),
                np.concatenate([part.together.bits for part in parts]),
                np.concatenate([*starts, offsets[-1:]]),
            ),
            {name: np.concatenate([part.more[name] for part in parts]) for name in parts[0].more},
        )

    def write(self, objects: Objects, data: str, context: str) -> str:
        """Keep them; returns the key."""
        names = sorted({name for pair in self.pairs for name in pair})
        place = {name: number for number, name in enumerate(names)}
        arrays = {
            kept.PAIRS: np.array([[place[one], place[two]] for one, two in self.pairs], np.int32).reshape(-1, 2),
            "sample": np.array([self.soft.n]),
            **{name: getattr(self.soft, name) for name in SOFT},
            **{name: getattr(self.together, name) for name in TOGETHER},
            **self.more,
        }
        about = {
            kept.MODELS: " ".join(fingerprint for fingerprint, _ in names),
            kept.SOURCES: " ".join(source for _, source in names),
        }
        return kept.write(objects, lambda digest: layout.pairs(data, context, digest), arrays, about)

    @classmethod
    def read(cls, objects: Objects, key: str) -> PairRows | None:
        """From an object; None where it is gone or damaged."""
        arrays, about = kept.read(objects, key), kept.header(objects, key)
        if arrays is None or not about:  # the two are read one after the other, and any may go at any time
            return None
        names = list(zip(about[kept.MODELS].split(), about[kept.SOURCES].split(), strict=True))
        return cls(
            tuple((names[one], names[two]) for one, two in arrays[kept.PAIRS].tolist()),
            SoftScores(int(arrays["sample"][0]), *(arrays[name] for name in SOFT)),
            Together(*(arrays[name] for name in TOGETHER)),
            {name: arrays[name] for name in sorted({*arrays} - {kept.PAIRS, "sample", *SOFT, *TOGETHER})},
        )


def nothing(sample: int, more: More | None = None) -> PairRows:
    """No pairs."""
    return PairRows(
        (),
        SoftScores(sample, np.empty((len(COMBINERS), 0)), np.empty((len(COMBINERS), 0)), np.empty((0, FOLDS, 2))),
        Together(np.empty((0, len(COMBINERS), 4), np.int64), np.empty(0, np.uint8), np.zeros(1, np.int64)),
        {name: np.empty((0, *shape), np.int64) for name, shape in (more or {}).items()},
    )


def context(answers: str, sample: int) -> str:
    """What goes into every pair beside its models: what goes into their answers, and the images of the sample."""
    return digest(canonical_json({"version": VERSION, "answers": answers, "sample": sample, "combiners": [*COMBINERS]}))


def places(parts: Sequence[Sequence[tuple[Name, Name]]]) -> dict[tuple[Name, Name], tuple[int, int]]:
    """Where each pair is first: in which part, and where in that."""
    found: dict[tuple[Name, Name], tuple[int, int]] = {}
    for part, pairs in enumerate(parts):
        for place, pair in enumerate(pairs):
            found.setdefault(pair, (part, place))
    return found
