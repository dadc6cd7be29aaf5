"""Heads of other classes than the data's: mapped by synset, on real heads, and told by the fingerprint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.data import ImageNetInfo

from overlap.errors import CheckpointError, StudyError
from overlap.inference import Predictor
from overlap.store.location import Location, open_objects
from overlap.study import load_study
from overlap.zoo.checkpoint import Candidate, Checkpoint, Rejected
from overlap.zoo.class_spaces import SPACES, ClassMap, ClassSpace, class_map, known_space, listed_space, spaces_of_size
from overlap.zoo.listing import listing
from overlap.zoo.numeric import Numeric
from overlap.zoo.resolve import data_space, resolve
from tests.candidates import saved, staged, timm_candidate, timm_module

DATA = '[data.r]\nshards = "x.tar"\nclasses = 200\nclass_space = "imagenet-r"\n'
VAL = '[data.val]\nshards = "x.tar"\nclasses = 1000\nclass_space = "imagenet-1k"\n'


def resolved(folder: Path, text: str) -> tuple[list[Candidate], list[Rejected]]:
    (folder / "study.toml").write_text('name = "s"\n' + text)
    study = load_study(folder / "study.toml")
    ((name, data),) = study.data.items()
    return resolve(study, data.classes, data_space(name, data))


def entry(name: str, source: str, more: str = "") -> str:
    return f'[[checkpoint]]\nid = "{name}"\nsource = "{source}"\n{more}\n'


@pytest.mark.parametrize(
    "name", ["imagenet-1k", "imagenet-12k", "imagenet-21k-miil", "imagenet-22k", "imagenet-22k-ms"]
)
def test_spaces_are_those_that_timm_tells(name: str) -> None:
    assert [*known_space(name).classes] == ImageNetInfo(name).label_names()


def test_every_space_is_there_and_its_classes_differ() -> None:
    sizes = {name: len(known_space(name)) for name in SPACES}
    assert [*known_space("imagenet-21k").classes] == ImageNetInfo("imagenet-21k-goog").label_names()
    assert (sizes["imagenet-21k"], sizes["imagenet-a"], sizes["imagenet-r"]) == (21843, 200, 200)
    assert all(len(set(known_space(name).classes)) == size for name, size in sizes.items())
    thousand = known_space("imagenet-1k").classes
    assert [*thousand] == sorted(thousand)
    assert set(known_space("imagenet-a").classes) < set(thousand)
    assert spaces_of_size(11821) == ["imagenet-12k"]


@pytest.mark.parametrize(
    ("name", "lacking"),
    [("imagenet-12k", 7), ("imagenet-21k", 1), ("imagenet-22k", 1), ("imagenet-22k-ms", 0), ("imagenet-21k-miil", 9)],
)
def test_large_heads_cover_the_thousand(name: str, lacking: int) -> None:
    head, data = known_space(name), known_space("imagenet-1k")
    found = class_map(head, data)
    assert found is not None
    assert (found.head, len(found.columns), found.lacking) == (len(head), 1000, lacking)
    for number, column in enumerate(found.columns):
        assert column == -1 or head.classes[column] == data.classes[number]
        assert (column == -1) == (data.classes[number] not in head.classes)


def test_a_head_of_a_subset_cannot_stand_for_the_whole() -> None:
    with pytest.raises(CheckpointError, match=r"imagenet-r lacks 800 of the 1000 classes of imagenet-1k"):
        class_map(known_space("imagenet-r"), known_space("imagenet-1k"))
    assert class_map(known_space("imagenet-r"), known_space("imagenet-r")) is None


@given(st.integers(1, 6), st.permutations(range(8)), st.integers(1, 8), st.integers(0, 2), st.integers(0, 2**32 - 1))
def test_logits_go_to_their_classes(rows: int, order: list[int], kept: int, absent: int, seed: int) -> None:
    columns = (*order[:kept], *[-1] * absent)
    logits = torch.from_numpy(np.random.default_rng(seed).normal(0, 20, (rows, 8)).astype(np.float32))
    mapped = ClassMap("x", 8, columns).apply(logits)
    assert mapped.shape == (rows, kept + absent)
    for row in range(rows):
        for place, column in enumerate(columns):
            expected = min(logits[row, c] for c in order[:kept]) - 1 if column == -1 else logits[row, column]
            assert mapped[row, place] == expected
        assert int(mapped[row].argmax()) < kept
    with pytest.raises(ValueError, match="head of 8 classes"):
        ClassMap("x", 8, columns).apply(logits[:, :7])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_real_head_is_mapped_after_its_forward_pass(tmp_path: Path, dtype: str) -> None:
    head = ClassSpace("head", tuple(f"n{number:08d}" for number in range(40)))
    data = ClassSpace("data", tuple(f"n{number:08d}" for number in (31, 2, 17, 5)))
    weights = saved(timm_module("resnet18", classes=40), tmp_path / "weights.safetensors")
    objects = open_objects(Location(str(tmp_path / "store")))
    whole = staged(timm_candidate("resnet18", weights, classes=40, dtype=dtype), objects)
    mapped = staged(
        timm_candidate("resnet18", weights, classes=40, dtype=dtype, class_map=class_map(head, data)), objects
    )
    pixels = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    predictor = Predictor(objects, "cpu", 1 << 30)
    before, after = predictor.predict(whole, pixels), predictor.predict(mapped, pixels)
    assert after.logits.shape == (5, 4)
    np.testing.assert_array_equal(after.logits, before.logits[:, [31, 2, 17, 5]])
    if dtype == "bfloat16":
        assert len(after.audit) == 5
        assert max(after.audit) < 4
    wrong = staged(
        timm_candidate("resnet18", weights, classes=40, dtype=dtype, class_map=ClassMap("x", 41, (0, 1))), objects
    )
    with pytest.raises(ValueError, match="head of 41"):
        predictor.predict(wrong, pixels)


def test_the_fingerprint_holds_the_mapping_and_is_unchanged_without_one(tmp_path: Path) -> None:
    weights = saved(timm_module("resnet18", classes=40), tmp_path / "weights.safetensors")
    plain = Checkpoint(timm_candidate("resnet18", weights, classes=40), "a" * 64, 1)
    assert set(plain.identity()) == {
        "schema",
        "weights",
        "architecture",
        "classes",
        "preprocessing",
        "numeric",
        "output",
    }
    assert plain.candidate.numeric == Numeric()
    maps = [ClassMap("x", 40, (1, 2)), ClassMap("y", 40, (1, 2)), ClassMap("x", 40, (2, 1)), ClassMap("x", 40, (1, -1))]
    names = [
        Checkpoint(timm_candidate("resnet18", weights, classes=40, class_map=one), "a" * 64, 1).fingerprint
        for one in maps
    ]
    assert names[0] == names[1], "what the space is called does not change logits"
    assert len({plain.fingerprint, *names}) == 4


def test_a_study_maps_the_sources_own_thousand_to_a_subset(tmp_path: Path) -> None:
    (one,), rejected = resolved(tmp_path, DATA + entry("a", "timm:resnet18.a1_in1k"))
    assert not rejected
    assert (one.classes, one.outputs) == (1000, 200)
    assert one.class_map is not None
    thousand, subset = known_space("imagenet-1k").classes, known_space("imagenet-r").classes
    assert [thousand[column] for column in one.class_map.columns] == [*subset]


def test_a_study_maps_larger_heads_where_it_says_so(tmp_path: Path) -> None:
    text = (
        entry("a", "timm:resnet18.a1_in1k")
        + entry("b", "timm:convnext_tiny.in12k", 'class_space = "imagenet-12k"')
        + entry("c", "timm:convnext_tiny.in12k", 'class_space = "imagenet-22k"')
        + entry("d", "timm:convnext_tiny.in12k")
    )
    (a, b), (c, d) = resolved(tmp_path, VAL + text)
    assert (a.class_map, a.outputs) == (None, 1000)
    assert (b.classes, b.outputs) == (11821, 1000)
    assert "tell 11821 classes apart, imagenet-22k has 21841; mend class_space" in c.reason
    assert 'class_space = "imagenet-12k" here' in d.reason
    query = '[[zoo]]\nsource = "timm"\nselect = ["convnext_tiny*"]\n'
    mapped, _ = resolved(tmp_path, VAL + query + 'class_space = "imagenet-12k"\n')
    assert [one.id for one in mapped] == ["convnext_tiny.in12k"]
    assert {one.outputs for one in mapped} == {1000}
    plain, _ = resolved(tmp_path, VAL + query)
    assert {one.classes for one in plain} == {1000}


def test_lists_of_synsets(tmp_path: Path) -> None:
    thousand = known_space("imagenet-1k").classes
    (tmp_path / "five.txt").write_text("".join(f"{thousand[n]} a name, of it\n" for n in (900, 3, 20, 500, 1)))
    text = '[data.five]\nshards = "x.tar"\nclasses = 5\nsynsets = "five.txt"\n' + entry("a", "timm:resnet18.a1_in1k")
    (one,), _ = resolved(tmp_path, text)
    assert one.class_map is not None
    assert one.class_map.columns == (900, 3, 20, 500, 1)
    table = listing(load_study(tmp_path / "study.toml"))
    assert table["class_space"].to_list() == ["imagenet-1k"]
    with pytest.raises(StudyError, match=r"five.txt has 5 classes, but classes = 6"):
        resolved(tmp_path, text.replace("classes = 5", "classes = 6"))
    for body, said in (("", "holds no classes"), ("n01440764\ncat\n", "line 2: 'cat'"), ("n01440764\n" * 2, "twice")):
        (tmp_path / "bad.txt").write_text(body)
        with pytest.raises(StudyError, match=said):
            listed_space(tmp_path / "bad.txt")
    with pytest.raises(StudyError, match=r"absent.txt: cannot be read"):
        listed_space(tmp_path / "absent.txt")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (VAL.replace("imagenet-1k", "imagenet-2k"), "unknown class space 'imagenet-2k'; nearest: imagenet-22k"),
        (VAL + 'synsets = "x.txt"\n', "class_space and synsets both"),
        (VAL + entry("a", "timm:resnet18", 'class_space = "x"\nsynsets = "y"'), "'a': class_space and synsets both"),
        (VAL + entry("a", "timm:resnet18.a1_in1k", 'class_space = "imagenet1k"'), "unknown class space 'imagenet1k'"),
    ],
)
def test_mistakes_in_a_study(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(StudyError, match=said):
        resolved(tmp_path, text)


def test_a_head_with_a_space_needs_data_with_one(tmp_path: Path) -> None:
    text = VAL.replace('class_space = "imagenet-1k"\n', "") + entry("a", "timm:x", 'class_space = "imagenet-1k"')
    _, (one,) = resolved(tmp_path, text.replace("timm:x", "timm:resnet18.a1_in1k"))
    assert "the data has none; give the data class_space or synsets" in one.reason
