from __future__ import annotations

import tomllib
from collections import Counter
from itertools import combinations
from pathlib import Path

from overlap.demo.digits import TRAINING_SETS
from overlap.demo.recipes import ARCHITECTURES, HYPER_PARAMETERS, recipe, recipes
from overlap.demo.study_file import study_toml, write_study
from overlap.demo.training import FRAMEWORKS
from overlap.methodology import CATEGORIES, category
from overlap.study import load_study
from overlap.zoo.resolve import resolve


def test_all_five_categories_and_lineage_occur() -> None:
    zoo = recipes()
    assert len(zoo) >= 34
    counts = Counter(
        category(a.id, a.training(), a.id, b.id, b.training(), b.id) for a, b in combinations(zoo, 2)
    )  # ids stand in for the digests of weights: no two recipes give the same
    assert set(counts) == {*CATEGORIES, "shared_lineage"}
    assert min(counts[name] for name in CATEGORIES) >= 20


def test_ids_and_seeds_are_unique_and_every_axis_is_a_row_of_its_table() -> None:
    zoo = recipes()
    assert len({entry.id for entry in zoo}) == len({entry.seed for entry in zoo}) == len(zoo)
    for entry in zoo:
        assert entry.architecture in ARCHITECTURES
        assert entry.hyper_parameters in HYPER_PARAMETERS
        assert entry.framework in FRAMEWORKS
        assert entry.dataset in TRAINING_SETS


def test_what_a_recipe_needs_stands_before_it_and_fits() -> None:
    seen: set[str] = set()
    for entry in recipes():
        assert {*entry.needs} <= seen, entry.id
        seen.add(entry.id)
        assert (entry.teacher is not None) == (entry.framework == "distilled")
        for name in entry.needs:
            assert recipe(name).net.size == entry.net.size, "student and teacher see the same tensor"
        if entry.parent is not None:
            assert recipe(entry.parent).arguments() == entry.arguments()


def test_equal_columns_mean_equal_recipes_but_for_the_seed() -> None:
    groups: dict[tuple[str | None, ...], list[dict[str, object]]] = {}
    for entry in recipes():
        columns = entry.training()
        key = (columns.dataset, columns.framework, columns.architecture, columns.hyper_parameters)
        groups.setdefault(key, []).append(
            {name: value for name, value in entry.contents().items() if name not in ("id", "seed")}
        )
    assert all(group == [group[0]] * len(group) for group in groups.values())


def test_every_framework_but_supervised_uses_nets_of_our_own_and_so_does_dropout() -> None:
    for entry in recipes():
        if entry.framework != "supervised" or entry.hyper.dropout:
            assert entry.net.factory is not None


def test_the_study_file_says_what_the_recipes_say(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path))
    assert [entry.id for entry in study.checkpoint] == [entry.id for entry in recipes()]
    for entry, of in zip(study.checkpoint, recipes(), strict=True):
        assert entry.training == of.training()
        assert entry.weights == str(tmp_path / "weights" / f"{of.id}.safetensors")
    candidates, rejected = resolve(study, 10)
    assert not rejected
    for candidate, of in zip(candidates, recipes(), strict=True):
        assert candidate.architecture.arguments == of.arguments()
        assert candidate.preprocessing.input_size == (of.net.size, of.net.size)
        assert candidate.preprocessing.crop_pct == 1.0


def test_the_study_file_of_a_person_is_kept(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    assert tomllib.loads(study_toml()) == tomllib.loads(path.read_text())
    path.write_text('name = "mine"\n')
    assert write_study(tmp_path).read_text() == 'name = "mine"\n'
