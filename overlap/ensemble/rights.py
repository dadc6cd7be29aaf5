"""Which images an ensemble gets right, one by one, from the store: so that two ensembles can be compared in pairs.

Guarantees: probabilities are calibrated out of fold, as the study's own figures are; what a reduction has remembered of
an ensemble and what is computed here are the same bits. Memory: the logits of one model, and one shard of the rest.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from overlap.analysis import splits, truths
from overlap.analysis.calibration import probabilities, temperatures
from overlap.analysis.intervals import gain_interval
from overlap.errors import ObjectMissing, StudyError
from overlap.identity import digest, digest_keys
from overlap.store import layout, memo
from overlap.store.ledger import Ledger, Manifest
from overlap.store.objects import Objects
from overlap.store.tables import Labels, decode_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

KIND = "ensemble-rights"
VERSION = 1
"""Of what being right means: splits, calibration, order of the sum."""


@dataclass(frozen=True)
class Judge:
    """A data set of a store, on which ensembles are compared under its own labels."""

    objects: Objects
    data: str
    dataset_digest: str

    @cached_property
    def truth(self) -> Labels:
        """The data set's labels, in the order of its shards; StudyError where it was never run."""
        try:
            return decode_labels(self.objects.get(layout.labels(self.data)))
        except ObjectMissing:
            raise StudyError(f"{self.objects.uri}: nothing was run on '{self.data}' yet") from None

    @cached_property
    def test(self) -> NDArray[np.bool_]:
        """(N,): images of the test split."""
        return ~splits.selection(self.truth.keys)

    def rights(self, members: Sequence[str]) -> NDArray[np.bool_]:
        """(N,): whether the mean of the members' calibrated probabilities is right; remembered, or else computed.

        Args:
            members: fingerprints in the order in which they were selected; one may be there several times.

        Raises:
            StudyError: a member is not complete on this data set.
            DamagedUnits: a certified object is not what its record says.
        """
        held = memo.recall(self._place(members), self.objects)
        images = len(self.truth.keys)
        if isinstance(held, dict) and held.get("images") == images:
            bits = np.frombuffer(base64.b64decode(held["right"]), np.uint8)
            return np.unpackbits(bits, count=images).astype(np.bool_)
        found = self._computed(members)
        self.remember(members, found)
        return found

    def remember(self, members: Sequence[str], right: NDArray[np.bool_]) -> None:
        """Keep what was found of an ensemble elsewhere; arguments as of `rights`, and its result."""
        if len(right) != len(self.truth.keys):
            raise ValueError(f"{len(right)} images, the data set has {len(self.truth.keys)}")
        packed = base64.b64encode(np.packbits(right).tobytes()).decode()
        memo.remember(self._place(members), {"images": len(right), "right": packed}, self.objects)

    def compare(self, new: NDArray[np.bool_], old: NDArray[np.bool_]) -> tuple[float, float, float]:
        """Gain in accuracy of one over another on the test split, with its paired 95% interval.

        Without images there nothing is known: a gain of 0, between -1 and 1.
        """
        new, old = new[self.test], old[self.test]
        if not len(new):
            return 0.0, -1.0, 1.0
        plus, minus = int((new & ~old).sum()), int((old & ~new).sum())
        low, high = gain_interval(np.array(plus), np.array(minus), len(new))
        return (plus - minus) / len(new), float(low), float(high)

    def _place(self, members: Sequence[str]) -> str:
        labels = np.ascontiguousarray(self.truth.label, "<i4")
        about = {
            "version": VERSION,
            "dataset": self.dataset_digest,
            "keys": digest_keys(self.truth.keys),
            "labels": digest(labels.tobytes()),
            "members": list(members),
        }
        return memo.key(KIND, about)

    def _computed(self, members: Sequence[str]) -> NDArray[np.bool_]:
        ledger, truth = Ledger(self.objects, self.data), self.truth
        manifests = {fingerprint: self._manifest(fingerprint, ledger) for fingerprint in dict.fromkeys(members)}
        folds = splits.folds(truth.keys)
        of_fold = {
            fingerprint: temperatures([ledger.read(record).logits for record in manifest.records], truth.label, folds)[
                1
            ]
            for fingerprint, manifest in manifests.items()
        }
        right = np.empty(len(truth.keys), np.bool_)
        start = 0
        for shard, record in enumerate(manifests[members[0]].records):
            images = slice(start, start + record.rows)
            said = {
                fingerprint: probabilities(
                    ledger.read(manifest.records[shard]).logits, of_fold[fingerprint][folds[images]]
                )
                for fingerprint, manifest in manifests.items()
            }
            right[images] = truths.right(_sum(members, said).argmax(axis=1), truth.label[images])
            start += record.rows
        return right

    def _manifest(self, fingerprint: str, ledger: Ledger) -> Manifest:
        manifest = ledger.manifest(fingerprint, self.dataset_digest)
        if manifest is None or manifest.keys_digest != digest_keys(self.truth.keys):
            raise StudyError(f"{fingerprint} is not complete on '{self.data}' as it is now")
        return manifest


def _sum(members: Sequence[str], said: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float64]:
    """In float64 and in the order of the members, so that it is the same wherever it is made."""
    total = np.zeros(said[members[0]].shape)
    for fingerprint in members:
        total += said[fingerprint]
    return total
