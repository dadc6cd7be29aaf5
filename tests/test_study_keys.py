"""Every key of a study is told, with what it means, and the schema takes whatever a study may say."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from overlap import study_keys
from overlap.cli import main
from overlap.sections import SECTIONS, Budgets
from overlap.study import Study

ROOT = Path(__file__).parents[1]
README = re.search(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
STUDIES = sorted(path for folder in ("cluster", "infra") for path in (ROOT / folder).rglob("*study*.toml"))


def complaints(document: dict[str, Any]) -> list[str]:
    return [error.message for error in Draft202012Validator(study_keys.schema()).iter_errors(document)]


@pytest.mark.parametrize("model", [Study, Budgets, *SECTIONS.values()], ids=lambda model: model.__name__)
def test_every_key_has_a_meaning(model: type) -> None:
    said = study_keys.meanings(model)
    for_a_table = {name for name in Study.model_fields if name != "name"} if model is Study else set()
    assert [name for name in model.model_fields if not said.get(name) and name not in for_a_table] == []


def test_every_key_of_every_table_is_told() -> None:
    text = "\n".join(study_keys.lines())
    for heading in (
        "[data.NAME]",
        "[predict]",
        "[ensembles.budgets]",
        "[[checkpoint]]",
        "[checkpoint.preprocess]",
        "[[zoo]]",
    ):
        assert re.search(rf"^{re.escape(heading)}  \w", text, re.M), heading
    for model in (Budgets, *SECTIONS.values()):
        for name, field in model.model_fields.items():
            if name not in ("budgets", "defaults", "preprocess", "training"):
                assert re.search(rf"^  {field.alias or name}( = .+)?  \(", text, re.M), f"{model.__name__}.{name}"


def test_what_is_told_of_a_key() -> None:
    lines = study_keys.lines("predict")
    assert '  dtype = "float32"  ("float32", "tf32", "bfloat16", "float16")' in lines
    assert "  batch_size  (whole number above 0)" in lines
    assert "      float32 has TF32 off; the others are opt-in and their noise floor is measured and stored." in lines
    assert "  shards  (needed: list of text or text)" in study_keys.lines("data")
    assert "  level = 0.99  (number above 0 and below 1)" in study_keys.lines("gate")


def test_the_schema_takes_what_a_study_may_say() -> None:
    assert README is not None
    assert complaints(tomllib.loads(README[1])) == []
    assert complaints({"name": "imported"}) == []
    assert complaints({"name": "x", "ensembles": {"anchors": "one"}, "notify": {"on": "news", "command": ["a"]}}) == []
    entry = {"id": "a", "source": "timm:resnet50", "training": {"seed": 0}, "preprocess": {"input_size": [3, 24, 24]}}
    assert complaints({"name": "x", "checkpoint": [entry]}) == []
    for path in STUDIES:
        assert complaints(tomllib.loads(path.read_text(encoding="utf-8"))) == [], path


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "'name' is a required property"),
        ({"name": "x", "path": "y"}, "'path' was unexpected"),
        ({"name": "x", "predict": {"dtpye": "float32"}}, "'dtpye' was unexpected"),
        ({"name": "x", "predict": {"dtype": "float64"}}, "'float64' is not one of"),
        ({"name": "x", "ensembles": {"objectives": "recall"}}, "'recall' is not valid under any"),
        ({"name": "x", "predict": {"batch_size": 0}}, "0 is not valid under any"),
    ],
)
def test_the_schema_refuses_mistakes(document: dict[str, Any], said: str) -> None:
    (complaint,) = complaints(document)
    assert said in complaint


def test_the_verb() -> None:
    told = CliRunner().invoke(main, ["keys", "retention"])
    assert (told.exit_code, told.output.splitlines()[0][:11]) == (0, "[retention]")
    assert '  grace = "24h"  (text)' in told.output.splitlines()
    wrong = CliRunner().invoke(main, ["keys", "retentoin"])
    assert wrong.exit_code == 2
    assert "a study has no table 'retentoin'; it has: data, store" in wrong.output


def test_the_verb_gives_the_schema() -> None:
    given = CliRunner().invoke(main, ["keys", "--json"])
    assert given.exit_code == 0
    assert json.loads(given.output) == study_keys.schema()
    Draft202012Validator.check_schema(study_keys.schema())
