"""The orders that ImageNet's classes are known in, and that the gate recognises a head in the development kit's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from overlap.images.dataset import Dataset
from overlap.panel import Panel
from overlap.study import load_study
from overlap.zoo.checkpoint import Checkpoint
from overlap.zoo.class_lists import DEVKIT, SORTED, devkit, orders
from overlap.zoo.class_spaces import known_space
from overlap.zoo.resolve import data_space, resolve
from workflows.gate import Gate
from workflows.plan import Plan

COMMON = known_space("imagenet-1k").classes


def test_the_kits_list_is_a_permutation_under_which_the_ground_truth_is_what_everybody_has() -> None:
    assert sorted(devkit()) == sorted(COMMON)
    assert (devkit()[0], devkit()[-1]) == ("n02119789", "n03255030")
    # the first images of the validation set: ILSVRC2012_ID in the kit's ground truth, class among the sorted ids
    truth = [490, 361, 171, 822, 297, 482, 13, 704, 599, 164]
    assert [COMMON.index(devkit()[number - 1]) for number in truth] == [65, 970, 230, 809, 516, 57, 334, 415, 674, 332]


def test_orders_are_of_the_datas_own_classes() -> None:
    unsaid, said = orders(None, 1000), orders(COMMON, 1000)
    assert unsaid == said
    assert said[SORTED] == list(range(1000))
    assert said[DEVKIT] == [COMMON.index(synset) for synset in devkit()]
    kits = orders(devkit(), 1000)
    assert kits[DEVKIT] == list(range(1000))
    assert kits[SORTED] == [devkit().index(synset) for synset in COMMON]
    assert orders(None, 10) == orders(COMMON[:200], 200) == {}


def test_a_head_in_the_kits_order_is_quarantined_by_name(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(
        'name = "s"\n[data.val]\nshards = "x.tar"\nclasses = 1000\nclass_space = "imagenet-1k"\n'
        '[gate]\ndata = ["val"]\n'
        '[[checkpoint]]\nid = "a"\nsource = "timm:resnet18.a1_in1k"\nweights = "w.pth"\npublished_top1 = 80\n'
    )
    study = load_study(tmp_path / "study.toml")
    (candidate,), _ = resolve(study, 1000, data_space("val", study.data["val"]))
    plan = Plan(study, Dataset("val", 1000, ()), (Checkpoint(candidate, "0" * 64, 1),), (), frozenset())
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(1000), 4).astype(np.int32)
    answer = np.where(rng.random(len(labels)) < 0.8, labels, rng.integers(0, 1000, len(labels)))
    place = np.argsort(orders(COMMON, 1000)[DEVKIT])  # where the head has each class
    panel = Panel(("a",), [f"k{number}" for number in range(len(labels))], labels, place[answer].astype(np.int32)[None])
    reason = Gate(plan).judge(panel).quarantined["a"]
    assert f"label order: the head is in the order of {DEVKIT}" in reason
