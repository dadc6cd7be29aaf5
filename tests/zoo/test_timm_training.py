"""Training columns of timm's published weights: complete over the installed timm, true of those that are well known."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from overlap.methodology import Training, category
from overlap.study import load_study
from overlap.zoo import timm_names
from overlap.zoo.checkpoint import Candidate
from overlap.zoo.resolve import resolve
from overlap.zoo.timm_training import Derived, derive, family, phrases, tables

PUBLISHED = timm_names.published()
TOLD: dict[str, Derived] = {name: derive(name, PUBLISHED) for name in PUBLISHED}
IN1K = [name for name in PUBLISHED if timm_names.classes(name) == 1000]
TEACHER = "regnety_160.deit_in1k"
CLIP_B = "vit_base_patch16_clip_224"
CLIP_L = "vit_large_patch14_clip_224"


def told(name: str) -> Training:
    return TOLD[name].training


def test_every_token_of_every_tag_is_known() -> None:
    unknown = {name: list(one.unknown) for name, one in TOLD.items() if one.unknown}
    assert not unknown, f"timm_training.toml does not know these tokens: {unknown}"


def test_every_tag_tells_data_framework_architecture_recipe_and_family() -> None:
    for column in ("dataset", "framework", "architecture", "hyper_parameters"):
        silent = [name for name, one in TOLD.items() if getattr(one.training, column) is None]
        assert not silent, f"timm_training.toml gives no {column} of {silent}"
    orphans = [name for name, one in TOLD.items() if one.family is None]
    assert not orphans, f"timm_training.toml gives no family of {orphans}"


def test_an_unknown_token_is_named_and_the_rest_is_told() -> None:
    one = derive("resnet50.zz9_in1k", PUBLISHED)
    assert one.unknown == ("zz9",)
    assert one.training.dataset == "in1k"


def test_resolutions_in_names_are_those_of_timm() -> None:
    named = {name: one.resolution for name, one in TOLD.items() if one.resolution is not None}
    assert len(named) > 700
    assert named == {name: timm_names.resolution(name) for name in named}


def test_data_agree_with_the_size_of_the_head() -> None:
    heads = {"in1k": {1000}, "in12k": {11821}, "in21k": {21841, 21842, 21843}, "in21k-p": {11221}}
    heads["in21k-winter"] = {19168}
    larger = [name for name in PUBLISHED if timm_names.classes(name) > 2000]
    assert len(larger) > 100
    for name in [*IN1K, *larger]:
        last = str(told(name).dataset).rpartition("+")[2]
        if last in heads:
            assert timm_names.classes(name) in heads[last], name
        else:
            assert timm_names.classes(name) != 1000, name


@pytest.mark.parametrize("table", ["datasets", "steps", "objectives", "recipes"])
def test_every_phrase_is_used(table: str) -> None:
    used = {phrase.text for name in PUBLISHED for phrase in phrases(name.partition(".")[2])}
    assert sorted(set(tables()[table]) - used) == []


@pytest.mark.parametrize("table", ["network", "alias", "model"])
def test_every_rule_matches_something(table: str) -> None:
    names = PUBLISHED if table == "model" else sorted({name.partition(".")[0] for name in PUBLISHED})
    if table == "alias":
        names = [re.sub(r"_\d{3}$", "", name) for name in names]
    idle = [rule["match"] for rule in tables()[table] if not any(re.fullmatch(rule["match"], name) for name in names)]
    assert idle == []


def test_every_family_has_members_and_no_two_lists_share_a_phrase() -> None:
    families = {family(name.partition(".")[0]) for name in PUBLISHED}
    assert families == set(tables()["families"])
    lists = [phrase for table in ("datasets", "steps", "objectives", "recipes") for phrase in tables()[table]]
    assert len(lists) == len(set(lists))


# name, dataset, framework, architecture, recipe, parent, teacher
KNOWN = [
    ("resnet50.a1_in1k", "in1k", "supervised", "resnet50", "a1", None, None),
    ("resnet50.a3_in1k", "in1k", "supervised", "resnet50", "a3", None, None),
    ("resnet50.tv_in1k", "in1k", "supervised", "resnet50", "tv", None, None),
    ("resnet50.tv2_in1k", "in1k", "supervised", "resnet50", "tv2", None, None),
    ("resnet50.gluon_in1k", "in1k", "supervised", "resnet50", "gluon", None, None),
    ("resnet50.ram_in1k", "in1k", "supervised", "resnet50", "ram", None, None),
    ("resnet50.b2k_in1k", "in1k", "supervised", "resnet50", "b2k", None, None),
    ("resnet50.fb_ssl_yfcc100m_ft_in1k", "yfcc100m+in1k", "semi_supervised", "resnet50", "fb", "*", None),
    ("resnet50.fb_swsl_ig1b_ft_in1k", "ig1b+in1k", "semi_weakly_supervised", "resnet50", "fb", "*", None),
    ("resnext101_32x8d.fb_wsl_ig1b_ft_in1k", "ig1b+in1k", "weakly_supervised", "resnext101_32x8d", "fb", "*", None),
    ("resnet50_clip.openai", "wit", "clip", "resnet50_clip", "unnamed", None, None),
    ("resnet50.bamboo", "bamboo", "supervised", "resnet50", "unnamed", None, None),
    (
        "resnetv2_50x1_bit.goog_in21k_ft_in1k",
        "in21k+in1k",
        "supervised",
        "resnetv2_50x1_bit",
        "goog",
        "resnetv2_50x1_bit.goog_in21k",
        None,
    ),
    (
        "resnetv2_50x1_bit.goog_distilled_in1k",
        "in1k",
        "distilled",
        "resnetv2_50x1_bit",
        "goog",
        None,
        "resnetv2_152x2_bit.goog_teacher_in21k_ft_in1k",
    ),
    ("vgg16.tv_in1k", "in1k", "supervised", "vgg16", "tv", None, None),
    ("densenet121.ra_in1k", "in1k", "supervised", "densenet121", "ra", None, None),
    ("inception_v3.tf_in1k", "in1k", "supervised", "inception_v3", "tf", None, None),
    ("inception_v3.tf_adv_in1k", "in1k", "adversarial", "inception_v3", "tf_adv", None, None),
    ("inception_resnet_v2.tf_ens_adv_in1k", "in1k", "adversarial", "inception_resnet_v2", "tf_ens_adv", None, None),
    ("tf_efficientnet_b0.ap_in1k", "in1k", "adversarial", "efficientnet_b0", "ap", None, None),
    ("tf_efficientnet_b0.aa_in1k", "in1k", "supervised", "efficientnet_b0", "aa", None, None),
    ("tf_efficientnet_b0.ns_jft_in1k", "jft300m+in1k", "noisy_student", "efficientnet_b0", "unnamed", None, None),
    (
        "tf_efficientnetv2_s.in21k_ft_in1k",
        "in21k+in1k",
        "supervised",
        "efficientnetv2_s",
        "unnamed",
        "tf_efficientnetv2_s.in21k",
        None,
    ),
    ("efficientnet_b1.ft_in1k", "in1k", "supervised", "efficientnet_b1", "ft", None, None),
    ("regnety_160.deit_in1k", "in1k", "supervised", "regnety_160", "deit", None, None),
    ("regnety_160.swag_ft_in1k", "ig3.6b+in1k", "weakly_supervised", "regnety_160", "swag", "regnety_160.swag", None),
    (
        "regnety_160.swag_lc_in1k",
        "ig3.6b+in1k",
        "weakly_supervised",
        "regnety_160",
        "swag_lc",
        "regnety_160.swag",
        None,
    ),
    ("regnety_320.seer_ft_in1k", "ig1b-uncurated+in1k", "swav", "regnety_320", "unnamed", "regnety_320.seer", None),
    ("deit_base_patch16_224.fb_in1k", "in1k", "supervised", "vit_base_patch16", "fb", None, None),
    (
        "deit_base_patch16_384.fb_in1k",
        "in1k",
        "supervised",
        "vit_base_patch16",
        "fb_384",
        "deit_base_patch16_224.fb_in1k",
        None,
    ),
    (
        "deit_base_distilled_patch16_224.fb_in1k",
        "in1k",
        "distilled",
        "deit_base_distilled_patch16",
        "fb",
        None,
        TEACHER,
    ),
    ("deit3_base_patch16_224.fb_in1k", "in1k", "supervised", "deit3_base_patch16", "fb", None, None),
    ("cait_s24_224.fb_dist_in1k", "in1k", "distilled", "cait_s24", "fb", None, TEACHER),
    ("cait_s24_384.fb_dist_in1k", "in1k", "distilled", "cait_s24", "fb_384", "cait_s24_224.fb_dist_in1k", TEACHER),
    ("levit_128.fb_dist_in1k", "in1k", "distilled", "levit_128", "fb", None, TEACHER),
    ("levit_conv_128.fb_dist_in1k", "in1k", "distilled", "levit_128", "fb", "levit_128.fb_dist_in1k", TEACHER),
    ("xcit_small_12_p16_224.fb_in1k", "in1k", "supervised", "xcit_small_12_p16", "fb", None, None),
    ("resmlp_12_224.fb_distilled_in1k", "in1k", "distilled", "resmlp_12", "fb", None, TEACHER),
    ("resmlp_12_224.fb_dino", "in1k", "dino", "resmlp_12", "fb", None, None),
    ("fastvit_t8.apple_dist_in1k", "in1k", "distilled", "fastvit_t8", "apple", None, TEACHER),
    ("efficientformer_l1.snap_dist_in1k", "in1k", "distilled", "efficientformer_l1", "snap", None, TEACHER),
    ("repvit_m1_0.dist_300e_in1k", "in1k", "distilled", "repvit_m1_0", "300e", None, TEACHER),
    ("pit_s_distilled_224.in1k", "in1k", "distilled", "pit_s_distilled", "unnamed", None, TEACHER),
    (
        "tiny_vit_21m_384.dist_in22k_ft_in1k",
        "in21k+in1k",
        "distilled",
        "tiny_vit_21m",
        "unnamed_384",
        "tiny_vit_21m_224.dist_in22k",
        "vit_large_patch14_clip.openai_ft_in22k",
    ),
    ("vit_base_patch16_224.augreg_in1k", "in1k", "supervised", "vit_base_patch16", "augreg", None, None),
    ("vit_base_patch16_224.sam_in1k", "in1k", "supervised", "vit_base_patch16", "sam", None, None),
    ("vit_base_patch16_224.dino", "in1k", "dino", "vit_base_patch16", "unnamed", None, None),
    ("vit_base_patch16_224.mae", "in1k", "mae", "vit_base_patch16", "unnamed", None, None),
    (
        "vit_base_patch16_384.augreg_in21k_ft_in1k",
        "in21k+in1k",
        "supervised",
        "vit_base_patch16",
        "augreg_384",
        "vit_base_patch16_224.augreg_in21k",
        None,
    ),
    (
        "vit_base_patch16_224.augreg2_in21k_ft_in1k",
        "in21k+in1k",
        "supervised",
        "vit_base_patch16",
        "augreg2",
        "vit_base_patch16_224.augreg_in21k",
        None,
    ),
    (f"{CLIP_B}.openai", "wit", "clip", "vit_base_patch16_clip", "unnamed", None, None),
    (f"{CLIP_B}.openai_ft_in1k", "wit+in1k", "clip", "vit_base_patch16_clip", "unnamed", f"{CLIP_B}.openai", None),
    (
        "vit_base_patch16_clip_384.laion2b_ft_in12k_in1k",
        "laion2b+in12k+in1k",
        "clip",
        "vit_base_patch16_clip",
        "unnamed_384",
        f"{CLIP_B}.laion2b",
        None,
    ),
    (
        "vit_large_patch14_clip_336.openai_ft_in12k_in1k",
        "wit+in12k+in1k",
        "clip",
        "vit_large_patch14_clip",
        "unnamed_336",
        f"{CLIP_L}.openai",
        None,
    ),
    (f"{CLIP_B}.datacompxl", "datacomp1b", "clip", "vit_base_patch16_clip", "unnamed", None, None),
    (f"{CLIP_L}.metaclip_2pt5b", "metaclip2.5b", "clip", "vit_large_patch14_clip", "unnamed", None, None),
    ("vit_base_patch16_siglip_224.webli", "webli", "siglip", "vit_base_patch16_siglip", "unnamed", None, None),
    ("vit_base_patch16_siglip_224.v2_webli", "webli", "siglip2", "vit_base_patch16_siglip", "unnamed", None, None),
    (
        "vit_small_patch14_dinov2.lvd142m",
        "lvd142m",
        "dinov2",
        "vit_small_patch14_dinov2",
        "unnamed",
        None,
        "vit_giant_patch14_dinov2.lvd142m",
    ),
    (
        "convnext_tiny.dinov3_lvd1689m",
        "lvd1689m",
        "dinov3",
        "convnext_tiny",
        "unnamed",
        None,
        "vit_7b_patch16_dinov3.lvd1689m",
    ),
    ("convnext_base.fb_in1k", "in1k", "supervised", "convnext_base", "fb", None, None),
    (
        "convnext_base.fb_in22k_ft_in1k_384",
        "in21k+in1k",
        "supervised",
        "convnext_base",
        "fb_384",
        "convnext_base.fb_in22k",
        None,
    ),
    (
        "convnext_tiny.in12k_ft_in1k_384",
        "in12k+in1k",
        "supervised",
        "convnext_tiny",
        "unnamed_384",
        "convnext_tiny.in12k",
        None,
    ),
    (
        "convnextv2_huge.fcmae_ft_in22k_in1k_512",
        "in21k+in1k",
        "fcmae",
        "convnextv2_huge",
        "unnamed_512",
        "convnextv2_huge.fcmae",
        None,
    ),
    (
        "convnext_large_mlp.clip_laion2b_soup_ft_in12k_in1k_320",
        "laion2b+in12k+in1k",
        "clip",
        "convnext_large_mlp",
        "soup_320",
        "convnext_large_mlp.clip_laion2b_augreg",
        None,
    ),
    (
        "beit_base_patch16_384.in22k_ft_in22k_in1k",
        "in21k+in1k",
        "beit",
        "beit_base_patch16",
        "unnamed_384",
        "beit_base_patch16.in22k",
        None,
    ),
    (
        "eva02_large_patch14_448.mim_m38m_ft_in22k_in1k",
        "merged38m+in21k+in1k",
        "mim",
        "eva02_large_patch14",
        "unnamed_448",
        "eva02_large_patch14_224.mim_m38m",
        None,
    ),
    (
        "eva_giant_patch14_336.clip_ft_in1k",
        "laion400m+in1k",
        "clip",
        "eva_giant_patch14",
        "unnamed_336",
        "eva_giant_patch14_clip_224.laion400m",
        None,
    ),
    (
        "swinv2_base_window12to24_192to384.ms_in22k_ft_in1k",
        "in21k+in1k",
        "supervised",
        "swinv2_base_window24",
        "ms_384",
        "swinv2_base_window12_192.ms_in22k",
        None,
    ),
    (
        "maxvit_base_tf_512.in1k",
        "in1k",
        "supervised",
        "maxvit_base_tf",
        "unnamed_512",
        "maxvit_base_tf_224.in1k",
        None,
    ),
    (
        "hiera_base_224.mae_in1k_ft_in1k",
        "in1k",
        "mae",
        "hiera_base",
        "unnamed",
        "hiera_base_224.mae",
        None,
    ),
    (
        "volo_d1_384.sail_in1k",
        "in1k",
        "token_labeling",
        "volo_d1",
        "sail_384",
        "volo_d1_224.sail_in1k",
        "dm_nfnet_f6.dm_in1k",
    ),
    (
        "mixer_b16_224.miil_in21k_ft_in1k",
        "in21k-p+in1k",
        "supervised",
        "mixer_b16",
        "miil",
        "mixer_b16_224.miil_in21k",
        None,
    ),
    (
        "caformer_b36.sail_in22k_ft_in1k_384",
        "in21k+in1k",
        "supervised",
        "caformer_b36",
        "sail_384",
        "caformer_b36.sail_in22k",
        None,
    ),
    (
        "edgenext_small.usi_in1k",
        "in1k",
        "distilled",
        "edgenext_small",
        "usi",
        None,
        "tresnet_v2_l.miil_in21k_ft_in1k",
    ),
    (
        "mobilenetv4_conv_small.e2400_r224_in1k",
        "in1k",
        "supervised",
        "mobilenetv4_conv_small",
        "e2400_r224",
        None,
        None,
    ),
]


@pytest.mark.parametrize("known", KNOWN, ids=[row[0] for row in KNOWN])
def test_well_known_tags(known: tuple[str, str, str, str, str, str | None, str | None]) -> None:
    name, dataset, framework, architecture, recipe, parent, teacher = known
    if parent == "*":  # not published, and so called after the network and the earlier part of the tag
        parent = name.removesuffix("_ft_in1k")
    assert told(name) == Training(
        dataset=dataset,
        framework=framework,
        architecture=architecture,
        hyper_parameters=recipe,
        parent=parent,
        teacher=teacher,
    )


def test_enough_is_spot_checked() -> None:
    assert len({row[0] for row in KNOWN}) == len(KNOWN) >= 60


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("resnet50.a1_in1k", "resnet50.tv_in1k", "hyper_parameters"),
        ("tf_efficientnet_b0.aa_in1k", "efficientnet_b0.ra_in1k", "hyper_parameters"),
        ("deit_base_patch16_224.fb_in1k", "vit_base_patch16_224.augreg_in1k", "hyper_parameters"),
        ("resnet50.a1_in1k", "resnet101.a1_in1k", "architecture"),
        ("resnet50.tv_in1k", "deit_base_patch16_224.fb_in1k", "architecture"),
        ("deit_base_patch16_224.fb_in1k", "deit_base_distilled_patch16_224.fb_in1k", "framework"),
        ("convnextv2_base.fcmae_ft_in1k", "convnext_base.fb_in1k", "framework"),
        ("inception_v3.tf_in1k", "inception_v3.tf_adv_in1k", "framework"),
        (f"{CLIP_B}.openai_ft_in1k", "deit_base_patch16_224.fb_in1k", "dataset"),
        (f"{CLIP_B}.openai_ft_in1k", f"{CLIP_B}.laion2b_ft_in1k", "dataset"),
        ("tf_efficientnet_b0.ns_jft_in1k", "tf_efficientnet_b0.aa_in1k", "dataset"),
        (f"{CLIP_B}.openai_ft_in1k", f"{CLIP_B}.openai_ft_in12k_in1k", "shared_lineage"),
        ("vit_base_patch16_224.augreg_in21k_ft_in1k", "vit_base_patch16_384.augreg_in21k_ft_in1k", "shared_lineage"),
        ("deit_base_patch16_224.fb_in1k", "deit_base_patch16_384.fb_in1k", "shared_lineage"),
        ("regnety_160.deit_in1k", "deit_base_distilled_patch16_224.fb_in1k", "shared_lineage"),
        ("regnety_160.swag_ft_in1k", "regnety_160.swag_lc_in1k", "shared_lineage"),
        ("bat_resnext26ts.ch_in1k", "resnet50.a1_in1k", "architecture"),
    ],
)
def test_categories_of_well_known_pairs(a: str, b: str, expected: str) -> None:
    assert category(a, told(a), None, b, told(b), None) == expected
    assert category(b, told(b), None, a, told(a), None) == expected


def test_no_two_published_tags_pass_for_reinitialisations() -> None:
    alike: dict[tuple[str | None, ...], list[str]] = defaultdict(list)
    for name, one in TOLD.items():
        columns = one.training
        alike[columns.dataset, columns.framework, columns.architecture, columns.hyper_parameters].append(name)
    pairs = [(a, b) for names in alike.values() for a in names for b in names if a < b]
    assert [(a, b) for a, b in pairs if category(a, told(a), None, b, told(b), None) == "reinit"] == []


def test_enough_parents_and_teachers_of_in1k_tags() -> None:
    assert len([name for name in IN1K if told(name).parent is not None]) >= 325
    assert len([name for name in IN1K if told(name).teacher is not None]) >= 97
    assert len([name for name in IN1K if told(name).framework == "distilled"]) >= 97


def test_every_tag_of_several_stages_has_a_parent_that_none_stems_beyond() -> None:
    staged = [name for name in PUBLISHED if "_ft_" in name]
    assert [name for name in staged if told(name).parent is None] == []
    for name, one in TOLD.items():
        parent = one.training.parent
        assert parent != name
        if parent in TOLD:
            assert told(str(parent)).parent is None, name


def test_teachers_are_published_or_told_to_be_private() -> None:
    teachers = {one.training.teacher for one in TOLD.values()} - {None}
    assert teachers - set(PUBLISHED) == {"vit_large_patch14_clip.openai_ft_in22k"}


HEAD = 'name = "s"\n[data.val]\nshards = "x.tar"\nclasses = 1000\n'


def resolved(folder: Path, text: str) -> dict[str, Candidate]:
    (folder / "study.toml").write_text(HEAD + text)
    candidates, rejected = resolve(load_study(folder / "study.toml"), 1000)
    assert rejected == []
    return {one.id: one for one in candidates}


def test_a_query_brings_training_columns(tmp_path: Path) -> None:
    found = resolved(tmp_path, '[[zoo]]\nsource = "timm"\nselect = ["resnet50.*_in1k"]\n')
    assert len(found) > 15
    for name, candidate in found.items():
        assert candidate.training == told(name)


def test_a_column_of_the_study_wins_and_the_others_are_derived(tmp_path: Path) -> None:
    text = '[[checkpoint]]\nid = "a"\nsource = "timm:resnet50.a1_in1k"\ntraining = { framework = "mine", seed = 3 }\n'
    (one,) = resolved(tmp_path, text).values()
    assert one.training == told("resnet50.a1_in1k").model_copy(update={"framework": "mine", "seed": "3"})


@pytest.mark.parametrize(
    "text",
    ['source = "timm:resnet50.a1_in1k"\nweights = "w.pth"', 'source = "timm:resnet50"'],
    ids=["someone's own weights", "no tag"],
)
def test_of_weights_that_no_tag_names_only_the_architecture_is_derived(text: str, tmp_path: Path) -> None:
    (one,) = resolved(tmp_path, f'[[checkpoint]]\nid = "a"\n{text}\n').values()
    assert one.training == Training(architecture="resnet50")


def test_parents_and_teachers_go_by_the_studys_names(tmp_path: Path) -> None:
    text = "".join(
        f'[[checkpoint]]\nid = "{called}"\nsource = "timm:{name}"\n'
        for called, name in [
            ("teacher", TEACHER),
            ("student", "deit_base_distilled_patch16_224.fb_in1k"),
            ("grown", "deit_base_distilled_patch16_384.fb_in1k"),
        ]
    )
    found = resolved(tmp_path, text)
    assert found["student"].training.teacher == "teacher"
    assert (found["grown"].training.parent, found["grown"].training.teacher) == ("student", "teacher")
