"""`overlap export`: from a study and what is asked for to the folder, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from overlap.ensemble.choice import Choice, choose, fingerprints
from overlap.ensemble.description import Standing
from overlap.ensemble.export import Exported, Say, check_free, export
from overlap.ensemble.rights import Judge
from overlap.errors import StudyError
from overlap.published import read_results
from overlap.report.results import Results
from overlap.store.location import Location, open_objects
from overlap.store.objects import Objects
from overlap.study import Study


def first_evaluated(study: Study) -> str:
    """The data set that is meant where none is named; StudyError where the study has no checkpoints to export."""
    if not study.evaluated:
        raise StudyError(f"{study.path}: has no data set to evaluate on, so there are no checkpoints to take")
    return study.evaluated[0]


def export_study(
    study: Study,
    folder: Path,
    *,
    data: str | None = None,
    search: str | None = None,
    size: int | None = None,
    models: Sequence[str] = (),
    programs: bool = True,
    say: Say = lambda text: None,
) -> Exported:
    """Export an ensemble of a study; arguments as of `choice.choose` and `export.export`.

    Raises:
        StudyError: no results, no such search or model, or a folder that holds something else.
        CheckpointError, StoreError: as `export.export`.
    """
    check_free(folder.absolute())
    objects = open_objects(Location(study.store.uri, study.store.endpoint_url))
    name = first_evaluated(study) if data is None else data
    if name.partition("@")[0] not in study.data:
        raise StudyError(f"{study.path}: has no data set '{name}'; it has {', '.join(study.data)}")
    results = read_results(name, objects)
    if results is None:
        raise StudyError(f"{study.path}: no results for '{name}' yet; `overlap run` first")
    choice = choose(results, search, size, models)
    known = fingerprints(results, choice)
    if models and "@" not in name:
        choice = replace(choice, tested=judged(choice, known, results, objects))
    return export(study, results, choice, known, objects, folder, programs=programs, say=say)


def judged(choice: Choice, known: dict[str, str], results: Results, objects: Objects) -> Standing:
    """How models that were named do together on the test split, against the best single one of the selection split."""
    judge = Judge(objects, results.data, results.dataset_digest)
    right = judge.rights([known[model] for model in choice.members])
    accuracy = float(right[judge.test].mean()) if judge.test.any() else None
    over = choice.tested.over
    if over is None or accuracy is None:
        return Standing(accuracy, None, None, None, over)
    reference = dict(results.models.select("model", "fingerprint").iter_rows())[over]
    gain, low, high = judge.compare(right, judge.rights([reference]))
    return Standing(accuracy, gain, low, high, over)


def as_json(exported: Exported) -> dict[str, Any]:
    """What a program wants to know of an export."""
    described = exported.description
    return {
        "folder": str(exported.folder),
        "data": described.data,
        "search": described.search,
        "size": described.size,
        "members": {member.model: member.weight for member in described.members},
        "tested": asdict(described.tested),
        "checked": exported.checked,
        "bytes": exported.bytes,
        "no_program": {one.model: one.no_program for one in described.members if one.no_program is not None},
    }


def as_text(exported: Exported) -> str:
    """The same for a person."""
    described, tested = exported.description, exported.description.tested
    members = " + ".join(f"{member.weight:.3g} {member.model}" for member in described.members)
    lines = [f"{described.data}, {described.search}: {members}"]
    if tested.accuracy is not None:
        line = f"test split: {tested.accuracy:.2%}"
        if tested.gain is not None and tested.gain_low is not None and tested.gain_high is not None:
            interval = f"{100 * tested.gain_low:+.2f} to {100 * tested.gain_high:+.2f}"
            line += f", {100 * tested.gain:+.2f} points over {tested.over} (95%: {interval})"
        lines.append(line)
    told = {one.model: one.no_program for one in described.members if one.no_program is not None}
    lines += [f"no program of {model}: {reason}" for model, reason in told.items()]
    lines.append(f"{exported.folder}: {exported.bytes / 1e6:,.1f} MB; overlap.ensemble.load(…) is a torch module")
    return "\n".join(lines)
