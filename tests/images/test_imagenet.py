from __future__ import annotations

import gzip
import json
import re
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from overlap.cli import main
from overlap.errors import DataError, StudyError
from overlap.images.imagenet import devkit_synsets, from_archive, from_class_folders, from_flat_folder, table_synsets
from overlap.images.shards import read_samples
from tests.images.imagenet_files import CLASSES, KIT_ORDER, devkit, hub_parquet, jpeg, stem, validation_tar

IDS = [3, 1, 1, 4, 2, 2, 3, 1, 4, 4, 2, 3]
"""ILSVRC2012_IDs of twelve images."""


def expected() -> dict[str, int]:
    return {stem(number): CLASSES.index(KIT_ORDER[id - 1]) for number, id in enumerate(IDS, 1)}


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["shards", *map(str, arguments)])


def packed(folder: Path) -> dict[str, tuple[bytes, int]]:
    found = {}
    for path in sorted(folder.glob("*.tar")):
        for sample in read_samples(str(path)):
            found[sample.key] = (sample.image, sample.label)
    return found


def test_the_kit_numbers_classes_in_an_order_of_its_own(tmp_path: Path) -> None:
    synsets = devkit_synsets(devkit(tmp_path / "kit.tar.gz", IDS))
    assert synsets == {stem(number): KIT_ORDER[id - 1] for number, id in enumerate(IDS, 1)}
    with tarfile.open(tmp_path / "kit.tar.gz") as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    assert devkit_synsets(tmp_path / "unpacked" / "ILSVRC2012_devkit_t12") == synsets
    assert devkit_synsets(tmp_path / "unpacked") == synsets


def test_archive_and_kit_become_shards_of_wordnet_order(tmp_path: Path) -> None:
    source = validation_tar(tmp_path / "val.tar", 12)
    kit = devkit(tmp_path / "kit.tar.gz", IDS)
    done = command("imagenet", source, tmp_path / "out", "--devkit", kit, "--images", "12", "--images-per-shard", "5")
    assert done.exit_code == 0, done.output
    assert packed(tmp_path / "out") == {key: (jpeg(int(key[-8:])), label) for key, label in expected().items()}
    index = json.loads((tmp_path / "out" / "shards-index.json").read_text())
    assert index["samples"] == 12
    assert len(index["shards"]) == 3
    assert len(index["classes"]) == 1000
    assert index["classes"][:4] == [*CLASSES]


def test_every_source_of_the_same_images_gives_the_same_shards(tmp_path: Path) -> None:
    archive = validation_tar(tmp_path / "val.tar", 12, "./val/")
    kit = devkit(tmp_path / "kit.tar.gz", IDS)
    (tmp_path / "flat").mkdir()
    rows = []
    for key, label in expected().items():
        body = jpeg(int(key[-8:]))
        (tmp_path / "flat" / f"{key}.JPEG").write_bytes(body)
        folder = tmp_path / "classes" / CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{key}.JPEG").write_bytes(body)
        rows.append({"image": {"bytes": body, "path": f"{key}.JPEG"}, "label": label})
    table = tmp_path / "table.csv"
    lines = [f"{key},{CLASSES[label]} 1 2 3 4\n" for key, label in reversed(expected().items())]
    table.write_text("ImageId,PredictionString\n" + "".join(lines))
    hub_parquet(tmp_path / "hub" / "data" / "validation-00000-of-00002.parquet", rows[:7])
    hub_parquet(tmp_path / "hub" / "data" / "validation-00001-of-00002.parquet", rows[7:])
    hub_parquet(tmp_path / "hub" / "data" / "test-00000-of-00001.parquet", rows[:1])
    sources: dict[str, list[str | Path]] = {
        "kit": [archive, "--devkit", kit],
        "table": [archive, "--labels", table],
        "flat": [tmp_path / "flat", "--devkit", kit],
        "hub": [tmp_path / "hub", "--split", "validation"],
    }
    bodies = {}
    for name, (source, *options) in sources.items():
        out = tmp_path / "out" / name
        done = command("imagenet", source, out, *options, "--images", "12", "--images-per-shard", "6")
        assert done.exit_code == 0, done.output
        assert sorted(path.name for path in out.iterdir()) == [
            "shard-000000.tar",
            "shard-000001.tar",
            "shards-index.json",
        ]
        bodies[name] = [path.read_bytes() for path in sorted(out.iterdir())]
    assert bodies["kit"] == bodies["table"] == bodies["flat"] == bodies["hub"]
    labelled = from_class_folders(tmp_path / "classes", CLASSES)
    assert {sample.key: sample.label for sample in labelled.samples} == expected()


def test_numbered_folders_are_class_numbers_and_stems_that_repeat_carry_their_folder(tmp_path: Path) -> None:
    classes = [f"n{number:08d}" for number in range(12)]
    for number in range(12):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / f"hash{number}.jpeg").write_bytes(jpeg(number))
    found = from_class_folders(tmp_path, classes)
    assert {sample.key: sample.label for sample in found.samples} == {f"hash{number}": number for number in range(12)}
    assert found.classes == tuple(classes)
    (tmp_path / "10" / "hash2.jpeg").write_bytes(jpeg(50))
    found = from_class_folders(tmp_path, classes)
    assert {sample.key: sample.label for sample in found.samples}["10_hash2"] == 10
    assert len({sample.key for sample in found.samples}) == 13


