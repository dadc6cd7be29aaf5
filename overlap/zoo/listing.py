"""The zoo as a table: what a study resolves to, every column of every checkpoint, nothing loaded."""

from __future__ import annotations

import polars as pl

from overlap.errors import StudyError
from overlap.methodology import Training
from overlap.study import Study
from overlap.zoo import clip, open_clip_training, timm_names
from overlap.zoo.checkpoint import Candidate
from overlap.zoo.derived import derived
from overlap.zoo.expected import Expected, figures
from overlap.zoo.resolve import resolve_for
from overlap.zoo.timm_parameters import parameters, table


def listing(study: Study) -> pl.DataFrame:
    """One row a checkpoint, sorted by name; `problem` says why one cannot be run.

    Raises:
        StudyError: the study names no data set, and so no number of classes.
    """
    if not study.data:
        raise StudyError(f"{study.path}: names no data, so no classes; add a [data.NAME] section")
    name = (study.evaluated or tuple(study.data))[0]
    candidates, rejected = resolve_for(study, name)
    published = figures(study, candidates)
    rows = [_row(candidate, published.get(candidate.id)) for candidate in candidates]
    rows += [{"model": one.id, "problem": one.reason} for one in rejected]
    return pl.DataFrame(rows, schema=SCHEMA).sort("model")


SCHEMA = {
    "model": pl.String,
    "source": pl.String,
    "architecture": pl.String,
    "family": pl.String,
    "parameters": pl.Int64,
    "weights": pl.String,
    "license": pl.String,
    "height": pl.Int64,
    "width": pl.Int64,
    "crop_pct": pl.Float64,
    "crop_mode": pl.String,
    "resize": pl.Int64,
    "interpolation": pl.String,
    "dtype": pl.String,
    "published_top1": pl.Float64,
    "published_source": pl.String,
    "class_space": pl.String,
    **{f"training_{name}": pl.String for name in Training.model_fields},
    "training_resolution": pl.Int64,
    "problem": pl.String,
}


def _row(candidate: Candidate, published: Expected | None) -> dict[str, object]:
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
        "published_top1": None if published is None else round(100 * published.top1, 6),
        "published_source": None if published is None else published.source,
        "class_space": None if candidate.class_map is None else candidate.class_map.space,
        **{f"training_{name}": value for name, value in candidate.training.model_dump().items()},
        **_told(candidate),
    }


def _told(candidate: Candidate) -> dict[str, object]:
    """What a library's name says beside the training columns; of weights that are the user's, only of the network."""
    name = candidate.architecture.name
    source = f"{candidate.architecture.source}:{name}"
    told = derived(source, candidate.weights)
    if told is None:
        return {}
    if candidate.architecture.source == clip.SOURCE:
        tower = open_clip_training.network(name.partition("/")[0])
        return {"family": told.family, "parameters": table().get(tower or ""), "training_resolution": told.resolution}
    of_architecture: dict[str, object] = {"family": told.family, "parameters": parameters(name.partition(".")[0])}
    if candidate.weights != source:
        return of_architecture
    return of_architecture | {"license": timm_names.licence(name), "training_resolution": timm_names.resolution(name)}
