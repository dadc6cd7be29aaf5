"""Published accuracies: which figure a checkpoint is held to, on which data, and what the shipped table covers."""

from __future__ import annotations

from pathlib import Path

import pytest

from overlap.study import Study, load_study
from overlap.zoo import timm_names
from overlap.zoo.checkpoint import Candidate
from overlap.zoo.expected import figures, published, unheld
from overlap.zoo.listing import listing
from overlap.zoo.published_top1 import figure, table
from overlap.zoo.resolve import data_space, resolve
from overlap.zoo.sources import source
from overlap.zoo.timm_parameters import table as parameters

VAL = '[data.val]\nshards = "x.tar"\nclasses = 1000\nclass_space = "imagenet-1k"\n'
V2 = '[data.v2]\nshards = "y.tar"\nclasses = 1000\nclass_space = "imagenet-1k"\n'
ASKED = '[gate]\ndata = ["val"]\n'
ENTRY = '[[checkpoint]]\nid = "a"\nsource = "timm:resnet50.a1_in1k"\n'
SOURCE = "timm results-imagenet.csv 7479d451"

# as the table of results in timm's repository prints them: name, size, top-1, error, millions of parameters, crop
ROWS = [
    ("eva02_large_patch14_448.mim_m38m_ft_in22k_in1k", 448, 90.054, 9.946, 305.08, 1.0),
    ("resnet50.a1_in1k", 224, 80.382, 19.618, 25.56, 0.95),
    ("resnet50.a1_in1k", 288, 81.240, 18.760, 25.56, 1.0),
    ("convnextv2_atto.fcmae_ft_in1k", 224, 76.646, 23.354, 3.71, 0.875),
    ("vit_base_patch16_224.augreg_in21k_ft_in1k", 224, 84.532, 15.468, 86.57, 0.9),
    ("mobilenetv3_small_050.lamb_in1k", 224, 57.924, 42.076, 1.59, 0.875),
]


def study(folder: Path, text: str) -> Study:
    (folder / "study.toml").write_text(f'name = "s"\n{text}')
    return load_study(folder / "study.toml")


def resolved(one: Study, data: str = "val") -> list[Candidate]:
    section = one.data[data]
    candidates, rejected = resolve(one, section.classes, data_space(data, section), section.names)
    assert rejected == []
    return candidates


def held(one: Study, data: str = "val") -> dict[str, tuple[float, str]]:
    found = published(one, data, resolved(one, data))
    return {name: (round(100 * told.top1, 3), told.source) for name, told in found.items()}


@pytest.mark.parametrize(("name", "size", "top1", "error", "millions", "crop"), ROWS)
def test_rows_are_as_printed(name: str, size: int, top1: float, error: float, millions: float, crop: float) -> None:
    (row,) = [row for row in table()[name] if row.input_size == size]
    assert (row.top1, row.crop_pct) == (top1, crop)
    assert row.top1 + error == pytest.approx(100)
    assert parameters()[name.partition(".")[0]] / 1e6 == pytest.approx(millions, abs=0.006)


def test_the_table_is_of_names_that_timm_has_and_of_whole_images() -> None:
    names = list(table())
    assert names == sorted(names)
    assert {timm_names.classes(name) for name in names} == {1000}
    rows = [row for found in table().values() for row in found]
    assert len(rows) == 1442
    for name, found in table().items():
        assert len({row.input_size for row in found}) == len(found), name
    # shares of 50,000 images, in percent
    assert all((round(1000 * row.top1) % 2, 40 < row.top1 < 91) == (0, True) for row in rows)
    assert {row.source for row in rows} == {SOURCE}
    assert {row.interpolation for row in rows} == {"bicubic", "bilinear"}


def test_nearly_every_name_has_a_figure_for_the_way_it_is_evaluated_here() -> None:
    heads = [name for name in timm_names.published() if timm_names.classes(name) == 1000]
    without = [name for name in heads if figure(name, source("timm").preprocessing(name)) is None]
    assert len(without) <= 148, f"published_top1.csv has no figure of {without}"
    measured_otherwise = sorted(set(without) & set(table()))
    assert measured_otherwise == [
        "resnet50.c2_in1k",
        "test_byobnet.r160_in1k",
        "test_efficientnet.r160_in1k",
        "test_vit.r160_in1k",
    ]


