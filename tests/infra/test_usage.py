"""What manifests, scripts and pages say about overlap is so: its verbs and options, its variables, its study keys."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from overlap.cli import main
from overlap.study import load_study
from tests.infra.rendering import ROOT

SAID = [
    path
    for folder in ("cluster", "infra")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file() and path.suffix not in (".tf", ".pyc", ".json") and ".terraform" not in path.parts
]
FOREIGN = re.compile(
    r"AWS_|RAY_|SLURM_|MLFLOW_|GF_|POSTGRES_|HF_HUB_OFFLINE$|OMP_NUM_THREADS$|HOME$|PATH$|TICK$|DO_NOT_TRACK$|PIP_|PYTHON"
)
OURS = {"OVERLAP_STUDY", "OVERLAP_CPUS_PER_WORKER", "OVERLAP_CPUS_OF_GPU_WORKER", "OVERLAP_HEAD_IP"}
"""Variables that compose.yaml and the Slurm script read themselves."""


def commands(path: Path) -> Iterator[list[str]]:
    """Every `overlap VERB ...` of a file, as words: in backticks, at the start of a line, or as a list in YAML."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for words in re.findall(r"\[overlap, ([^\]]*)\]", text):
        yield [word.strip().strip('"') for word in words.split(",")]
    for found in re.findall(r"(?:^\s*|`|entrypoint: |-- )overlap ([a-z-]+\b[^`\n;&#]*)", text, re.M):
        yield shlex.split(found.replace('"$@"', "study.toml"))


def mistake(words: list[str]) -> str | None:
    """What click says against a command; None where it takes it. A verb alone is only named."""
    verb = main.commands.get(words[0])
    if verb is None:
        return f"no verb {words[0]}"
    if len(words) == 1:
        return None
    try:
        verb.make_context(words[0], words[1:], resilient_parsing=False)
    except click.exceptions.Exit:
        return None
    except click.ClickException as error:
        return error.format_message()
    return None


def test_commands_exist_and_parse() -> None:
    found = [(path, words) for path in SAID for words in commands(path)]
    assert {words[0] for _, words in found} >= {"run"}
    wrong = {f"{path.relative_to(ROOT)}: overlap {shlex.join(words)}": mistake(words) for path, words in found}
    wrong = {said: why for said, why in wrong.items() if why}
    assert wrong == {}
    assert mistake(["run", "study.toml", "--adress", "auto"])
    assert mistake(["rnu", "study.toml"])


def test_entry_points_are_the_package_s() -> None:
    manifests = "\n".join(path.read_text(encoding="utf-8") for path in SAID if path.suffix == ".yaml")
    (entry,) = re.findall(r"entrypoint: (overlap .*)", manifests)
    assert mistake(shlex.split(entry)[1:]) is None
    assert shlex.split(entry)[1] == "run"


def test_variables_are_read_by_somebody() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "overlap").rglob("*.py"))
    code += "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflows").rglob("*.py"))
    seen = set()
    for path in SAID:
        text = path.read_text(encoding="utf-8")
        seen |= set(re.findall(r"\bOVERLAP_[A-Z_]+", text))
        if path.suffix == ".yaml":
            seen |= set(re.findall(r"name: ([A-Z][A-Z_]+)\b", text))
    assert {"OVERLAP_CACHE", "OVERLAP_CACHE_GIB"} <= seen
    for name in seen - OURS:
        assert FOREIGN.match(name) or f'"{name}"' in code, f"nobody reads {name}"


@pytest.mark.parametrize("path", [one for one in SAID if one.suffix == ".toml"], ids=lambda path: str(path.parent.name))
def test_studies_load(path: Path) -> None:
    assert load_study(path).name


def test_pages_name_files_that_are_there() -> None:
    for page in (ROOT / "cluster/README.md", ROOT / "infra/README.md"):
        text = page.read_text(encoding="utf-8")
        named = set(re.findall(r"\b(?:cluster|infra)/[\w./-]+\w", text))
        assert named
        for name in named:
            assert name == "infra/.env" or (ROOT / name).exists(), f"{page.name} names {name}"


def test_the_dashboard_is_one() -> None:
    dashboard = json.loads((ROOT / "infra/grafana/overlap.json").read_text(encoding="utf-8"))
    assert dashboard["panels"]
    assert dashboard["title"]
