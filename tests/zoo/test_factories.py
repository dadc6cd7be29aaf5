"""A factory's source: found without running it, and identified by its bytes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from overlap.errors import CheckpointError
from overlap.identity import digest
from overlap.zoo.factories import build, source_digest


@pytest.fixture(autouse=True)
def _own_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test imports is forgotten after it."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("fct_"):
            del sys.modules[name]


def test_the_file_is_digested_and_not_run(tmp_path: Path) -> None:
    text = "raise RuntimeError('was run')\n"
    (tmp_path / "fct_nets.py").write_text(text)
    assert source_digest("fct_nets:Net.build", str(tmp_path)) == digest(text.encode())
    assert "fct_nets" not in sys.modules
    (tmp_path / "fct_nets.py").write_text(text + "# changed\n")
    assert source_digest("fct_nets:Net.build", str(tmp_path)) != digest(text.encode())


def test_a_module_inside_a_package(tmp_path: Path) -> None:
    (tmp_path / "fct_package").mkdir()
    (tmp_path / "fct_package" / "__init__.py").write_text("")
    (tmp_path / "fct_package" / "nets.py").write_text("x = 1\n")
    assert source_digest("fct_package.nets:f", str(tmp_path)) == digest(b"x = 1\n")
    assert source_digest("fct_package:f", str(tmp_path)) == digest(b"")


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("fct_absent:f", "no module 'fct_absent'; put it beside the study file or install its package"),
        ("fct_absent.nets:f", "importing 'fct_absent.nets' failed: ModuleNotFoundError"),
        ("fct_broken.nets:f", "importing 'fct_broken.nets' failed: ZeroDivisionError"),
        ("fct_leaving.nets:f", "importing 'fct_leaving.nets' failed: SystemExit"),
        ("sys:f", "no module 'sys'"),
        ("a..b:f", "importing 'a..b' failed"),
    ],
)
def test_what_cannot_be_found_is_named(factory: str, said: str, tmp_path: Path) -> None:
    for name, text in (("fct_broken", "1 / 0\n"), ("fct_leaving", "import sys\nsys.exit(2)\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
        (tmp_path / name / "nets.py").write_text("")
    with pytest.raises(CheckpointError, match=f"^factory '{factory}': ") as caught:
        source_digest(factory, str(tmp_path))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_building_calls_with_the_arguments(tmp_path: Path) -> None:
    (tmp_path / "fct_linear.py").write_text("from torch import nn\n\nclass A:\n    make = staticmethod(nn.Linear)\n")
    module = build("fct_linear:A.make", {"in_features": 3, "out_features": 2}, str(tmp_path))
    assert tuple(module.weight.shape) == (2, 3)  # type: ignore[arg-type, union-attr]
    with pytest.raises(CheckpointError, match=r"factory 'fct_linear:A.make' raised TypeError: .*'width'"):
        build("fct_linear:A.make", {"width": 3}, str(tmp_path))


def test_the_search_path_comes_last_and_once(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("raise RuntimeError('shadows the standard library')\n")
    for _ in range(3):
        with pytest.raises(CheckpointError):
            source_digest("fct_nowhere:f", str(tmp_path))
    assert sys.path.count(str(tmp_path)) == 1
    assert sys.path[-1] == str(tmp_path)
