"""Training columns of open_clip's published weights, and queries over them; complete over the installed open_clip."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from overlap.checkpoint_sections import ZooQuery
from overlap.errors import StudyError
from overlap.methodology import Training, category
from overlap.study import load_study
from overlap.zoo import clip, timm_names
from overlap.zoo.derived import derived
from overlap.zoo.listing import listing
from overlap.zoo.open_clip_training import derive, network, tables, tower
from overlap.zoo.queries import select
from overlap.zoo.resolve import data_space, resolve
from overlap.zoo.timm_training import Derived

open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed (extra clip)")

TIMM = timm_names.published()
PUBLISHED = clip.pretrained_names()
TOLD: dict[str, Derived] = {name: derive(name, TIMM) for name in PUBLISHED}
NOBODY_TELLS = {"nllb-clip-base/v1", "nllb-clip-large/v1"}
"""Weights of which nobody says what their image towers began from."""


def told(name: str) -> Training:
    return TOLD[name].training


def test_every_tag_is_known_and_tells_data_framework_architecture_recipe_and_family() -> None:
    unknown = {name: one.unknown for name, one in TOLD.items() if one.unknown}
    assert not unknown, f"open_clip_training.toml does not know {unknown}"
    for column in ("dataset", "framework", "architecture", "hyper_parameters"):
        silent = {name for name, one in TOLD.items() if getattr(one.training, column) is None}
        assert silent == (NOBODY_TELLS if column == "dataset" else set()), column
    assert [name for name, one in TOLD.items() if one.family is None] == []


def test_towers_are_published_by_timm_and_are_the_files_that_open_clip_names() -> None:
    towers = {name: same for name in PUBLISHED if (same := tower(name)) is not None}
    assert len(towers) > 140
    assert sorted(set(towers.values()) - set(TIMM)) == []
    compared = 0
    for name, same in towers.items():
        stated = open_clip.get_pretrained_cfg(*name.split("/"))["hf_hub"].rstrip("/").removeprefix("timm/")
        if stated in TIMM:
            assert stated == same, name
            compared += 1
        assert told(name).parent == (derive_timm_parent(same) or same)
    assert compared > 40


def derive_timm_parent(name: str) -> str | None:
    found = derived(f"timm:{name}", f"timm:{name}")
    assert found is not None
    return found.training.parent


def test_networks_and_resolutions_are_those_of_open_clips_configurations() -> None:
    compared = 0
    for name in PUBLISHED:
        model = name.partition("/")[0]
        config = open_clip.get_model_config(model)["vision_cfg"]
        asked = config.get("timm_model_name")
        if asked is not None and asked in {one.partition(".")[0] for one in TIMM} and model != "convnext_large_d":
            same = network(model)
            assert same is not None
            assert same.replace("_mlp", "").replace("_clip", "") == asked.replace("_clip", ""), name
            compared += 1
        resolution = TOLD[name].resolution
        if resolution is not None and model != "ViTamin-XL-384":  # its configuration says 256, and its name 384
            assert resolution == clip.side(name), name
    assert compared > 70


@pytest.mark.parametrize("table", ["tower", "weights"])
def test_every_rule_matches_something(table: str) -> None:
    idle = [rule["match"] for rule in tables()[table] if not any(re.fullmatch(rule["match"], one) for one in PUBLISHED)]
    assert idle == []


def test_every_network_is_used() -> None:
    models = {name.partition("/")[0].removesuffix("-quickgelu") for name in PUBLISHED}
    assert models == set(tables()["networks"])


# name, dataset, framework, architecture, recipe, parent
KNOWN = [
    ("ViT-B-32/openai", "wit", "clip", "vit_base_patch32_clip", "unnamed", "vit_base_patch32_clip_224.openai"),
    (
        "ViT-L-14-336/openai",
        "wit",
        "clip",
        "vit_large_patch14_clip",
        "unnamed_336",
        "vit_large_patch14_clip_336.openai",
    ),
    ("RN50/yfcc15m", "yfcc15m", "clip", "resnet50_clip", "unnamed", "resnet50_clip.yfcc15m"),
    ("ViT-B-32/laion2b_e16", "laion2b", "clip", "vit_base_patch32_clip", "e16", None),
    ("ViT-B-16/commonpool_l_s1b_b8k", "commonpool_l", "clip", "vit_base_patch16_clip", "s1b_b8k", None),
    ("ViT-H-14-CLIPA-336/laion2b", "laion2b", "clip", "vit_huge_patch14_clipa", "clipa_336", None),
    (
        "ViT-SO400M-14-SigLIP-378/webli",
        "webli",
        "siglip",
        "vit_so400m_patch14_siglip",
        "unnamed_378",
        "vit_so400m_patch14_siglip_384.webli",
    ),
    (
        "coca_ViT-L-14/mscoco_finetuned_laion2b_s13b_b90k",
        "laion2b+mscoco",
        "coca",
        "vit_large_patch14_coca",
        "unnamed",
        "coca_ViT-L-14.laion2b_s13b_b90k",
    ),
]


@pytest.mark.parametrize(("name", "dataset", "framework", "architecture", "recipe", "parent"), KNOWN)
def test_well_known_weights(
    name: str, dataset: str, framework: str, architecture: str, recipe: str, parent: str | None
) -> None:
    assert told(name) == Training(
        dataset=dataset, framework=framework, architecture=architecture, hyper_parameters=recipe, parent=parent
    )


def test_a_tower_and_what_was_fine_tuned_from_it_are_kin() -> None:
    ours, theirs = "ViT-B-32/openai", "vit_base_patch32_clip_224.openai_ft_in1k"
    tuned = derived(f"timm:{theirs}", f"timm:{theirs}")
    assert tuned is not None
    assert category(ours, told(ours), "w1", theirs, tuned.training, "w2") == "shared_lineage"


def test_weights_of_ones_own_tell_their_network_alone_and_new_names_are_unknown() -> None:
    mine = derived("open_clip:ViT-B-32/openai", "s3://zoo/mine.pt")
    assert mine is not None
    assert mine.training == Training(architecture="vit_base_patch32_clip")
    assert derive("ViT-B-32/zz9", TIMM).unknown == ("zz9",)
    assert derive("ViT-Q-1/openai", TIMM) == Derived(Training(), None, None, ("ViT-Q-1/openai",))


def chosen(*patterns: str, **filters: object) -> list[str]:
    return select(ZooQuery.model_validate({"source": "open_clip", "select": patterns, **filters}), 7)


def refusal(*patterns: str, **filters: object) -> str:
    with pytest.raises(StudyError) as raised:
        chosen(*patterns, **filters)
    return str(raised.value)


def test_queries_select_each_weights_once() -> None:
    assert chosen("*/openai") == sorted(
        name for name in PUBLISHED if name.endswith("/openai") and "quickgelu" not in name
    )
    assert chosen("ViT-B-32-quickgelu/openai") == ["ViT-B-32-quickgelu/openai"]
    assert chosen("ViT-L-14*/openai", exclude="*336*") == ["ViT-L-14/openai"]
    assert "exclude leaves none of the 1 open_clip models" in refusal("RN50/openai", exclude="RN50*")


def test_queries_bound_sizes_and_parameters_where_they_are_known() -> None:
    assert {clip.side(name) for name in chosen("*", min_input_size=378)} == {378, 384, 448, 512}
    small = chosen("ViT-B-*", "ViT-L-*", max_parameters=90e6)
    assert "ViT-B-32/openai" in small
    assert "ViT-L-14/openai" not in small
    assert "coca_ViT-B-32/laion2b_s13b_b90k" not in chosen("*ViT-B-32/*", max_parameters=1e12)
    assert "nearest: RN50/openai" in refusal("RN50/openai", max_parameters=1e6)


@pytest.mark.parametrize(
    ("pattern", "nearest"),
    [
        ("ViT-B-32/openia", "ViT-B-32/openai"),
        ("ViT-B-33/*", "ViT-B-32/*"),
        ("*/laion2b_s34b_b79", "*/laion2b_s34b_b79k"),
    ],
)
def test_a_pattern_that_matches_nothing_names_the_nearest(pattern: str, nearest: str) -> None:
    said = refusal(pattern)
    assert "matches no pretrained open_clip model" in said
    assert nearest in said.partition("nearest: ")[2]


@pytest.mark.parametrize("line", ['license = "mit"', 'class_space = "imagenet-1k"'])
def test_what_only_timm_has_is_refused(line: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="is of a query over timm's models"):
        study(tmp_path, line)


def study(folder: Path, line: str = "") -> Path:
    path = folder / "study.toml"
    path.write_text(
        'name = "s"\n[data.val]\nshards = "x.tar"\nclasses = 1000\nclass_space = "imagenet-1k"\n'
        f'[[zoo]]\nsource = "open_clip"\nselect = ["RN50*/openai"]\nmax_input_size = 300\n{line}\n'
    )
    load_study(path)
    return path


def test_a_query_resolves_to_zero_shot_classifiers(tmp_path: Path) -> None:
    asked = load_study(study(tmp_path))
    candidates, rejected = resolve(asked, 1000, data_space("val", asked.data["val"]))
    assert rejected == []
    assert [one.id for one in candidates] == ["RN50.openai", "RN50x4.openai"]
    assert {one.weights for one in candidates} == {"open_clip:RN50/openai", "open_clip:RN50x4/openai"}
    assert all(one.zero_shot is not None and len(one.zero_shot.names) == 1000 for one in candidates)
    row = listing(asked).to_dicts()[0]
    assert (row["model"], row["family"], row["training_dataset"]) == ("RN50.openai", "resnet", "wit")
    assert row["parameters"] > 30_000_000
