"""Batch sizes are remembered for a network on a device, in a store that may lose or damage them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from overlap.batch_sizes import BatchSizes
from overlap.errors import StoreError
from overlap.store import Location, Objects, open_objects
from overlap.zoo.checkpoint import Architecture, Candidate
from overlap.zoo.numeric import Numeric
from overlap.zoo.preprocessing import Preprocessing

GIB = 1 << 30


def candidate(name: str = "vit_base_patch16_224", side: int = 224, dtype: str = "float32") -> Candidate:
    return Candidate(
        id="a",
        architecture=Architecture("timm", name),
        preprocessing=Preprocessing((side, side)),
        numeric=Numeric.of(dtype),
        classes=1000,
        weights="w.pth",
    )


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return open_objects(Location(str(tmp_path / "store")))


def sizes(objects: Objects, device: str = "H100", memory: int = 80 * GIB) -> BatchSizes:
    return BatchSizes(objects, device, memory)


def test_a_size_is_remembered_by_later_processes_for_the_network_whatever_its_weights(objects: Objects) -> None:
    assert sizes(objects).recall(candidate()) is None
    sizes(objects).remember(candidate(), 32)
    sibling = replace(candidate(), id="b", weights="other.pth", preprocessing=Preprocessing((224, 224), mean=(0, 0, 0)))
    assert sizes(objects).recall(sibling) == 32


def test_another_network_input_mode_or_device_is_another_question(objects: Objects) -> None:
    sizes(objects).remember(candidate(), 32)
    for other in (candidate("vit_large_patch16_224"), candidate(side=384), candidate(dtype="bfloat16")):
        assert sizes(objects).recall(other) is None
    assert sizes(objects, device="A100").recall(candidate()) is None
    assert sizes(objects, memory=40 * GIB).recall(candidate()) is None


def test_a_smaller_size_replaces_a_larger_one_and_is_written_once(objects: Objects) -> None:
    remembered = sizes(objects)
    remembered.remember(candidate(), 32)
    remembered.remember(candidate(), 16)
    (key,) = (each.key for each in objects.list("memo/batch-size/"))
    before = objects.get(key)
    objects.put(key, b"damaged")
    remembered.remember(candidate(), 16)
    assert objects.get(key) == b"damaged", "known already: nothing is asked and nothing is written"
    assert sizes(objects).recall(candidate()) is None, "what is damaged is found out again"
    objects.put(key, before)
    assert sizes(objects).recall(candidate()) == 16


def test_a_store_that_fails_costs_only_the_memory(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreError("no answer")

    remembered = sizes(objects)
    monkeypatch.setattr(type(objects), "put", fail)
    monkeypatch.setattr(type(objects), "get", fail)
    assert remembered.recall(candidate()) is None
    remembered.remember(candidate(), 8)
    assert remembered.recall(candidate()) == 8