def test_tables_of_synsets(tmp_path: Path) -> None:
    table = tmp_path / "table.txt"
    table.write_text("a.JPEG n01440764\n\nval/b.c,x,'n01443537'\n")
    assert table_synsets(table) == {"a": "n01440764", "b.c": "n01443537"}
    table.write_text("n01443537\nn01440764\n")
    assert table_synsets(table) == {stem(1): "n01443537", stem(2): "n01440764"}
    for text, said in (
        ("name,synset\na,n01440764\na.JPEG,n01443537\n", "line 3: 'a' stands there before"),
        ("a,n01440764\nb,cat\n", "line 2: holds no synset"),
        ("n01440764,a\n", "line 1: names no image"),
    ):
        table.write_text(text)
        with pytest.raises(DataError, match=said):
            table_synsets(table)
    table.write_text("name,label\n")
    with pytest.raises(StudyError, match="holds no synsets"):
        table_synsets(table)


def test_images_and_labels_must_correspond(tmp_path: Path) -> None:
    synsets = devkit_synsets(devkit(tmp_path / "kit.tar.gz", IDS))
    with validation_tar(tmp_path / "long.tar", 13).open("rb") as file, pytest.raises(DataError, match=stem(13)):
        from_archive(file, synsets, CLASSES)
    with (
        validation_tar(tmp_path / "short.tar", 11).open("rb") as file,
        pytest.raises(DataError, match=f"lacks 1 .*{stem(12)}"),
    ):
        from_archive(file, synsets, CLASSES)
    with (
        validation_tar(tmp_path / "val.tar", 12).open("rb") as file,
        pytest.raises(DataError, match=r"n01491361.*none of the 3"),
    ):
        from_archive(file, synsets, CLASSES[:3])
    (tmp_path / "flat").mkdir()
    with pytest.raises(DataError, match="lacks 12"):
        from_flat_folder(tmp_path / "flat", synsets, CLASSES)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--devkit", "kit.tar.gz"], "12 images, not 50,000.*--images 12"),
        ([], "carry no labels.*--devkit"),
        (["--devkit", "kit.tar.gz", "--labels", "x"], "give one of them"),
        (["--devkit", "absent.tar.gz"], "absent.tar.gz: cannot be read"),
        (["--devkit", "val.tar"], "holds no data/meta.mat"),
        (["--devkit", "wrong.tar.gz"], "ground truth of image 2 is '5'"),
        (["--devkit", "kit.tar.gz", "--class-space", "imagenet1k"], "unknown class space.*imagenet-1k"),
    ],
)
def test_mistakes_are_told_in_one_line_and_leave_nothing(tmp_path: Path, options: list[str], said: str) -> None:
    validation_tar(tmp_path / "val.tar", 12)
    devkit(tmp_path / "kit.tar.gz", IDS)
    devkit(tmp_path / "wrong.tar.gz", [1, 5])
    named = [str(tmp_path / option) if option.endswith((".gz", ".tar")) else option for option in options]
    done = command("imagenet", tmp_path / "val.tar", tmp_path / "out", *named)
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert re.search(said, done.stderr)
    assert not (tmp_path / "out").exists()


def test_a_compressed_or_damaged_archive_is_named(tmp_path: Path) -> None:
    synsets = devkit_synsets(devkit(tmp_path / "kit.tar.gz", IDS))
    body = validation_tar(tmp_path / "val.tar", 12).read_bytes()
    (tmp_path / "val.tar.gz").write_bytes(gzip.compress(body))
    with (tmp_path / "val.tar.gz").open("rb") as file, pytest.raises(DataError, match=r"val.tar.gz.*compressed"):
        from_archive(file, synsets, CLASSES)
    (tmp_path / "cut.tar").write_bytes(body[: len(body) // 2])
    with (tmp_path / "cut.tar").open("rb") as file, pytest.raises(DataError, match=r"cut.tar"):
        from_archive(file, synsets, CLASSES)


def test_folders_and_csv_are_packed_without_a_sub_command(tmp_path: Path) -> None:
    for number, name in enumerate(["great white shark", "tench"]):
        (tmp_path / "tree" / name).mkdir(parents=True)
        (tmp_path / "tree" / name / "one.JPEG").write_bytes(jpeg(number))
    (tmp_path / "classes.txt").write_text("tench\ngreat white shark\n")
    done = command("--classes", tmp_path / "classes.txt", tmp_path / "tree", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == [str(tmp_path / "out" / "shard-000000.tar")]
    assert {label for _, label in packed(tmp_path / "out").values()} == {0, 1}
    assert packed(tmp_path / "out")["tench_one"] == (jpeg(1), 0)
    helped = command("--help")
    assert helped.exit_code == 0
    assert "imagenet" in helped.stdout
