"""Training columns of a study's checkpoints: what the study gives, else what a name of timm's or open_clip's says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from overlap.checkpoint_sections import CheckpointEntry
from overlap.methodology import Training
from overlap.zoo import clip, open_clip_training, timm_names, timm_training
from overlap.zoo.timm_training import Derived


def derived(source: str, weights: str) -> Derived | None:
    """What the name of a checkpoint says of it, None where it is none of timm's or open_clip's.

    Weights that the user gives are not those that a tag names, even where the source bears one: someone trained them,
    in a way that only the study can tell. Of these only the architecture is derived; so it is of a source without a
    tag, whose own weights are not the same in every timm.

    Args:
        source: `timm:NAME`, `open_clip:NAME`, or any other source.
        weights: where the weights are; the source itself where they are its own.
    """
    library, _, name = source.partition(":")
    if library == clip.SOURCE:
        told = name if weights == source else name.partition("/")[0]
        return open_clip_training.derive(told, timm_names.published())
    if library != "timm":
        return None
    tagged = weights == source and timm_names.is_published(name)
    return timm_training.derive(name if tagged else name.partition(".")[0], timm_names.published())


def study_names(entries: Sequence[CheckpointEntry]) -> dict[str, str]:
    """What the study calls timm's own weights, where it has them and not by their name."""
    names = {entry.id for entry in entries}
    own = {str(entry.source).partition(":")[2]: entry.id for entry in entries if entry.weights is None}
    return {name: called for name, called in own.items() if name not in names}


def training(entry: CheckpointEntry, called: Mapping[str, str]) -> Training:
    """The training columns of one checkpoint; a column that the study gives is left as it is.

    Args:
        entry: the checkpoint, as the study names it.
        called: the result of `study_names`, by which parents and teachers go.
    """
    told = derived(str(entry.source), entry.weights or str(entry.source))
    if told is None:
        return entry.training
    columns = told.training.model_dump()
    columns |= {kin: called.get(columns[kin], columns[kin]) for kin in ("parent", "teacher")}
    return Training(**columns | entry.training.model_dump(exclude_none=True))
