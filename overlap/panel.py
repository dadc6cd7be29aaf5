"""The hard predictions of every complete model on one data set, in one order of samples.

Alignment is by key and counted: computed tables must carry the digest of the data set's ordered keys, imported ones are
joined by key. A model that does not fit is refused with the count, never cut to fit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from overlap.analysis import truths
from overlap.imports import Imported

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from overlap.images.truths import Truth


@dataclass(frozen=True)
class Panel:
    """Aligned hard predictions: M models by N samples. Class codes are this panel's own."""

    models: tuple[str, ...]
    """Sorted by name; rows of `prediction`."""
    keys: Sequence[str]
    labels: NDArray[np.int32]
    """Shape (N,), or (N, L) of accepted classes (see `analysis.truths`)."""
    prediction: NDArray[np.int32]
    """Shape (M, N)."""
    refused: dict[str, str] = field(default_factory=dict)
    """Models that do not fit, with the reason."""
    names: tuple[str, ...] = ()
    """What classes are called, by code, where they have names."""
    images: NDArray[np.int64] | None = None
    """(N,): places of the samples in the data set, ascending; None where all of it takes part."""

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Shape (M, N): whether each prediction is right."""
        return truths.right(self.prediction, self.labels)

    def under(self, truth: Truth) -> Panel:
        """The panel under another truth, without the samples of which it accepts no class."""
        images = np.flatnonzero(truth.known)
        labels = truth.labels[images]
        if labels.ndim == 2:
            labels = labels[:, : max(1, int((labels != truths.NONE).sum(axis=1).max(initial=1)))]
        keys = [self.keys[place] for place in images.tolist()]
        return replace(self, keys=keys, labels=labels, prediction=self.prediction[:, images], images=images)

    def less(self, models: Collection[str]) -> Panel:
        """The panel without some of its models."""
        kept = [row for row, model in enumerate(self.models) if model not in models]
        if len(kept) == len(self.models):
            return self
        return replace(self, models=tuple(self.models[row] for row in kept), prediction=self.prediction[kept])

    def row(self, model: str) -> int:
        """Row of a model."""
        return self.models.index(model)


def assemble(
    keys: Sequence[str] | None,
    labels: NDArray[np.int32] | None,
    computed: Mapping[str, NDArray[np.int32]],
    imported: Sequence[Imported],
    classes: int = 0,
    names: Sequence[str] = (),
    reserved: Collection[str] = (),
) -> Panel:
    """Bring computed and imported predictions into one panel.

    Args:
        keys: the data set's samples in order; None for a study of imports alone, then the first import's, sorted.
        labels: class numbers aligned with `keys`; None for a study of imports alone.
        computed: by model, class numbers aligned with `keys`.
        imported: tables of text by key.
        classes: number of classes of the data set, whose numbers are codes as they are.
        names: class names by number, which map imported text to class numbers.
        reserved: names of checkpoints, complete or not: no import takes the place of one.
    """
    codes = {str(number): number for number in range(classes)}
    numbers = {name: str(number) for number, name in enumerate(names)}
    rows: dict[str, NDArray[Any]] = dict(computed)
    refused: dict[str, str] = {}
    for one in imported:
        if one.model in rows or one.model in reserved:
            refused[one.model] = "is imported under the name of a checkpoint; rename one of them"
            continue
        if keys is None or labels is None:
            keys = one.table["key"].to_list()
            labels = _encode(one.table["label"], numbers, codes)
        aligned = pl.DataFrame({"key": keys}).join(one.table, on="key", how="left", maintain_order="left")
        lacking = aligned["prediction"].null_count()
        if lacking or one.table.height != len(keys):
            foreign = one.table.height - (len(keys) - lacking)
            refused[one.model] = f"lacks {lacking} of {len(keys)} keys and has {foreign} foreign ones; import it again"
            continue
        wrong = np.flatnonzero(_encode(aligned["label"], numbers, codes) != labels)
        if wrong.size:
            refused[one.model] = (
                f"was imported with other labels for {wrong.size} of {len(keys)} keys (first: '{keys[wrong[0]]}'); "
                "check the label column, or map class names with `names` in the data section"
            )
            continue
        rows[one.model] = _encode(aligned["prediction"], numbers, codes)
    models = tuple(sorted(rows))
    prediction = np.stack([rows[model] for model in models]) if models else np.empty((0, len(keys or ())), np.int32)
    return Panel(
        models,
        keys or (),
        labels if labels is not None else np.empty(0, np.int32),
        prediction.astype(np.int32),
        refused,
        tuple(names) if classes else tuple(codes),
    )


def _encode(column: pl.Series, numbers: Mapping[str, str], codes: dict[str, int]) -> NDArray[np.int32]:
    """Text to codes; a text that is new gets the next code."""
    mapped = column.replace(list(numbers), list(numbers.values())) if numbers else column
    for text in mapped.unique().sort():
        codes.setdefault(text, len(codes))  # codes are dense from 0
    return mapped.replace_strict(list(codes), list(codes.values()), return_dtype=pl.Int32).to_numpy()
