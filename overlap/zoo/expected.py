"""What accuracy a checkpoint should have: published top-1 from the study, its table, or what a library says of its own.

In this order; each with where it stands. A figure by a library's name counts only for that library's own weights. What
torchvision states, and the table of timm's names that ships with overlap, is about ImageNet's validation images: it
counts only for weights run just as they were measured, and on a data set only where the study names it under
`gate.data` and its classes are ImageNet's 1,000. Class numbers alone do not say which images they are: ImageNet-V2,
-Sketch and -C share them, and to be held to the figures of other images would quarantine every good checkpoint.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from overlap import files
from overlap.errors import DataError, StudyError
from overlap.study import Study
from overlap.zoo import published_top1
from overlap.zoo.checkpoint import Candidate
from overlap.zoo.class_spaces import known_space
from overlap.zoo.resolve import COMMON, data_space
from overlap.zoo.sources import source

COLUMNS = ("model", "published_top1", "source")
"""Of a table of published figures; `published_top1` in percent."""
STATED = ("timm", "torchvision")
"""Libraries whose figures are known."""


@dataclass(frozen=True)
class Expected:
    """A published accuracy."""

    top1: float
    """As a fraction."""
    source: str


def published(
    study: Study, data: str, candidates: Iterable[Candidate], others: Iterable[str] = ()
) -> dict[str, Expected]:
    """Published accuracies on a data set by model name, of those that have one.

    Args:
        study: says of which data sets the figures are, and names the table.
        data: the data set's name in the study.
        candidates: checkpoints.
        others: names of models that are no checkpoints (imports); only the table can know them.

    Raises:
        StudyError: the table cannot be read, or a row of it is wrong.
    """
    if data not in gated_data(study):
        return {}
    table = _table(study)
    stated = data in study.gate.data and are_imagenets(study, data)
    found = {name: table[name] for name in others if name in table}
    for candidate in candidates:
        told = _of_study(candidate, table) or (of_library(candidate) if stated else None)
        if told is not None:
            found[candidate.id] = told
    return found


def unheld(study: Study, data: str, candidates: Iterable[Candidate]) -> int:
    """Number of checkpoints that libraries state a figure of, to which nothing is held for want of `gate.data`."""
    if study.gate.data or data not in gated_data(study) or not are_imagenets(study, data):
        return 0
    return sum(one.published_top1 is None and of_library(one) is not None for one in candidates)


def figures(study: Study, candidates: Iterable[Candidate]) -> dict[str, Expected]:
    """Published accuracies by model name, of those that have one, whichever data they are about.

    Raises:
        StudyError: the study's table cannot be read, or a row of it is wrong.
    """
    table = _table(study)
    told = {candidate.id: _of_study(candidate, table) or of_library(candidate) for candidate in candidates}
    return {name: one for name, one in told.items() if one is not None}


def of_library(candidate: Candidate) -> Expected | None:
    """What a library states of its own weights on ImageNet's validation images, where they are run as it ran them."""
    library, name = candidate.architecture.source, candidate.architecture.name
    if not _is_own(candidate) or candidate.architecture.arguments or library not in STATED:
        return None
    usual, mine = source(library).preprocessing(name), candidate.preprocessing
    if library == "torchvision":
        return _torchvision(name) if usual == mine else None
    geometry = {"input_size", "crop_pct", "interpolation"}
    figure = published_top1.figure(name, mine)
    if figure is None or replace(usual, **{field: getattr(mine, field) for field in geometry}) != mine:
        return None
    return Expected(figure.top1 / 100, figure.source)


def are_imagenets(study: Study, data: str) -> bool:
    """Whether a data set's classes are ImageNet's 1,000, in whatever order; where nothing is said, their number counts.

    Raises:
        StudyError: its class space is wrong.
    """
    section = study.data[data]
    space, common = data_space(data, section), known_space(COMMON)
    return section.classes == len(common) if space is None else set(space.classes) == set(common.classes)


def gated_data(study: Study) -> tuple[str, ...]:
    """Data sets that published figures are about: those that the study names, else its first to evaluate on."""
    return study.gate.data or study.evaluated[:1]


def read_table(uri: str, endpoint_url: str | None = None) -> dict[str, Expected]:
    """A csv of published figures by model.

    Raises:
        StudyError: no such file, or it is not what it should be; names the line.
    """
    try:
        text = files.read(uri, endpoint_url).decode("utf-8-sig")
    except (DataError, UnicodeDecodeError) as error:
        raise StudyError(f"gate.published: {error}") from None
    rows = csv.DictReader(io.StringIO(text))
    if missing := [column for column in COLUMNS if column not in (rows.fieldnames or ())]:
        raise StudyError(f"gate.published: {uri} lacks the columns {', '.join(missing)}; it has {rows.fieldnames}")
    found: dict[str, Expected] = {}
    for row in rows:
        model = (row["model"] or "").strip()
        try:
            top1 = float(row["published_top1"])
        except (TypeError, ValueError):
            top1 = -1.0
        if not model or model in found or not 0 <= top1 <= 100:
            wrong = (
                "is there twice" if model in found else f"has published_top1 {row['published_top1']!r}, no percentage"
            )
            raise StudyError(f"gate.published: {uri} line {rows.line_num}: model '{model}' {wrong}; mend that line")
        found[model] = Expected(top1 / 100, row["source"] or PurePosixPath(uri).name)
    return found


def _table(study: Study) -> dict[str, Expected]:
    return {} if study.gate.published is None else read_table(study.gate.published, study.store.endpoint_url)


def _of_study(candidate: Candidate, table: Mapping[str, Expected]) -> Expected | None:
    """What the study says: of this checkpoint, in its table under the name, or there under the library's name."""
    if candidate.published_top1 is not None:
        return Expected(candidate.published_top1 / 100, "the study")
    if candidate.id in table or not _is_own(candidate):
        return table.get(candidate.id)
    return table.get(candidate.weights.partition(":")[2])


def _is_own(candidate: Candidate) -> bool:
    return candidate.weights == f"{candidate.architecture.source}:{candidate.architecture.name}"


def _torchvision(name: str) -> Expected | None:
    from torchvision.models import get_model_weights

    weights = get_model_weights(name).DEFAULT
    top1 = weights.meta.get("_metrics", {}).get("ImageNet-1K", {}).get("acc@1")
    return None if top1 is None else Expected(float(top1) / 100, f"torchvision's metadata of {weights}")
