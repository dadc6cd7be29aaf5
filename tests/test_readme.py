"""The study that the README shows loads as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from overlap.errors import StudyError
from overlap.study import load_study

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_the_study_loads(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets/my-net.pth").write_bytes(b"")
    (tmp_path / "real.json").write_text("[]")
    path = tmp_path / "study.toml"
    path.write_text(text)
    study = load_study(path)
    assert [entry.id for entry in study.checkpoint] == ["resnet50-a1", "my-net"]
    assert len(study.zoo) == 2
    path.write_text(text.replace("features = true", "feature = true"))
    with pytest.raises(StudyError, match=r"predict\.feature"):
        load_study(path)
