"""Queries: what filters leave of the published names, and what is said where they leave nothing."""

from __future__ import annotations

import csv
import io
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import timm

from overlap.checkpoint_sections import ZooQuery
from overlap.errors import StudyError
from overlap.study import load_study
from overlap.zoo import timm_names, timm_parameters
from overlap.zoo.queries import select
from overlap.zoo.sources import source


def chosen(*patterns: str, **filters: object) -> list[str]:
    return select(ZooQuery.model_validate({"source": "timm", "select": patterns, **filters}), 1000)


def refusal(*patterns: str, **filters: object) -> str:
    with pytest.raises(StudyError) as raised:
        chosen(*patterns, **filters)
    said = str(raised.value)
    assert "\n" not in said
    return said


def test_exclude_takes_away() -> None:
    everything = chosen("resnet*")
    assert chosen("resnet*", exclude="*.a[123]_in1k") == [
        name for name in everything if name.partition(".")[2] not in ("a1_in1k", "a2_in1k", "a3_in1k")
    ]
    assert "exclude leaves none of the" in refusal("resnet50.*", exclude=("resnet50.*",))


def test_parameters_are_bounded() -> None:
    small = chosen("*", max_parameters=5e6)
    middle = chosen("*", min_parameters=5e6, max_parameters=30_000_000)
    large = chosen("*", min_parameters=30e6)
    assert sorted({*small, *middle, *large}) == chosen("*")
    assert "mobilenetv3_small_100.lamb_in1k" in small
    assert "resnet50.a1_in1k" in middle
    assert "vit_base_patch16_224.augreg_in1k" in large


def test_input_sizes_are_bounded_as_evaluated() -> None:
    kept = chosen("*", min_input_size=384, max_input_size=448)
    assert kept == [name for name in chosen("*") if 384 <= max(source("timm").preprocessing(name).input_size) <= 448]
    assert "deit_base_patch16_384.fb_in1k" in kept


def test_licences_are_chosen_where_known() -> None:
    free = chosen("*", license=("Apache-2.0", "mit", "bsd*"))
    assert {timm_names.licence(name) for name in free} == {"apache-2.0", "mit", "bsd-3-clause"}
    assert "convnextv2_base.fcmae_ft_in1k" not in free
    assert "they are: cc-by-nc-4.0 (8)" in refusal("convnextv2_*.fcmae_ft_in1k", license="mit")


def test_limits_that_leave_nothing_name_the_nearest() -> None:
    said = refusal("resnet*.a1_in1k", max_parameters=1e6)
    assert "nearest: resnet18.a1_in1k (11,689,512 parameters, 224 px)" in said
    assert "nearest: resnet50" in refusal("resnet50.tv_in1k", min_input_size=500)


@pytest.mark.parametrize(
    ("pattern", "nearest"),
    [
        ("resnet50.a1_in2k", "resnet50.a1_in1k"),
        ("*.augregg_in1k", "*.augreg_in1k"),
        ("reznet50.*", "resnet50.*"),
        ("vit_bse_patch16_224.*", "vit_base_patch16_224.*"),
    ],
)
def test_a_pattern_that_matches_nothing_names_the_nearest(pattern: str, nearest: str) -> None:
    said = refusal(pattern)
    assert f"select '{pattern}' matches no pretrained timm model" in said
    assert nearest in said.partition("nearest: ")[2]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("min_parameters = 3e6\nmax_parameters = 1e6", "min_parameters 3000000.0 is above max_parameters 1000000.0"),
        ("min_input_size = 300\nmax_input_size = 200", "nothing could be selected"),
        ('max_parameters = "many"', "max_parameters"),
        ("max_params = 3", "unknown key 'zoo.0.max_params'; did you mean 'max_parameters'?"),
    ],
)
def test_mistakes_in_a_query_are_told(line: str, said: str, tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(
        f'name = "s"\n[data.val]\nshards = "x.tar"\nclasses = 10\n[[zoo]]\nsource = "timm"\nselect = ["*"]\n{line}\n'
    )
    with pytest.raises(StudyError) as raised:
        load_study(study)
    assert said in str(raised.value)


def test_the_table_of_parameters_is_complete_and_counted_right() -> None:
    architectures = {name.partition(".")[0] for name in timm_names.published()}
    assert sorted(architectures - set(timm_parameters.table())) == [], "write timm_parameters.csv anew"
    for name in ("resnet18", "mobilenetv3_small_100", "vit_tiny_patch16_224", "repvit_m1_0"):
        built = timm.create_model(name, num_classes=1000)
        assert timm_parameters.table()[name] == sum(one.numel() for one in built.parameters())
        assert timm_parameters.count(name) == timm_parameters.table()[name]


def test_the_whole_zoo_is_listed_within_ten_seconds(tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(
        'name = "s"\n[data.val]\nshards = "x.tar"\nclasses = 1000\n[[zoo]]\nsource = "timm"\nselect = ["*"]\n'
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "overlap.cli", "zoo", str(study), "--csv"], capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)  # its own time: other processes may be using the machine
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == len(chosen("*"))
    assert next(iter(rows[0])) == "model"
    row = next(row for row in rows if row["model"] == "vit_base_patch16_clip_384.openai_ft_in1k")
    assert (
        row
        | {
            "family": "vit",
            "parameters": str(timm_parameters.count("vit_base_patch16_clip_384")),
            "license": "apache-2.0",
            "training_dataset": "wit+in1k",
            "training_parent": "vit_base_patch16_clip_224.openai",
            "training_resolution": "384",
        }
        == row
    )
