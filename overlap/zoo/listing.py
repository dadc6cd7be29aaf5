"""The zoo as a table: what a study resolves to, every column of every checkpoint, nothing loaded."""

from __future__ import annotations

import polars as pl

from overlap.errors import StudyError
from overlap.methodology import Training
from overlap.study import Study
from overlap.zoo.checkpoint import Candidate
from overlap.zoo.resolve import data_space, resolve


def listing(study: Study) -> pl.DataFrame:
    """One row a checkpoint, sorted by name; `problem` says why one cannot be run.

    Raises:
        StudyError: the study names no data set, and so no number of classes.
    """
    if not study.data:
        raise StudyError(f"{study.path}: names no data, so no classes; add a [data.NAME] section")
    name, data = next(iter(study.data.items()))
    candidates, rejected = resolve(study, data.classes, data_space(name, data))
    rows = [_row(candidate) for candidate in candidates]
    rows += [{"model": one.id, "problem": one.reason} for one in rejected]
    return pl.DataFrame(rows, schema=SCHEMA).sort("model")


SCHEMA = {
    "model": pl.String,
    "source": pl.String,
    "architecture": pl.String,
    "weights": pl.String,
    "height": pl.Int64,
    "width": pl.Int64,
    "crop_pct": pl.Float64,
    "crop_mode": pl.String,
    "resize": pl.Int64,
    "interpolation": pl.String,
    "dtype": pl.String,
    "published_top1": pl.Float64,
    "class_space": pl.String,
    **{f"training_{name}": pl.String for name in Training.model_fields},
    "problem": pl.String,
}


def _row(candidate: Candidate) -> dict[str, object]:
    preprocessing = candidate.preprocessing
    return {
        "model": candidate.id,
        "source": candidate.architecture.source,
        "architecture": candidate.architecture.name,
        "weights": candidate.weights,
        "height": preprocessing.input_size[0],
        "width": preprocessing.input_size[1],
        "crop_pct": preprocessing.crop_pct,
        "crop_mode": preprocessing.crop_mode,
        "resize": preprocessing.resize,
        "interpolation": preprocessing.interpolation,
        "dtype": candidate.numeric.dtype,
        "published_top1": candidate.published_top1,
        "class_space": None if candidate.class_map is None else candidate.class_map.space,
        **{f"training_{name}": value for name, value in candidate.training.model_dump().items()},
    }
