from __future__ import annotations

from pathlib import Path

import pytest

from overlap.errors import DataError, StudyError
from overlap.images.labelled import from_csv, from_folders
from overlap.images.packing import pack
from overlap.images.shards import index
from tests.images.test_packing import image


def put(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(image(seed, "PNG" if path.suffix == ".png" else "JPEG"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for number, name in enumerate(["cat/one.JPEG", "ant/one.png", "ant/more/two.v2.jpg", "bee/three.jpg"]):
        put(tmp_path / "tree" / name, number)
    (tmp_path / "tree" / "ant" / "notes.txt").write_text("no image")
    put(tmp_path / "tree" / ".hidden" / "one.png")
    put(tmp_path / "tree" / "bee" / ".three.png")
    (tmp_path / "tree" / "dog").mkdir()
    return tmp_path / "tree"


def test_folders_are_classes_in_sorted_order(tree: Path, tmp_path: Path) -> None:
    labelled = from_folders(tree)
    assert labelled.classes == ("ant", "bee", "cat", "dog")
    assert {(sample.key, sample.extension, sample.label) for sample in labelled.samples} == {
        ("ant_one", "png", 0),
        ("ant_more_two_v2", "jpg", 0),
        ("bee_three", "jpg", 1),
        ("cat_one", "jpeg", 2),
    }
    assert len(pack(labelled.samples, tmp_path / "out", prefix="x", shards=2, classes=labelled.classes)) == 2


def test_folders_are_numbered_as_listed(tree: Path) -> None:
    labelled = from_folders(tree, ["dog", "cat", "bee", "ant"])
    assert {sample.key: sample.label for sample in labelled.samples}["cat_one"] == 1
    for classes, wrong in ((["cat", "bee", "ant"], "dog"), (["dog", "cat", "bee", "ant", "eel"], "eel")):
        with pytest.raises(StudyError, match=wrong):
            from_folders(tree, classes)


def test_folders_that_cannot_be_packed(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no such folder"):
        from_folders(tmp_path / "absent")
    (tmp_path / "flat").mkdir()
    put(tmp_path / "flat" / "one.png")
    with pytest.raises(StudyError, match="no class folders"):
        from_folders(tmp_path / "flat")
    (tmp_path / "empty" / "ant").mkdir(parents=True)
    with pytest.raises(DataError, match="hold no"):
        from_folders(tmp_path / "empty")
    (tree / "bee" / "four.webp").write_bytes(b"")
    with pytest.raises(DataError, match=r"four.webp.*convert"):
        from_folders(tree)


def test_two_files_that_would_have_one_key_are_both_named(tree: Path, tmp_path: Path) -> None:
    put(tree / "ant" / "one.jpg")
    with pytest.raises(DataError, match=r"one\.(png|jpg).*ant_one.*one\.(png|jpg)"):
        pack(from_folders(tree).samples, tmp_path / "out", prefix="x", shards=1)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_csv_of_numbers(tree: Path) -> None:
    path = write(tree / "list.csv", f"path,label\nant/one.png,7\n{tree}/cat/one.JPEG,0\n")
    labelled = from_csv(path)
    assert labelled.classes is None
    assert [(sample.key, sample.extension, sample.label) for sample in labelled.samples] == [
        ("ant_one", "png", 7),
        ("one", "jpeg", 0),
    ]
    assert labelled.samples[0].read() == (tree / "ant/one.png").read_bytes()


def test_csv_of_names_and_keys(tree: Path) -> None:
    path = write(tree / "list.csv", "label,key,path\nzebra,first,ant/one.png\nant,,cat/one.JPEG\n")
    labelled = from_csv(path)
    assert labelled.classes == ("ant", "zebra")
    assert [(sample.key, sample.label) for sample in labelled.samples] == [("first", 1), ("cat_one", 0)]
    assert [sample.label for sample in from_csv(path, ["zebra", "yak", "ant"]).samples] == [0, 2]


def test_csv_of_several_labels(tree: Path, tmp_path: Path) -> None:
    path = write(tree / "list.csv", "path,labels\nant/one.png,7 0 7\ncat/one.JPEG,\n")
    labelled = from_csv(path)
    assert [(sample.key, sample.classes) for sample in labelled.samples] == [("ant_one", (7, 0)), ("cat_one", ())]
    (packed,) = pack(labelled.samples, tmp_path / "out", prefix="x", shards=1)
    shard = index(str(packed), 8, multi_label=True)
    assert dict(zip(shard.keys, shard.labels, strict=True)) == {"ant_one": (7, 0), "cat_one": ()}
    assert from_csv(path, [*"abcdefgh"]).classes == tuple("abcdefgh")
    with pytest.raises(DataError, match="label 7 is no class number"):
        pack(labelled.samples, tmp_path / "out", prefix="x", shards=1, classes=["a", "b"])


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("", StudyError, "no column 'path'"),
        ("path\nant/one.png\n", StudyError, "no column 'label'"),
        ("path,label\nant/one.png,\n", DataError, "line 2: no label"),
        ("path,label\nant/one.png\n", DataError, "line 2: no label"),
        ("path,label\n,3\n", DataError, "line 2: no path"),
        ("path,label\nant/one.png,1\ncat/one.JPEG,1O\n", DataError, "line 3: label '1O'"),
        ("path,labels\nant/one.png,1 x\n", DataError, "line 2: 'x' in labels is no class number"),
        ("path,labels\nant/one.png,-1\n", DataError, "line 2: '-1' in labels"),
        ("path,label,labels\nant/one.png,1,1\n", StudyError, "keep the one that is meant"),
        ("path,label\nant/one.gif,1\n", DataError, "line 2: .*one.gif"),
    ],
)
def test_csv_mistakes_name_the_line(tree: Path, text: str, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        from_csv(write(tree / "list.csv", text))


def test_csv_labels_outside_the_list(tree: Path) -> None:
    with pytest.raises(DataError, match="line 2: label 'eel'"):
        from_csv(write(tree / "list.csv", "path,label\nant/one.png,eel\n"), ["ant", "bee"])
    with pytest.raises(StudyError, match=r"absent\.csv"):
        from_csv(tree / "absent.csv")
