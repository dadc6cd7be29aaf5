"""Digests, canonical JSON, and what a fingerprint depends on and what not."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlap.identity import canonical_json, differences, digest, digest_file, digest_keys, fingerprint
from overlap.methodology import Training
from overlap.zoo.checkpoint import Architecture, Candidate, Checkpoint
from overlap.zoo.numeric import Numeric
from overlap.zoo.preprocessing import Preprocessing

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), plain, max_size=5))
def test_canonical_json_forgets_the_order_of_keys(value: dict[str, object]) -> None:
    backwards = dict(reversed(value.items()))
    try:
        first = canonical_json(value)
    except UnicodeEncodeError:  # a lone surrogate is no text
        return
    assert first == canonical_json(backwards)
    assert fingerprint(value) == digest(first)[:16]


def test_canonical_json_is_one_text() -> None:
    assert canonical_json({"b": [1, 2.5, None], "a": "é"}) == '{"a":"é","b":[1,2.5,null]}'.encode()
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="JSON compliant"):
            canonical_json({"x": bad})
    with pytest.raises(TypeError):
        canonical_json({"x": object()})


def test_digests_are_sha256(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(data)
    assert digest(data) == digest_file(tmp_path / "file") == hashlib.sha256(data).hexdigest()
    assert digest(memoryview(data)) == digest(data)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"))), st.data())
def test_key_digests_tell_orders_and_borders_apart(keys: list[str], data: st.DataObject) -> None:
    other = data.draw(st.permutations(keys))
    assert (digest_keys(keys) == digest_keys(other)) == (keys == other)
    assert digest_keys(["ab", "c"]) != digest_keys(["a", "bc"]) != digest_keys(["abc"])


CHECKPOINT = Checkpoint(
    Candidate(
        id="a",
        architecture=Architecture("timm", "resnet18", {"width": 4}),
        preprocessing=Preprocessing((224, 224)),
        numeric=Numeric(),
        classes=10,
        weights="/zoo/a.pth",
    ),
    weights_digest="1" * 64,
    weights_bytes=100,
)


def with_candidate(**changes: object) -> Checkpoint:
    return replace(CHECKPOINT, candidate=replace(CHECKPOINT.candidate, **changes))  # type: ignore[arg-type]


def with_preprocessing(**changes: object) -> Checkpoint:
    return with_candidate(preprocessing=replace(CHECKPOINT.preprocessing, **changes))  # type: ignore[arg-type]


def with_architecture(**changes: object) -> Checkpoint:
    return with_candidate(architecture=replace(CHECKPOINT.candidate.architecture, **changes))  # type: ignore[arg-type]


OTHERS = {
    "weights": replace(CHECKPOINT, weights_digest="2" * 64),
    "classes": with_candidate(classes=11),
    "architecture.source": with_architecture(source="torchvision"),
    "architecture.name": with_architecture(name="resnet34"),
    "architecture.arguments.width": with_architecture(arguments={"width": 5}),
    "architecture.source_digest": with_architecture(source_digest="f" * 64),
    "preprocessing.input_size": with_preprocessing(input_size=(224, 225)),
    "preprocessing.crop_pct": with_preprocessing(crop_pct=0.9),
    "preprocessing.crop_mode": with_preprocessing(crop_mode="squash"),
    "preprocessing.fill": with_preprocessing(fill=(1, 2, 3)),
    "preprocessing.resize": with_preprocessing(resize=256),
    "preprocessing.interpolation": with_preprocessing(interpolation="bilinear"),
    "preprocessing.decoder": with_preprocessing(decoder="other"),
    "preprocessing.mean": with_preprocessing(mean=(0.5, 0.5, 0.5)),
    "preprocessing.std": with_preprocessing(std=(0.5, 0.5, 0.5)),
    "numeric.dtype": with_candidate(numeric=Numeric("bfloat16")),
    "numeric.tf32": with_candidate(numeric=Numeric(tf32=True)),
    "output": with_candidate(features="classifier"),
    "numeric.autocast": with_candidate(numeric=Numeric(autocast=True)),
    "numeric.compiled": with_candidate(numeric=Numeric(compiled=True)),
}


def fields(identity: dict[str, object], prefix: str = "") -> set[str]:
    """Every field of an identity, dotted."""
    found: set[str] = set()
    for name, value in identity.items():
        found |= fields(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name}
    return found


@pytest.mark.parametrize("field", OTHERS)
def test_each_field_changes_the_fingerprint_and_is_named(field: str) -> None:
    other = OTHERS[field]
    assert other.fingerprint != CHECKPOINT.fingerprint
    assert [name for name, _, _ in differences(CHECKPOINT.identity(), other.identity())] == [field]


def test_no_field_of_an_identity_is_left_untested() -> None:
    assert fields(CHECKPOINT.identity()) - set(OTHERS) == {"schema"}
    assert len({other.fingerprint for other in OTHERS.values()}) == len(OTHERS)


def test_features_of_another_layer_are_another_output() -> None:
    outputs = [with_candidate(features=layer).identity()["output"] for layer in (None, "classifier", "head.3")]
    assert outputs == ["logits", "logits+features", "logits+features(head.3)"]


def test_what_says_where_or_who_is_not_in_it() -> None:
    for other in (
        with_candidate(id="b"),
        with_candidate(weights="s3://elsewhere/a.pth"),
        with_candidate(allow_pickle=True),
        with_candidate(training=Training(dataset="in1k")),
        with_candidate(published_top1=80.0),
        with_architecture(search_path="/home/else"),
        replace(CHECKPOINT, weights_bytes=7),
    ):
        assert other.fingerprint == CHECKPOINT.fingerprint
    assert not {"batch_size", "device", "version", "git"} & fields(CHECKPOINT.identity())


def test_numeric_modes() -> None:
    assert Numeric.of("float32") == Numeric()
    assert Numeric.of("float32").exact
    assert Numeric.of("tf32") == Numeric("float32", tf32=True)
    assert Numeric.of("bfloat16") == Numeric("bfloat16", autocast=True)
    assert not any(Numeric.of(name).exact for name in ("tf32", "bfloat16", "float16"))


def test_differences_are_told_by_dotted_name() -> None:
    old = {"a": 1, "b": {"c": 2, "d": 3}, "gone": 0}
    new = {"a": 1, "b": {"c": 4, "d": 3}, "new": [1]}
    assert differences(old, new) == [("b.c", 2, 4), ("gone", 0, None), ("new", None, [1])]
    assert differences(old, old) == []
