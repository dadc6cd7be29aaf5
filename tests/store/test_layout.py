from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlap.errors import StudyError
from overlap.store import layout
from overlap.store.folder import Folder
from overlap.store.objects import check_key

DIGEST = "0123456789abcdef" * 4
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,12}", fullmatch=True)
FINGERPRINTS = st.text("0123456789abcdef", min_size=16, max_size=16)
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)


def test_the_keys_of_the_contract() -> None:
    short = DIGEST[:16]
    assert (
        layout.predictions("val", "f" * 16, DIGEST, "a" * 64)
        == f"predictions/val/{'f' * 16}/{short}-{'a' * 16}.parquet"
    )
    assert layout.record("val", "f" * 16, DIGEST) == f"records/val/{'f' * 16}/{short}.json"
    assert layout.record("val", "f" * 16, short, 2) == f"records/val/{'f' * 16}/{short}.2.json"
    assert layout.failure("val", "resnet50.a1@x", DIGEST) == f"failures/val/resnet50.a1@x/{short}.json"
    assert layout.failure("val", "m") == "failures/val/m/checkpoint.json"
    assert layout.manifest("val", DIGEST, "f" * 16) == f"complete/val/{short}/{'f' * 16}/manifest.json"
    assert layout.hard("val", DIGEST, "f" * 16) == f"complete/val/{short}/{'f' * 16}/hard.parquet"
    assert layout.labels("val") == "labels/val.parquet"
    assert layout.labels("val", "real") == "labels/val@real.parquet"
    assert layout.identity("m", "f" * 16) == f"identities/m/{'f' * 16}.json"
    assert layout.results("val", "pairs.parquet") == "results/val/pairs.parquet"
    assert layout.results("val", "pairs.parquet", truth="real") == "results/val@real/pairs.parquet"
    assert layout.results("val", "pairs.parquet", inputs=DIGEST) == f"results/val/{short}/pairs.parquet"


@given(NAMES, FINGERPRINTS, DIGESTS, st.integers(0, 10**6))
def test_what_a_key_says_can_be_read_back(name: str, fingerprint: str, digest: str, generation: int) -> None:
    assert layout.parse_record(layout.record(name, fingerprint, digest, generation)) == (
        fingerprint,
        digest[:16],
        generation,
    )
    assert layout.parse_failure(layout.failure(name, name, digest)) == (name, digest[:16])
    assert layout.parse_failure(layout.failure(name, name)) == (name, None)
    assert layout.parse_manifest(layout.manifest(name, digest, fingerprint)) == (digest[:16], fingerprint)
    assert layout.parse_manifest(layout.hard(name, digest, fingerprint)) is None
    told = (digest[:16], fingerprint, digest[:16])
    assert layout.parse_answers(layout.answers(name, digest, fingerprint, digest, digest)) == told
    assert layout.parse_answers(layout.pairs(name, digest, digest)) is None


@given(NAMES, NAMES, NAMES, FINGERPRINTS, DIGESTS, DIGESTS)
def test_no_two_things_share_a_key_and_none_is_a_folder_of_another(
    data: str, truth: str, model: str, fingerprint: str, one: str, other: str
) -> None:
    keys = [
        layout.predictions(data, fingerprint, one, other),
        layout.record(data, fingerprint, one),
        layout.answers(data, one, fingerprint, other, one),
        layout.pairs(data, one, other),
        layout.record(data, fingerprint, one, 1),
        layout.failure(data, model, one),
        layout.failure(data, model),
        layout.manifest(data, one, fingerprint),
        layout.hard(data, one, fingerprint),
        layout.labels(data),
        layout.labels(data, truth),
        layout.identity(model, fingerprint),
        layout.weights(one),
        layout.shards(one),
        layout.memo("data", one),
        layout.imported(data, model),
        layout.imported_table(data, model, one),
        layout.snapshot(data),
        layout.results(data, "pairs.parquet"),
        layout.results(data, "pairs.parquet", truth),
        layout.results(data, "pairs.parquet", truth, one),
    ]
    assert all(check_key(key) == key for key in keys)
    assert not any(two == key or two.startswith(f"{key}/") for key, two in permutations(keys, 2))


@pytest.mark.parametrize("name", ["", ".a", "-a", "a/b", "a b", "ü", "../x", "a" * 201, "a\n"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(StudyError, match="model"):
        layout.failure("val", name or "\n")
    with pytest.raises(StudyError, match="data"):
        layout.labels(name)


def test_a_data_set_is_not_taken_for_a_truth() -> None:
    with pytest.raises(StudyError, match="data 'val@real'"):
        layout.labels("val@real")
    with pytest.raises(StudyError, match="data 'a@b'"):
        layout.labels("val", "a@b")


def test_a_shard_is_called_by_its_digest() -> None:
    assert layout.shard_name(DIGEST) == layout.shard_name(DIGEST[:16]) == DIGEST[:16]
    for wrong in ("", "abc", "val-000001.tar", DIGEST[:15]):
        with pytest.raises(ValueError, match="no digest"):
            layout.shard_name(wrong)


def test_foreign_keys_are_passed_over(tmp_path: Path) -> None:
    for key in [
        "records/val/f/notes.txt",
        "records/val/f/0123456789abcdef.01.json",
        "records/val/0123456789abcdef.json",
    ]:
        assert layout.parse_record(key) is None
        Folder(tmp_path).put(key, b"")
    assert layout.parse_failure("failures/val/m/other.json") is None