def test_figures_of_test_sizes_are_there_too() -> None:
    configs = {name: timm_names.config(name) for name in table()}
    larger = {name: one.test_input_size[-1] for name, one in configs.items() if one and one.test_input_size}
    assert len(larger) > 250
    assert all(any(row.input_size == size for row in table()[name]) for name, size in larger.items())


def test_figures_hold_where_the_study_says_which_data_they_are_about(tmp_path: Path) -> None:
    assert held(study(tmp_path, VAL + ASKED + ENTRY)) == {"a": (80.382, SOURCE)}
    plain = VAL.replace('class_space = "imagenet-1k"\n', "")
    assert held(study(tmp_path, plain + ASKED + ENTRY)) == {"a": (80.382, SOURCE)}


def test_class_numbers_do_not_say_which_images_they_are(tmp_path: Path) -> None:
    both = VAL + V2 + ENTRY
    unsaid = study(tmp_path, both)
    assert held(unsaid) == held(unsaid, "v2") == {}
    assert (unheld(unsaid, "val", resolved(unsaid)), unheld(unsaid, "v2", resolved(unsaid))) == (1, 0)
    said = study(tmp_path, both + ASKED)
    assert held(said) == {"a": (80.382, SOURCE)}
    assert held(said, "v2") == {}
    assert unheld(said, "val", resolved(said)) == 0


def test_other_classes_are_not_imagenets(tmp_path: Path) -> None:
    text = '[data.val]\nshards = "x.tar"\nclasses = 200\nclass_space = "imagenet-r"\n' + ENTRY
    assert held(study(tmp_path, text + ASKED)) == {}
    unsaid = study(tmp_path, text)
    assert unheld(unsaid, "val", resolved(unsaid)) == 0


@pytest.mark.parametrize(
    ("lines", "top1"),
    [
        ("preprocess = { input_size = 288, crop_pct = 1.0 }", 81.24),
        ("preprocess = { input_size = 288 }", None),
        ("preprocess = { input_size = 256 }", None),
        ('preprocess = { interpolation = "bilinear" }', None),
        ("preprocess = { mean = [0.5, 0.5, 0.5] }", None),
        ('preprocess = { crop_mode = "squash" }', None),
        ("preprocess = { resize = 236 }", None),
        ("arguments = { drop_rate = 0.1 }", None),
        ('weights = "mine.pth"', None),
    ],
)
def test_a_figure_counts_only_for_the_weights_and_pixels_it_was_measured_with(
    lines: str, top1: float | None, tmp_path: Path
) -> None:
    found = held(study(tmp_path, VAL + ASKED + ENTRY + lines))
    assert found == ({} if top1 is None else {"a": (top1, SOURCE)})


def test_the_study_goes_before_its_table_and_both_before_libraries(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("model,published_top1,source\nresnet50.a1_in1k,70,paper\nb,60,mine\n")
    asked = '[gate]\ndata = ["val"]\npublished = "table.csv"\n'
    more = ENTRY.replace('"a"', '"b"') + ENTRY.replace('"a"', '"c"') + "published_top1 = 50\n"
    more += '[[checkpoint]]\nid = "d"\nsource = "torchvision:resnet50"\n'
    more += (
        '[[checkpoint]]\nid = "e"\nsource = "torchvision:resnet50"\npreprocess = { input_size = 224, resize = 256 }\n'
    )
    found = held(study(tmp_path, VAL + asked + ENTRY + more))
    assert found == {
        "a": (70, "paper"),
        "b": (60, "mine"),
        "c": (50, "the study"),
        "d": (80.858, "torchvision's metadata of ResNet50_Weights.IMAGENET1K_V2"),
    }


def test_the_listing_shows_figures_whichever_data_they_are_about(tmp_path: Path) -> None:
    one = study(tmp_path, V2 + ENTRY)
    assert {name: told.source for name, told in figures(one, resolved(one, "v2")).items()} == {"a": SOURCE}
    (row,) = listing(one).to_dicts()
    assert (row["published_top1"], row["published_source"]) == (80.382, SOURCE)
