"""What each checkpoint says of every image: one task a checkpoint recalls it, or reads its logits and keeps it.

Kept are its calibration with the confidence and the likelihood of each image (which come to the driver), its shortlist,
the largest probabilities on the selection split that searches read, and its logits on a sample of images (which stay in
Ray's object store). All of it is in the store too, so that a later run reads the logits of new checkpoints only; what
nobody kept, or is damaged there, is made again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from overlap.analysis.blocks import Block
from overlap.analysis.calibration import Calibration, Scored, score
from overlap.analysis.divergence import soft
from overlap.analysis.ensembles.lanes import sample_size
from overlap.analysis.ensembles.largest import largest
from overlap.analysis.ensembles.shortlists import answered, most_said
from overlap.panel import Panel
from overlap.store.ledger import Manifest, Record
from workflows.nodes.cluster import fetch
from workflows.nodes.remote import remote
from workflows.plan import Plan
from workflows.reductions import kept_answers
from workflows.reductions.kept_answers import Kept, Place
from workflows.reductions.participants import Calibrated, Participants
from workflows.reductions.reader import Reader


@dataclass(frozen=True)
class LookUp:
    """Stored logits of some models on some images, read when they are asked for."""

    reader: Reader
    records: tuple[tuple[Record, ...], ...]
    """Of each model, by shard."""

    def __call__(self, model: int, images: NDArray[np.int64]) -> NDArray[np.float16]:
        """(m, K) of one model on m images, numbered as in the panel, ascending."""
        return self.reader.read(self.records[model], images)


@dataclass(frozen=True, eq=False)
class Answers(Calibrated):
    """What the participants of a study of all logits say of its images. Tasks are given parts of it."""

    sampled: NDArray[np.int64]
    """(S,): images of the sample on which probabilities of pairs are compared whole, ascending."""
    look_up: LookUp
    scored: tuple[Scored, ...]
    answered: tuple[Any, ...]
    """Of each model a reference to its `Answered`."""
    largest: tuple[Any, ...]
    """Of each model a reference to its `Largest` on the selection split."""
    samples: tuple[Any, ...]
    """Of each model a reference to its logits on the sample, float16 (S, K)."""

    @cached_property
    def confidence(self) -> NDArray[np.float32]:
        """(M, N): calibrated probability of the predicted class, out of fold."""
        return _stacked([one.confidence for one in self.scored], len(self.keys))

    @cached_property
    def likelihood(self) -> NDArray[np.float32]:
        """(M, N): calibrated probability of the accepted classes, out of fold."""
        return _stacked([one.likelihood for one in self.scored], len(self.keys))

    def sample(self, images: int) -> Sample:
        """The leading images of the sample, by hash."""
        places = np.flatnonzero(soft.choose([self.keys[image] for image in self.sampled.tolist()], images))
        numbers = self.sampled[places]
        keys = tuple(self.keys[image] for image in numbers.tolist())
        truth = (self.labels[numbers], self.folds[numbers], self.selection[numbers])
        return Sample(self.samples, self.calibrations, self.classes, places, keys, *truth)


@dataclass(frozen=True, eq=False)
class Sample:
    """Images on which the logits of all models are at hand, for tasks."""

    held: tuple[Any, ...]
    calibrations: tuple[Calibration, ...]
    classes: int
    places: NDArray[np.int64]
    """In what is held."""
    keys: tuple[str, ...]
    labels: NDArray[np.int32]
    folds: NDArray[np.int8]
    selection: NDArray[np.bool_]

    def block(self, models: Collection[int] | None = None, images: slice = slice(None)) -> Block:
        """The logits of all models, or of some (then the others' are empty), on a range of the images."""
        wanted = range(len(self.held)) if models is None else sorted(models)
        held = dict(zip(wanted, ray.get([self.held[model] for model in wanted]), strict=True))
        nothing = np.empty((0, self.classes), np.float16)
        places = self.places[images]
        logits = [held[model][places] if model in held else nothing for model in range(len(self.held))]
        truth = (self.labels[images], self.folds[images], self.selection[images])
        return Block(logits, self.calibrations, *truth, self.keys[images])


def read(panel: Panel, plan: Plan, manifests: Mapping[str, Manifest]) -> Answers:
    """Recall or read every checkpoint of a panel that has logits.

    Raises:
        DamagedUnits: a certified object that had to be read is not what its record says.
    """
    who = Participants.of(panel, plan, manifests)
    size = max(plan.study.analysis.sample, sample_size(who.classes))
    sampled = np.flatnonzero(soft.choose(who.keys, size))
    records = tuple(tuple(manifests[model].records) for model in who.models)
    context = kept_answers.context(plan.dataset.digest, who.keys, who.labels, size)
    said = most_said(who.prediction, who.classes)
    held = ray.put((who.labels, who.folds, who.selection, sampled, said))
    places = kept_answers.places(who.reader.where, who.reader.data, context, who.names)
    made = [_read.remote(who.reader, one, place, held) for one, place in zip(records, places, strict=True)]
    scored = tuple(fetch([scored for scored, *_ in made]))
    return Answers(
        **vars(who),
        context=context,
        paired=min(sample_size(who.classes), len(sampled)),
        calibrations=tuple(one.calibration for one in scored),
        was_read=tuple(fetch([was_read for *_, was_read in made])),
        sampled=sampled,
        look_up=LookUp(who.reader, records),
        scored=scored,
        answered=tuple(one for _, one, *_ in made),
        largest=tuple(one for _, _, one, *_ in made),
        samples=tuple(one for _, _, _, one, _ in made),
    )


@remote(num_cpus=1, num_returns=5)
def _read(reader: Reader, records: Sequence[Record], place: Place, held: tuple[Any, ...]) -> tuple[Any, ...]:
    arrays = place.recall()
    if arrays is not None:
        found = Kept.of(arrays, held[1])
        return found.scored, found.answered, found.largest, found.sample, False
    found = _made(reader, records, *held)
    place.keep(found.arrays())
    return found.scored, found.answered, found.largest, found.sample, True


def _made(
    reader: Reader,
    records: Sequence[Record],
    labels: NDArray[np.int32],
    folds: NDArray[np.int8],
    selection: NDArray[np.bool_],
    sampled: NDArray[np.int64],
    said: NDArray[np.uint16],
) -> Kept:
    parts = list(reader.shard_by_shard(records))
    logits = [part for _, part in parts]
    scored = score(logits, labels, folds)
    temperature = scored.calibration.of(folds)
    selected = [part[selection[images]] for images, part in parts]
    in_sample = np.zeros(len(folds), np.bool_)
    in_sample[sampled] = True
    sample = [part[in_sample[images]] for images, part in parts]
    return Kept(
        scored,
        answered(logits, labels, temperature, said=said),
        largest(selected, temperature[selection], labels[selection]),
        np.concatenate(sample),
    )


def _stacked(rows: Sequence[NDArray[np.float32]], images: int) -> NDArray[np.float32]:
    return np.stack(rows) if rows else np.empty((0, images), np.float32)
