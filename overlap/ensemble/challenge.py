"""The best ensemble of a reduction against the champion so far: who is champion then, and why.

Guarantees: the champion changes only where the new one gets more images of the test split right beyond chance, on the
same images, by the paired 95% interval; the first one is champion at once; an ensemble that does not become champion is
not registered. A champion whose checkpoints were withdrawn stays, since its version holds all it needs. Not guaranteed:
that chance never wins: every challenge is a test on the same images, and some 2.5% of the hopeless ones pass it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overlap.ensemble.choice import Choice, choose, fingerprints
from overlap.ensemble.description import key_of
from overlap.ensemble.export import Say, export
from overlap.ensemble.rights import Judge
from overlap.errors import StudyError
from overlap.report.results import Results
from overlap.store.objects import Objects
from overlap.study import Study


@dataclass(frozen=True)
class Verdict:
    """What came of a challenge."""

    champion: str
    """The version that is champion now."""
    changed: bool
    reason: str
    gain: float | None = None
    """In accuracy on the test split, over the champion so far; None where there was none, or it is the same."""
    low: float | None = None
    high: float | None = None


def wanted(study: Study, data: str) -> bool:
    """Whether a data set's results decide who is champion."""
    if not study.champion.wanted or study.tracking.uri == "none" or not study.evaluated:
        return False
    return data == (study.champion.data or study.evaluated[0])


def challenge(study: Study, results: Results, objects: Objects, say: Say = lambda text: None) -> Verdict | None:
    """Compare the best ensemble of a reduction with the champion in MLflow, and register it where it is better.

    Returns:
        What came of it; None where the reduction has no ensembles.

    Raises:
        TrackingError: MLflow does not answer or refuses.
        StudyError, CheckpointError, StoreError: as `export.export`, and where the two cannot be compared.
    """
    from overlap.tracking.champions import Champions

    searches = results.table("searches")
    if not searches.height or searches["size"][0] is None:
        return None
    choice = choose(results)
    known = fingerprints(results, choice)
    members = [known[model] for model in choice.members]
    key = key_of(results.dataset_digest, {known[model]: weight for model, weight in choice.weights.items()})
    champions = Champions(study.tracking.uri, study.name, study.champion.name or study.name)
    present = champions.present()
    if present is not None and present.key == key:
        return Verdict(present.number, False, "it is the champion already")
    judge = Judge(objects, results.data, results.dataset_digest)
    new = judge.rights(members)
    gained: tuple[float, float, float] | None = None
    if present is not None:
        try:
            old = judge.rights(present.members)
        except StudyError as error:
            raise StudyError(
                f"the champion (version {present.number}) stays: it cannot be compared on '{results.data}' as that is "
                f"now ({error}); take its alias away in MLflow to let the new best ensemble have it"
            ) from None
        gained = judge.compare(new, old)
        gain, low, high = gained
        about = {"models": choice.members, "inputs": results.inputs_digest, "gain": gain, "low": low, "high": high}
        if not low > 0:
            champions.note(about | {"champion": present.number, "changed": False})
            return Verdict(present.number, False, "its gain is not beyond chance", *gained)
    version = champions.held(key)
    if version is None:
        with tempfile.TemporaryDirectory(prefix="overlap-champion-") as scratch:
            folder = Path(scratch) / "ensemble"
            made = export(study, results, choice, known, objects, folder, programs=False, say=say)
            tags = _tags(results, choice, None if present is None else present.number, gained)
            version = champions.register(folder, made.description, members, results, tags)
    champions.crown(version)
    if gained is None:
        return Verdict(version.number, True, "it is the first")
    champions.note(about | {"champion": version.number, "changed": True})
    return Verdict(version.number, True, "its gain is beyond chance", *gained)


def _tags(
    results: Results, choice: Choice, previous: str | None, gained: tuple[float, float, float] | None
) -> dict[str, str]:
    """What a version says of itself, beside what it is made of."""
    tested = choice.tested
    told: dict[str, Any] = {
        "data": results.data,
        "dataset_digest": results.dataset_digest,
        "inputs_digest": results.inputs_digest,
        "search": choice.search,
        "accuracy_test": tested.accuracy,
        "gain_over_best_single": tested.gain,
        "previous": previous,
    }
    if gained is not None:
        told |= dict(zip(("gain", "gain_low", "gain_high"), gained, strict=True))
    return {f"overlap.{name}": str(value) for name, value in told.items() if value is not None}
