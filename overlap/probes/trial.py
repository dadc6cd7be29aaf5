"""What features are worth on the images of an evaluation: probes trained elsewhere, or cross-fitted on the images.

Guarantees: no image is judged by a probe that was trained on it. Where the study has a training set, the probe is
trained there (and its fold 0 chooses the regularisation); else five probes are cross-fitted, each judging the fold that
it has not seen (the next fold chooses), and results are labelled so. Images for which nothing could be trained (all lie
in one fold) are not judged: they are counted in no result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.splits import FOLDS
from overlap.probes.probe import fit

FROM_TRAIN, FROM_FOLDS = "train", "5 folds"
"""What a probe was trained on, as tables say it."""


@dataclass(frozen=True)
class Sight:
    """The features of one model (or of several, mixed) on the images of a trial.

    Attributes:
        images: (N, D) float32 of the images that are judged.
        train: (T, D) float32 of the training set; None where there is none.
    """

    images: NDArray[np.float32]
    train: NDArray[np.float32] | None = None

    @property
    def dimension(self) -> int:
        """D."""
        return int(self.images.shape[1])

    def take(self, columns: NDArray[np.int64]) -> Sight:
        """Some of the features, in the given order."""
        return Sight(self.images[:, columns], None if self.train is None else self.train[:, columns])

    def beside(self, other: Sight) -> Sight:
        """These features and the other's, concatenated.

        Raises:
            ValueError: one has features of a training set and the other has none.
        """
        if (self.train is None) != (other.train is None):
            raise ValueError("features of a training set for one of two models only")
        together = None
        if self.train is not None and other.train is not None:
            together = np.concatenate([self.train, other.train], axis=1)
        return Sight(np.concatenate([self.images, other.images], axis=1), together)

    def shuffled(self, random: np.random.Generator) -> Sight:
        """The rows in random order, within the images and within the training set: features without their images."""
        train = None if self.train is None else self.train[random.permutation(len(self.train))]
        return Sight(self.images[random.permutation(len(self.images))], train)


@dataclass(frozen=True)
class Trial:
    """The images of an evaluation, and those that probes are trained on.

    Attributes:
        labels: (N,) classes, (N, L) accepted ones (see `overlap.analysis.truths`), or with `several` the classes that
            hold of each image, in any number (padded with -1).
        classes: K.
        folds: (N,) 0..4, from `overlap.analysis.splits.folds`.
        train_labels: the same of a training set's T images; None where there is none.
        train_folds: (T,) 0..4.
        several: whether several classes can hold of an image: one regression per class.
        device: of torch; by default the GPU where there is one.
    """

    labels: NDArray[Any]
    classes: int
    folds: NDArray[np.int8]
    train_labels: NDArray[Any] | None = None
    train_folds: NDArray[np.int8] | None = None
    several: bool = False
    device: str | None = None

    @property
    def trained_on(self) -> str:
        """`FROM_TRAIN` or `FROM_FOLDS`."""
        return FROM_FOLDS if self.train_labels is None else FROM_TRAIN

    def right(self, sight: Sight) -> NDArray[np.float32]:
        """(N,) one where the probe on these features is right, zero where it is wrong, NaN where nothing was trained.

        Raises:
            ValueError: several classes hold of an image (see `scores`), or arrays that do not fit.
        """
        if self.several:
            raise ValueError("several classes hold of an image: no prediction is right or wrong")
        right = np.full(len(self.labels), np.nan, np.float32)
        for judged, features, targets, held_out in self._parts(sight):
            probe = fit(features, targets, self.classes, held_out, self.device)
            right[judged] = truths.right(probe.predict(sight.images[judged]), self.labels[judged])
        return right

    def scores(self, sight: Sight) -> NDArray[np.float32]:
        """(N, K) log odds of each class (logits, unless several classes can hold), NaN where nothing was trained.

        Raises:
            ValueError: arrays that do not fit.
        """
        scores = np.full((len(self.labels), self.classes), np.nan, np.float32)
        for judged, features, targets, held_out in self._parts(sight):
            scores[judged] = fit(features, targets, self.classes, held_out, self.device).logits(sight.images[judged])
        return scores

    def _parts(
        self, sight: Sight
    ) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[Any], NDArray[np.bool_]]]:
        """For each probe: the images it judges, the features and targets of its training, and what is held out."""
        if not len(self.labels) == len(self.folds) == len(sight.images):
            raise ValueError(f"features of {len(sight.images)} images, {len(self.labels)} labels")
        if not sight.dimension:
            return
        if self.train_labels is not None:
            if sight.train is None or self.train_folds is None or len(sight.train) != len(self.train_labels):
                raise ValueError("features, labels and folds of the training set do not fit")
            every = np.ones(len(self.labels), np.bool_)
            if len(sight.train):
                yield every, sight.train, self._targets(self.train_labels), self.train_folds == 0
            return
        targets = self._targets(self.labels)
        for fold in range(FOLDS):
            judged = self.folds == fold
            if judged.any() and not judged.all():
                others = self.folds[~judged]
                yield judged, sight.images[~judged], targets[~judged], others == (fold + 1) % FOLDS

    def _targets(self, labels: NDArray[Any]) -> NDArray[Any]:
        return multi_hot(labels, self.classes) if self.several else truths.primary(labels)


def multi_hot(labels: NDArray[Any], classes: int) -> NDArray[np.float32]:
    """(N, K) ones for the classes of each image, from (N,) or (N, L) classes; -1 is none."""
    rows = labels[:, None] if labels.ndim == 1 else labels
    hot = np.zeros((len(rows), classes), np.float32)
    image, column = np.nonzero(rows >= 0)
    hot[image, rows[image, column]] = 1
    return hot
