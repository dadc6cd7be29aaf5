"""Environments of nodes that cannot do what the driver asks for."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.small_study import ROOT


def another_version(folder: Path) -> dict[str, str]:
    """Of a node with another version of overlap, which is made in a folder."""
    for package in ("overlap", "workflows"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    code = folder / "overlap" / "__init__.py"
    code.write_text(re.sub('__version__ = ".*"', '__version__ = "0.0.1"', code.read_text()))
    return {"PYTHONPATH": str(folder)}


def no_overlap(folder: Path) -> dict[str, str]:
    """Of a node that lacks it: whatever is installed, what is in the folder is found first, and lacks a module."""
    for package in ("overlap", "workflows"):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text("import overlap.absent\n")
    return {"PYTHONPATH": str(folder)}
