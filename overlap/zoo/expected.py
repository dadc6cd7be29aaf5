"""What accuracy a checkpoint should have: published top-1 from the study, from its table, or from torchvision itself.

In this order; each with where it stands. A figure by a library's name counts only for that library's own weights.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from overlap import files
from overlap.errors import DataError, StudyError
from overlap.study import Study
from overlap.zoo.checkpoint import Candidate

COLUMNS = ("model", "published_top1", "source")
"""Of a table of published figures; `published_top1` in percent."""


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
    table = {} if study.gate.published is None else read_table(study.gate.published, study.store.endpoint_url)
    found = {name: table[name] for name in others if name in table}
    for candidate in candidates:
        own = candidate.weights.partition(":")[2] if _is_own(candidate) else None
        if candidate.published_top1 is not None:
            found[candidate.id] = Expected(candidate.published_top1 / 100, "the study")
        elif candidate.id in table:
            found[candidate.id] = table[candidate.id]
        elif own is not None and own in table:
            found[candidate.id] = table[own]
        elif own is not None and candidate.architecture.source == "torchvision" and data in study.gate.data:
            told = _torchvision(own)
            if told is not None:
                found[candidate.id] = told
    return found


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


def _is_own(candidate: Candidate) -> bool:
    return candidate.weights == f"{candidate.architecture.source}:{candidate.architecture.name}"


def _torchvision(name: str) -> Expected | None:
    from torchvision.models import get_model_weights

    weights = get_model_weights(name).DEFAULT
    top1 = weights.meta.get("_metrics", {}).get("ImageNet-1K", {}).get("acc@1")
    return None if top1 is None else Expected(float(top1) / 100, f"torchvision's metadata of {weights}")
