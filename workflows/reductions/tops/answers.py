"""What each checkpoint says of every image as far as its largest logits tell: a task for each recalls or reads it.

Guarantees: temperatures are cross-fitted on the calibration sample alone, by all of its logits; on the audit sample
every bound is compared with all logits, and one that does not hold is an error. All of it is in the store too, so that
a later run reads what new checkpoints predicted only; what nobody kept, or is damaged there, is made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.calibration import score
from overlap.analysis.divergence import soft
from overlap.analysis.ensembles.lanes import sample_size
from overlap.analysis.tops import samples
from overlap.analysis.tops.agreement import Agreement, agreement
from overlap.analysis.tops.bounded import bounded
from overlap.panel import Panel
from overlap.store.ledger import Manifest, Record
from overlap.store.tops import Tops, joined
from workflows.nodes.cluster import fetch
from workflows.nodes.remote import remote
from workflows.plan import Plan
from workflows.reductions import kept_answers
from workflows.reductions.kept_answers import Place
from workflows.reductions.participants import Calibrated, Participants
from workflows.reductions.reader import Reader
from workflows.reductions.tops import kept
from workflows.reductions.tops.kept import KeptTop


@dataclass(frozen=True, eq=False)
class TopAnswers(Calibrated):
    """What the participants of a study of the largest logits say of its images."""

    whole: NDArray[np.int64]
    """(s,): images of which all logits are stored, ascending."""
    calibrated: NDArray[np.int64]
    """Places in `whole` of the images on which temperatures were fitted."""
    scored: NDArray[np.int64]
    """Places in `whole` of the images on which pairs' temperatures are fitted, and their probabilities judged."""
    audited: NDArray[np.bool_]
    """(s,): whether bounds are compared with all logits."""
    agreements: tuple[Agreement, ...]
    bounded: tuple[Any, ...]
    """Of each model a reference to its `Bounded`."""
    logits: tuple[Any, ...]
    """Of each model a reference to its (s, K) logits."""


def read(panel: Panel, plan: Plan, manifests: Mapping[str, Manifest]) -> TopAnswers:
    """Recall or read every checkpoint of a panel.

    Raises:
        DamagedUnits: a certified object is not what its record says.
        DataError: all logits of one were stored; or its bounds do not hold.
    """
    who = Participants.of(panel, plan, manifests)
    whole = np.flatnonzero(samples.whole(who.keys))
    keys = [who.keys[image] for image in whole.tolist()]
    calibrated, audited = np.flatnonzero(samples.calibration(keys)), samples.audit(keys)
    chosen = soft.choose([keys[place] for place in calibrated.tolist()], sample_size(who.classes))
    context = kept.context(plan.dataset.digest, who.keys, who.labels)
    about = ray.put((who.labels, who.folds, whole, calibrated, audited))
    made = [
        _read.remote(who.reader, manifests[model].records, model, place, about)
        for model, place in zip(
            who.models, kept_answers.places(who.reader.where, who.reader.data, context, who.names), strict=True
        )
    ]
    return TopAnswers(
        **vars(who),
        context=context,
        paired=int(chosen.sum()),
        calibrations=tuple(fetch([one for one, *_ in made])),
        was_read=tuple(fetch([one for *_, one in made])),
        whole=whole,
        calibrated=calibrated,
        scored=calibrated[chosen],
        audited=audited,
        agreements=tuple(fetch([one for _, one, *_ in made])),
        bounded=tuple(one for _, _, one, *_ in made),
        logits=tuple(one for _, _, _, one, _ in made),
    )


@remote(num_cpus=1, num_returns=5)
def _read(
    reader: Reader, records: Sequence[Record], model: str, place: Place, about: tuple[Any, ...]
) -> tuple[Any, ...]:
    arrays = place.recall()
    found = KeptTop.of(arrays, model, about[1]) if arrays is not None else _made(reader, records, model, *about)
    if arrays is None:
        place.keep(found.arrays())
    return found.calibration, found.agreement, found.bounded, found.logits, arrays is None


def _made(
    reader: Reader,
    records: Sequence[Record],
    model: str,
    labels: NDArray[np.int32],
    folds: NDArray[np.int8],
    whole: NDArray[np.int64],
    calibrated: NDArray[np.int64],
    audited: NDArray[np.bool_],
) -> KeptTop:
    held: Tops = joined([part for _, part in reader.tops(records)])
    if not np.array_equal(held.rows, whole):
        raise ValueError(f"'{model}' has all logits of {len(held.rows)} images, not of the {len(whole)} of the samples")
    images = whole[calibrated]
    found = score([held.logits[calibrated]], labels[images], folds[images]).calibration
    found = replace(found, top5=_top5(held, labels))
    parts = (held.largest, held.classes, held.least, held.moments)
    one = bounded(*parts, found.of(folds), held.among)
    return KeptTop(found, agreement(model, one, held.logits[audited], whole[audited]), one, np.array(held.logits))


def _top5(held: Tops, labels: NDArray[np.int32]) -> float | None:
    """Share of all images of which an accepted class is among the five largest; exact, since these are stored."""
    right = [truths.right(np.ascontiguousarray(held.classes[:, rank], np.int32), labels) for rank in range(5)]
    return float(np.any(right, axis=0).mean()) if len(held) else None
