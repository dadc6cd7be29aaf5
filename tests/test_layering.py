"""The house's rules, held by the source itself and by what a fresh interpreter ends up importing."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = sorted(ROOT.glob("overlap/**/*.py"))
WORKFLOWS = sorted(ROOT.glob("workflows/**/*.py"))
ALL = [*LIBRARY, *WORKFLOWS]
LONGEST = 285
"""Lines; files are meant to have 50 to 250."""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path, *, typing: bool = False) -> Iterator[tuple[str, bool]]:
    """Modules that a file imports, and whether it does so inside a function; not those for types alone."""
    for_types = {
        id(inner)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for part in node.body
        for inner in ast.walk(part)
    }
    inside = {
        id(inner)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree_of(path)):
        if id(node) in for_types and not typing:
            continue
        is_nested = id(node) in inside
        if isinstance(node, ast.Import):
            yield from ((alias.name, is_nested) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name_of(path)}: relative import"
            yield from ((f"{node.module}.{alias.name}", is_nested) for alias in node.names)


def tops(path: Path) -> set[str]:
    return {module.partition(".")[0] for module, _ in imports(path, typing=True)}


def test_there_is_something_to_look_at() -> None:
    assert len(LIBRARY) > 60
    assert len(WORKFLOWS) > 8
    assert ("workflows.run.run", True) in set(imports(ROOT / "overlap/commands/running.py"))
    assert ("ray", False) in set(imports(ROOT / "workflows/nodes/cluster.py"))


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    for module, _ in imports(path, typing=True):
        assert module.partition(".")[0] != "ray", "only workflows/ knows Ray"
        if module.partition(".")[0] == "workflows":
            assert path.parent == ROOT / "overlap/commands", "only the command line reaches back"
    for module, nested in imports(path):
        assert module.partition(".")[0] != "workflows" or nested, "only inside its commands"


@pytest.mark.parametrize("path", sorted(ROOT.glob("overlap/analysis/**/*.py")), ids=name_of)
def test_analysis_knows_arrays_and_tables_only(path: Path) -> None:
    known = {"numpy", "scipy", "polars", "numba", "cma", "overlap", *sys.stdlib_module_names}
    assert tops(path) <= known
    for module, _ in imports(path, typing=True):
        assert not module.startswith("overlap") or module.startswith("overlap.analysis"), module


@pytest.mark.parametrize("path", [path for path in LIBRARY if path.parent.name == "store"], ids=name_of)
def test_the_store_knows_no_networks(path: Path) -> None:
    assert not tops(path) & {"torch", "timm", "torchvision", "mlflow", "matplotlib"}


@pytest.mark.parametrize("path", sorted(ROOT.glob("workflows/scheduling/*.py")), ids=name_of)
def test_scheduling_is_decided_without_ray(path: Path) -> None:
    assert "ray" not in tops(path)
    for module, _ in imports(path, typing=True):
        assert not module.startswith(("workflows.nodes", "workflows.predicting")), module


HEAVY = ("boto3", "matplotlib", "mlflow", "numba", "pandas", "polars", "ray", "sklearn", "timm", "torch", "torchvision")


def imported_by(code: str, *arguments: str) -> set[str]:
    """Heavy modules that are loaded after this ran in an interpreter of its own."""
    report = f"import sys; print('loaded:', *sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"import atexit\natexit.register(lambda: exec({report!r}))\n{code}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("loaded:")]
    return set(line.split()[1:])


def test_what_readers_import(tmp_path: Path) -> None:
    assert imported_by("import polars") == {"polars"}, "this is how one would be found"
    assert imported_by("import overlap") == set()
    assert imported_by("import overlap.store, overlap.store.ledger") <= {"boto3"}
    analysis = ", ".join(f"overlap.analysis.{path.stem}" for path in (ROOT / "overlap/analysis").glob("[a-z]*.py"))
    assert imported_by(f"import {analysis}") <= {"numba", "polars"}
    opening = "import sys, overlap\ntry:\n    overlap.open(sys.argv[1])\nexcept overlap.opened.StudyError:\n    pass"
    assert imported_by(opening, str(tmp_path)) <= {"polars"}
    assert imported_by("import overlap.study, overlap.methodology, overlap.identity") == set()


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"], ["import", "-h"]], ids=str)
def test_help_comes_at_once(arguments: list[str]) -> None:
    assert imported_by("from overlap.cli import main\nmain()", *arguments) == set()


def test_a_mistake_in_a_study_is_told_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("nmae = 1\n")
    code = "from overlap.cli import main\ntry:\n    main()\nexcept SystemExit as end:\n    assert end.code == 2"
    assert not imported_by(code, "status", str(tmp_path / "study.toml")) & {"ray", "torch", "mlflow", "timm"}


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_a_file_is_one_noun_of_readable_length(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"util|helper|manager|common|misc", path.stem), "named after what it is about"
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text)
    assert ast.get_docstring(tree_of(path)), "says what it guarantees"
    assert len(text.splitlines()) <= LONGEST
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef):
            assert [ast.unparse(part) for part in node.body] not in (["pass"], ["raise NotImplementedError"])


def test_the_driver_reads_as_a_story() -> None:
    assert len((ROOT / "workflows/run.py").read_text(encoding="utf-8").splitlines()) <= 150


def test_no_module_imports_another_in_a_circle() -> None:
    names = {name_of(path)[:-3].replace("/", ".").removesuffix(".__init__"): path for path in LIBRARY}
    needs = {
        name: {
            target
            for module, nested in imports(path)
            if not nested
            for target in (module, module.rpartition(".")[0])
            if target in names and target != name
        }
        for name, path in names.items()
    }
    packages = {name for name, path in names.items() if path.name == "__init__.py"}
    settled: set[str] = set()
    while ready := {name for name in needs if name not in settled and needs[name] - packages <= settled}:
        settled |= ready
    assert set(needs) - settled - packages == set()
