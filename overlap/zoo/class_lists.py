"""Orders in which ImageNet's 1,000 classes are numbered, beside the one that most heads have.

`ilsvrc2012_ids.csv` holds the WordNet ids by ILSVRC2012_ID, the number that the challenge's development kit and its
validation ground truth give a class. Source: the kit's list of classes as it stands in public copies (map_clsloc.txt).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cache
from importlib import resources

from overlap.zoo.class_spaces import known_space

SORTED = "WordNet ids, sorted"
DEVKIT = "ILSVRC2012_ID, as the challenge's development kit numbers classes"


@cache
def devkit() -> tuple[str, ...]:
    """WordNet ids by ILSVRC2012_ID less one."""
    text = resources.files(__package__).joinpath("ilsvrc2012_ids.csv").read_text(encoding="utf-8")
    return tuple(row["synset"] for row in csv.DictReader(text.splitlines()))


def orders(own: Sequence[str] | None, classes: int) -> dict[str, list[int]]:
    """The known orders of a data set's classes by name, each as the data's class by place.

    Args:
        own: WordNet ids by class number of the data, None where the study does not say: then the 1,000 are taken to be
            sorted, as nearly everybody has them.
        classes: of the data.
    """
    common = known_space("imagenet-1k").classes
    if own is None and classes == len(common):
        own = common
    if own is None or sorted(own) != sorted(common):
        return {}
    place = {synset: number for number, synset in enumerate(own)}
    return {name: [place[synset] for synset in listed] for name, listed in ((SORTED, common), (DEVKIT, devkit()))}
