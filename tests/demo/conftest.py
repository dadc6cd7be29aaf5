from __future__ import annotations

from pathlib import Path

import pytest

from overlap.demo.data import prepare_data


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo's folder with its images; tests share what they train in it."""
    folder = tmp_path_factory.mktemp("demo")
    prepare_data(folder)
    return folder
