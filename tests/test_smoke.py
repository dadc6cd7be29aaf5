"""Names of what a smoke run takes of a data set."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from overlap import smoke
from overlap.study import load_study


@given(st.from_regex(r"[a-z]{1,4}", fullmatch=True), st.integers(1, 10**6))
def test_a_part_is_told_from_the_whole(data: str, images: int) -> None:
    assert smoke.is_part(smoke.part(data, images))
    assert smoke.whole(smoke.part(data, images)) == data
    assert not smoke.is_part(data)
    assert smoke.whole(data) == data


def test_a_data_set_that_is_only_called_like_a_part_is_itself(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text('name = "s"\n[data."val.first-half"]\nshards = "d"\nclasses = 2\n')
    (name,) = load_study(file).data
    assert not smoke.is_part(name)
    assert smoke.whole(name) == name
    assert smoke.whole(smoke.part(name, 10)) == name
