"""From a study to candidates, and the reasons of those that are none; nothing is loaded and nobody is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm

from overlap.checkpoint_sections import ZooQuery
from overlap.errors import StudyError
from overlap.study import load_study
from overlap.zoo.checkpoint import Candidate, Rejected
from overlap.zoo.listing import listing
from overlap.zoo.numeric import Numeric
from overlap.zoo.queries import select
from overlap.zoo.resolve import resolve, resolve_for
from overlap.zoo.sources import source

HEAD = 'name = "s"\n[data.val]\nshards = "x.tar"\nclasses = 1000\n'


def resolved(folder: Path, text: str, classes: int = 1000) -> tuple[list[Candidate], list[Rejected]]:
    (folder / "study.toml").write_text(HEAD + text)
    return resolve(load_study(folder / "study.toml"), classes)


def entry(name: str, source: str, rest: str = "") -> str:
    return f'[[checkpoint]]\nid = "{name}"\nsource = "{source}"\n{rest}\n'


def rejection(folder: Path, text: str, classes: int = 1000) -> str:
    candidates, rejected = resolved(folder, text, classes)
    assert candidates == []
    (one,) = rejected
    assert "\n" not in one.reason
    return one.reason


def test_a_timm_checkpoint_with_its_own_weights(tmp_path: Path) -> None:
    (candidate,), rejected = resolved(tmp_path, entry("a", "timm:resnet50.a1_in1k", "published_top1 = 80.2"))
    assert rejected == []
    assert candidate.weights == "timm:resnet50.a1_in1k"
    assert candidate.preprocessing == source("timm").preprocessing("resnet50.a1_in1k")
    assert (candidate.preprocessing.input_size, candidate.preprocessing.crop_pct) == ((224, 224), 0.95)
    assert (candidate.numeric, candidate.classes, candidate.published_top1) == (Numeric(), 1000, 80.2)
    assert candidate.architecture.identity() == {
        "source": "timm",
        "name": "resnet50.a1_in1k",
        "arguments": {},
        "source_digest": None,
    }


def test_a_study_chooses_test_size_weights_and_precision(tmp_path: Path) -> None:
    text = (
        '[predict]\ndtype = "bfloat16"\n'
        + entry("a", "timm:resnet50", 'weights = "w.pth"\npreprocess = { input_size = 288, crop_pct = 1.0 }')
        + entry("b", "torchvision:resnet50", 'weights = "s3://zoo/w.pth"\narguments = { width_per_group = 32 }')
    )
    (a, b), _ = resolved(tmp_path, text, classes=7)
    assert (a.preprocessing.input_size, a.preprocessing.crop_pct) == ((288, 288), 1.0)
    assert a.weights == str(tmp_path / "w.pth")
    assert a.numeric == b.numeric == Numeric("bfloat16", autocast=True)
    assert (b.weights, b.classes, b.architecture.arguments) == ("s3://zoo/w.pth", 7, {"width_per_group": 32})


def test_a_factory_is_identified_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "rsl_nets.py").write_text("x = 1\n")
    text = '[[checkpoint]]\nid = "a"\nfactory = "rsl_nets:f"\nweights = "w"\npreprocess = { input_size = 8 }\n'
    (first,), _ = resolved(tmp_path, text)
    assert first.architecture.source_digest
    assert first.architecture.search_path == str(tmp_path)
    assert "search_path" not in first.architecture.identity()
    (tmp_path / "rsl_nets.py").write_text("x = 2\n")
    (second,), _ = resolved(tmp_path, text)
    assert second.architecture.source_digest != first.architecture.source_digest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (entry("a", "timm:resnet5O"), "timm has no model 'resnet5O'; nearest: resnet50"),
        (entry("a", "timm:resnet50.a1_in2k"), "timm has no model 'resnet50.a1_in2k'; nearest: resnet50.a1_in1k"),
        (entry("a", "torchvision:resnet51"), "torchvision has no model 'resnet51'; nearest: resnet50"),
        (entry("a", "torchvision:fcn_resnet50"), "torchvision's 'fcn_resnet50' is no image classifier"),
        (
            entry("a", "torch:resnet50"),
            "unknown source 'torch'; known sources: timm, torchvision, open_clip, or use factory",
        ),
        (entry("a", "resnet50"), "source 'resnet50' is not SOURCE:NAME, for instance timm:"),
        (entry("a", "timm:resnet50", "preprocess = { resize = 100 }"), "resized to 100, less than the crop"),
        ('[[checkpoint]]\nid = "a"\nfactory = "zzz_gone:f"\nweights = "w"\n', "no module 'zzz_gone'"),
        ('[[checkpoint]]\nid = "a"\nfactory = "json:loads"\nweights = "w"\n', "give preprocess.input_size"),
    ],
)
def test_rejections_name_the_mend(text: str, said: str, tmp_path: Path) -> None:
    assert said in rejection(tmp_path, text)


def test_own_weights_of_another_number_of_classes_are_not_even_asked_for(tmp_path: Path) -> None:
    for name in ("timm:resnet50.a1_in1k", "torchvision:resnet50"):
        said = rejection(tmp_path, entry("a", name), classes=10)
        assert f"the weights of {name} tell 1000 classes apart, the data has 10; give weights of your own" in said


def test_one_that_cannot_be_run_does_not_stop_the_others(tmp_path: Path) -> None:
    candidates, rejected = resolved(
        tmp_path, entry("a", "timm:resnet18") + entry("b", "timm:nothing") + entry("c", "timm:resnet34")
    )
    assert [one.id for one in candidates] == ["a", "c"]
    assert [one.id for one in rejected] == ["b"]


def test_a_query_expands_in_order_less_what_is_listed(tmp_path: Path) -> None:
    text = entry("resnet18.a2_in1k", "timm:resnet18.a2_in1k") + '[[zoo]]\nsource = "timm"\nselect = ["resnet18.*"]\n'
    candidates, rejected = resolved(tmp_path, text)
    names = [one.id for one in candidates]
    assert rejected == []
    assert names[0] == "resnet18.a2_in1k"
    assert names[1:] == sorted(names[1:])
    assert set(names) == {
        name for name in timm.list_pretrained("resnet18.*") if timm.get_pretrained_cfg(name).num_classes == 1000
    }
    assert all(one.weights == f"timm:{one.id}" for one in candidates)


def test_a_query_takes_only_models_of_the_datas_classes() -> None:
    mixed = timm.list_pretrained("vit_base_patch16_224.*")
    kinds = {name: timm.get_pretrained_cfg(name).num_classes for name in mixed}
    assert len(set(kinds.values())) > 1
    assert select(ZooQuery(source="timm", select=("vit_base_patch16_224.*",)), 1000) == sorted(
        name for name in mixed if kinds[name] == 1000
    )
    with pytest.raises(StudyError, match=r"zoo: none of the \d+ timm models that select 'resnet18.\*' matches has 7"):
        select(ZooQuery(source="timm", select=("resnet18.*",)), 7)
    with pytest.raises(StudyError, match=r"zoo: select 'resnet18a' matches no pretrained timm model; nearest: "):
        select(ZooQuery(source="timm", select=("resnet18a",)), 1000)


def test_the_whole_zoo_resolves_in_seconds(tmp_path: Path) -> None:
    candidates, rejected = resolved(tmp_path, '[[zoo]]\nsource = "timm"\nselect = ["*"]\n')
    assert rejected == []
    assert len(candidates) > 1200
    assert len({one.id for one in candidates}) == len(candidates)


def test_the_listing_holds_candidates_and_problems(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(HEAD + entry("b", "timm:resnet18") + entry("a", "timm:nothing"))
    table = listing(load_study(tmp_path / "study.toml"))
    assert table["model"].to_list() == ["a", "b"]
    assert table["problem"].to_list() == ["timm has no model 'nothing'", None]
    assert table["height"].to_list() == [None, 224]


ROLES = """
[data.train]
shards = "train.tar"
classes = 1000
[data.birds]
shards = "birds.tar"
classes = 20
role = "downstream"
[predict]
features = true
"""


def test_features_and_the_roles_of_data_sets(tmp_path: Path) -> None:
    named = entry("a", "timm:resnet18", 'weights = "a.pth"\nfeatures = "fc"')
    without = entry("b", "timm:resnet18", 'weights = "b.pth"\nfeatures = false')
    own = entry("c", "torchvision:resnet18")
    (tmp_path / "study.toml").write_text(HEAD + ROLES + named + without + own)
    study = load_study(tmp_path / "study.toml")
    found = {name: {one.id: one for one in resolve_for(study, name)[0]} for name in study.data}
    assert {one.id: one.features for one in found["val"].values()} == {"a": "fc", "b": None, "c": "classifier"}
    assert sorted(found["train"]) == sorted(found["birds"]) == ["a", "c"], "there is nothing to be had of the other"
    assert found["birds"]["c"] == found["val"]["c"], "the head is what it is, whatever the classes of the birds"
    assert all(resolve_for(study, name)[1] == [] for name in study.data)
    assert {one.features for one in resolved(tmp_path, named + own)[0]} == {None}, "unless the study stores features"


def test_heads_are_not_mapped_to_a_downstream_set(tmp_path: Path) -> None:
    head = HEAD.replace("classes = 1000", 'classes = 200\nclass_space = "imagenet-r"')
    roles = ROLES.replace("classes = 1000", 'classes = 200\nclass_space = "imagenet-r"')
    (tmp_path / "study.toml").write_text(head + roles + entry("a", "timm:resnet50.a1_in1k"))
    study = load_study(tmp_path / "study.toml")
    outputs = {name: resolve_for(study, name)[0][0].outputs for name in study.data}
    assert outputs == {"val": 200, "train": 200, "birds": 1000}


def test_the_zoo_is_listed_on_what_is_evaluated(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(
        'name = "s"\n' + ROLES + HEAD.removeprefix('name = "s"') + entry("a", "timm:resnet18", 'weights = "a.pth"')
    )
    assert listing(load_study(tmp_path / "study.toml"))["problem"].to_list() == [None]
