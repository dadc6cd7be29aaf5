"""Trials: no image is judged by what it trained, several truths and classes, and what cannot be trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from overlap.probes.trial import Sight, Trial, multi_hot
from tests.probes.scenes import seen, trial


def test_no_image_trains_its_own_judge() -> None:
    task = trial(300, None)
    assert task.trained_on == "5 folds"
    features = seen(task, slice(0, 4))
    scores = task.scores(features)
    labels = task.labels.copy()
    labels[task.folds == 2] = (labels[task.folds == 2] + 1) % 4
    changed = replace(task, labels=labels).scores(features)
    assert (changed[task.folds == 2] == scores[task.folds == 2]).all()
    assert all((changed[task.folds == fold] != scores[task.folds == fold]).any() for fold in (0, 1, 3, 4))


def test_random_labels_are_at_chance_out_of_fold() -> None:
    random = np.random.default_rng(0)
    features = Sight(random.standard_normal((200, 300)).astype(np.float32))  # more features than images
    task = trial(200, None)
    assert 0.1 < task.right(features).mean() < 0.4


def test_a_training_set_goes_first() -> None:
    task = trial(300, 200)
    assert task.trained_on == "train"
    features = seen(task, slice(0, 8))
    scores = task.scores(features)
    assert (replace(task, labels=(task.labels + 1) % 4).scores(features) == scores).all()
    right = task.right(features)
    assert ((scores.argmax(axis=1) == task.labels) == right).all()
    assert right.mean() > 0.8


def test_any_accepted_class_is_right() -> None:
    task = trial(200, 100)
    features = seen(task, slice(0, 4))
    predicted = task.scores(features).argmax(axis=1)
    second = np.where(np.arange(200) % 2 == 0, predicted, -1)
    wide = replace(task, labels=np.stack([task.labels, second], axis=1).astype(np.int32))
    expected = task.right(features).copy()
    expected[::2] = 1
    assert (wide.right(features) == expected).all()
    cross = replace(wide, train_labels=None, train_folds=None)
    assert np.isin(cross.right(features), (0, 1)).all()


def test_several_classes_of_an_image() -> None:
    task = trial(300, None)
    labels = np.stack([task.labels, np.where(task.labels == 0, 2, -1)], axis=1).astype(np.int32)
    labels[:30] = -1  # nothing holds of them
    several = replace(task, labels=labels, several=True)
    scores = several.scores(seen(task, slice(0, 8), noise=0.3))
    hot = multi_hot(labels, 4) > 0
    assert hot.sum() == 270 + (task.labels[30:] == 0).sum()
    assert ((scores > 0) == hot)[30:].mean() > 0.9
    with pytest.raises(ValueError, match="right or wrong"):
        several.right(seen(task, slice(0, 8)))


def test_what_cannot_be_trained_is_not_judged() -> None:
    task = trial(20, None)
    features = seen(task, slice(0, 4))
    one_fold = replace(task, folds=np.zeros(20, np.int8))
    assert np.isnan(one_fold.right(features)).all()
    assert np.isnan(one_fold.scores(features)).all()
    assert np.isnan(task.right(Sight(features.images[:, :0]))).all()
    nobody = Trial(task.labels, 4, task.folds, task.labels[:0], task.folds[:0])
    assert np.isnan(nobody.right(Sight(features.images, features.images[:0]))).all()
    empty = Trial(task.labels[:0], 4, task.folds[:0])
    assert len(empty.right(Sight(features.images[:0]))) == 0
    two = Trial(task.labels[:2], 4, np.array([0, 3], np.int8))
    assert np.isin(two.right(Sight(features.images[:2])), (0, 1)).all()


def test_arrays_that_do_not_fit() -> None:
    task = trial(50, 40)
    features = seen(task, slice(0, 4))
    with pytest.raises(ValueError, match="features of 49 images"):
        task.right(Sight(features.images[1:], features.train))
    with pytest.raises(ValueError, match="training set do not fit"):
        task.right(Sight(features.images))
    with pytest.raises(ValueError, match="one of two models only"):
        features.beside(Sight(features.images))


def test_sights() -> None:
    task = trial(50, 40)
    a, b = seen(task, slice(0, 4), 3), seen(task, slice(4, 8), 5)
    both = a.beside(b)
    assert (both.dimension, both.take(np.array([4, 0])).dimension) == (8, 2)
    assert (both.take(np.array([4, 0])).images == np.stack([b.images[:, 1], a.images[:, 0]], axis=1)).all()
    mixed = a.shuffled(np.random.default_rng(0))
    assert (mixed.images != a.images).any()
    assert (np.sort(mixed.images, axis=0) == np.sort(a.images, axis=0)).all()
    assert mixed.train is not None
    assert a.train is not None
    assert (np.sort(mixed.train, axis=0) == np.sort(a.train, axis=0)).all()
