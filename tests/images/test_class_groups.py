"""Groups of classes: WordNet's files told by numbers, tables by number, synset or name, and every mistake refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from overlap.errors import StudyError
from overlap.images.class_groups import class_groups, wordnet_group
from overlap.sections import Data
from overlap.zoo.class_spaces import known_space

KNOWN = {
    "n01314388": "animal",  # pest, the first in ImageNet-21k
    "n02665250": "animal",  # hogchoker, the last
    "n02665985": "artifact",  # aba
    "n04615226": "artifact",  # zither
    "n05218119": "body",  # cadaver
    "n06785654": "communication",  # crossword puzzle
    "n07248320": "communication",  # book jacket
    "n07461050": "event",  # three-day event
    "n07556406": "food",  # comfort food
    "n08182379": "group",  # crowd
    "n08492354": "location",  # aerie
    "n09193705": "object",  # alp
    "n09481120": "object",  # xenolith
    "n09835506": "person",  # ballplayer
    "n11318824": "person",  # Bram Stoker
    "n11448153": "phenomenon",  # dust storm
    "n11530008": "plant",  # microflora
    "n13133613": "plant",  # ear
    "n13354021": "possession",  # pocketbook
    "n13862407": "shape",  # leaf shape
    "n15075141": "substance",  # toilet tissue
    "n00015388": "animal",  # animal itself, among the topmost
    "n00007846": "person",
    "n00017222": "plant",
    "n00021265": "food",
    "n00021939": "artifact",
    "n00004475": "top",  # organism
    "n00120010": "act",  # hop
}


def data(folder: Path, **fields: Any) -> Data:
    return Data.model_validate({"shards": "x.tar", "classes": 3, **fields}, context={"folder": folder})


@pytest.mark.parametrize("synset", KNOWN)
def test_a_synset_is_in_the_lexicographer_file_that_its_meaning_says(synset: str) -> None:
    assert wordnet_group(synset) == KNOWN[synset]


def test_definitions_whose_words_only_one_file_can_hold_are_in_it() -> None:
    """Of the 21,844 synsets that timm describes, those whose first words tell what they are."""
    import timm

    surely = {
        "a person who ": "person",
        "someone who ": "person",
        "any bird": "animal",
        "a building ": "artifact",
        "a fabric": "artifact",
        "a vehicle": "artifact",
        "a musical instrument": "artifact",
        "a cocktail": "food",
        "bread ": "food",
        "tree of ": "plant",
        "shrub ": "plant",
    }
    checked: Counter[str] = Counter()
    described = Path(timm.__file__).parent / "data/_info/imagenet_synset_to_definition.txt"
    for line in described.read_text(encoding="utf-8").splitlines():
        synset, _, text = line.partition("\t")
        for words, file in surely.items():
            if text.startswith(words):
                checked[words] += 1
                assert wordnet_group(synset) == file, line
    assert set(checked) == set(surely)
    assert checked.total() > 800


def test_imagenet_falls_into_files_and_into_the_papers_two_ranges(tmp_path: Path) -> None:
    study = data(tmp_path, classes=1000, class_space="imagenet-1k", groups="wordnet")
    files = class_groups("val", study)
    assert files is not None
    assert Counter(files.names[group] for group in files.of_class) == {
        "artifact": 518,
        "animal": 398,
        "food": 48,
        "plant": 15,
        "object": 11,
        "communication": 6,
        "person": 3,
        "substance": 1,
    }
    contrast = class_groups("val", study.model_copy(update={"groups": "wordnet-nature"}))
    assert contrast is not None
    assert contrast.names == ("anthropogenic", "natural")
    assert contrast.of_class.dtype == np.int32
    assert (contrast.of_class[:301] == 1).all(), "the paper's nature, class ids 0-300"
    assert (contrast.of_class[500:901] == 0).all(), "the paper's anthropogenic, class ids 500-900"
    assert Counter(contrast.of_class.tolist()) == {0: 524, 1: 424, -1: 52}


def test_other_spaces_and_listed_synsets_have_groups_too(tmp_path: Path) -> None:
    for name in ("imagenet-21k", "imagenet-r"):
        found = class_groups("d", data(tmp_path, classes=len(known_space(name)), class_space=name, groups="wordnet"))
        assert found is not None
        assert (found.of_class >= 0).all()
    (tmp_path / "own.txt").write_text("n09193705\nn01440764\nn07720875\n")
    found = class_groups("d", data(tmp_path, synsets="own.txt", groups="wordnet-nature"))
    assert found is not None
    assert (found.names, found.of_class.tolist()) == (("natural",), [0, 0, -1])


def test_a_table_names_classes_by_number_synset_or_name(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("n09193705\nn01440764\nn07720875\n")
    (tmp_path / "groups.csv").write_text("group,class,why\nz, 2 ,x\nb,alp,\nz,n01440764,\n")
    study = data(tmp_path, synsets="own.txt", names=["alp", "tench", "pepper"], groups="groups.csv")
    found = class_groups("d", study)
    assert found is not None
    assert (found.names, found.of_class.tolist()) == (("b", "z"), [0, 1, 1])


def test_a_class_that_the_table_leaves_out_has_no_group(tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text("class,group\n1,letters\n")
    found = class_groups("d", data(tmp_path, groups="groups.csv"))
    assert found is not None
    assert found.of_class.tolist() == [-1, 0, -1]
    assert class_groups("d", data(tmp_path)) is None


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("class,group\n3,a\n", "line 2: '3' is no class; give a number below 3 of the data"),
        ("class,group\n0,a\nn01440764,b\n", "line 3: 'n01440764' is no class; give a number below 3 of the data"),
        ("class,group\n0,\n", "line 2: class '0' has an empty group; name one, or leave it out"),
        ("class,group\n0\n", "line 2: class '0' has an empty group; name one, or leave it out"),
        ("class,group\n0,a\n0,a\n", "line 3: class '0' stands there before; give each class one line"),
        ("class,super\n0,a\n", ": has no column group; its first line must hold class,group"),
        ("", ": has no column class; its first line must hold class,group"),
        ("class,group\n", ": holds no class; give lines of a class and its group"),
    ],
)
def test_a_wrong_table_is_refused_with_its_line_and_the_mend(table: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_text(table)
    with pytest.raises(StudyError) as caught:
        class_groups("d", data(tmp_path, groups="g.csv"))
    assert str(caught.value) == f"groups {tmp_path}/g.csv" + ("" if said.startswith(":") else " ") + said


def test_a_table_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"groups .*/g.csv: cannot be read \(.*\); name a csv with the columns"):
        class_groups("d", data(tmp_path, groups="g.csv"))
    (tmp_path / "g.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StudyError, match=r"groups .*/g.csv: cannot be read"):
        class_groups("d", data(tmp_path, groups="g.csv"))


def test_groups_by_wordnet_need_wordnet_ids_one_per_class(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="groups 'wordnet' needs WordNet ids; give class_space or synsets"):
        data(tmp_path, groups="wordnet")
    with pytest.raises(StudyError, match=r"data.d: 1000 synsets for 3 classes; mend classes"):
        class_groups("d", data(tmp_path, class_space="imagenet-1k", groups="wordnet"))
    with pytest.raises(ValueError, match="'tench' is no WordNet id"):
        wordnet_group("tench")


def test_a_groups_table_is_found_beside_the_study(tmp_path: Path) -> None:
    assert data(tmp_path, groups="t/groups.csv").groups == f"{tmp_path}/t/groups.csv"
    assert data(tmp_path, groups="wordnet", class_space="imagenet-1k").groups == "wordnet"
