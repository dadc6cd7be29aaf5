"""The checkpoint that is wanted next: the same bits, one at a time, within the memory there is, and silent."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from overlap import inference
from overlap.ahead import Ahead
from overlap.errors import CheckpointError, OverlapError
from overlap.inference import Predictor
from overlap.store import Location, Objects, layout, open_objects
from overlap.zoo.checkpoint import Checkpoint
from overlap.zoo.preprocessing import Preprocessing
from tests.candidates import factory_candidate, saved, staged, timm_candidate, timm_module

NETS = """
import threading
from torch import nn

BUILT = []


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(192, 10)

    def forward(self, images):
        return self.head(images.flatten(1))


def build():
    BUILT.append(threading.current_thread())
    return Net()


def leave():
    raise SystemExit(3)
"""
ROOMY = 1 << 30


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return open_objects(Location(str(tmp_path / "store")))


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "ahead_nets.py").write_text(NETS)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("ahead_nets", None)


def library(tmp_path: Path, objects: Objects, seed: int = 0, name: str = "test_resnet") -> Checkpoint:
    path = saved(timm_module(name, seed=seed), tmp_path / f"{name}-{seed}.safetensors")
    size = 160 if name == "test_vit" else 32
    return staged(timm_candidate(name, path, id=f"net-{seed}", preprocessing=Preprocessing((size, size))), objects)


def factory(nets: Path, objects: Objects, build: str = "build", **changes: Any) -> Checkpoint:
    generator = torch.Generator().manual_seed(5)
    state = {"head.weight": torch.randn((10, 192), generator=generator), "head.bias": torch.zeros(10)}
    save_file(state, nets / "mine.safetensors")
    candidate = factory_candidate(nets, f"ahead_nets:{build}", nets / "mine.safetensors", classes=10, **changes)
    return staged(candidate, objects)


def noise(checkpoint: Checkpoint, images: int = 5) -> np.ndarray[Any, np.dtype[np.uint8]]:
    height, width = checkpoint.preprocessing.input_size
    return np.random.default_rng(1).integers(0, 256, (images, height, width, 3), np.uint8)


def logits(predictor: Predictor, checkpoint: Checkpoint) -> bytes:
    return predictor.predict(checkpoint, noise(checkpoint), 4).logits.tobytes()


def beside(call: Callable[[], None]) -> None:
    """Run something in a second thread, to its end."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert failures == []


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of what was built, in order; two at once fail."""
    found: list[str] = []
    alone = threading.Lock()
    load = inference.load

    def counted(candidate: Any, weights: Any) -> Any:
        assert alone.acquire(blocking=False), "two at once"
        try:
            found.append(candidate.id)
            return load(candidate, weights)
        finally:
            alone.release()

    monkeypatch.setattr(inference, "load", counted)
    return found


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet"])
def test_a_module_that_was_brought_gives_the_same_bits(
    name: str, tmp_path: Path, objects: Objects, loads: list[str]
) -> None:
    checkpoint = library(tmp_path, objects, name=name)
    expected = logits(Predictor(objects, "cpu", ROOMY), checkpoint)
    predictor = Predictor(objects, "cpu", ROOMY)
    loads.clear()
    beside(lambda: predictor.ahead.bring(checkpoint))
    assert loads == ["net-0"]
    assert predictor.ahead.fingerprint == checkpoint.fingerprint
    assert predictor.resident == ()
    objects.delete([layout.weights(checkpoint.weights_digest)])  # nothing is read again
    assert logits(predictor, checkpoint) == expected
    assert loads == ["net-0"]
    assert predictor.resident == (checkpoint.fingerprint,)
    assert predictor.ahead.fingerprint is None
    beside(lambda: predictor.ahead.bring(checkpoint))
    assert predictor.ahead.fingerprint is None, "it is resident"


def test_of_a_factory_the_tensors_are_read_and_its_code_runs_in_its_turn(nets: Path, objects: Objects) -> None:
    checkpoint = factory(nets, objects)
    expected = logits(Predictor(objects, "cpu", ROOMY), checkpoint)
    import ahead_nets  # type: ignore[import-not-found]

    ahead_nets.BUILT.clear()
    predictor = Predictor(objects, "cpu", ROOMY)
    beside(lambda: predictor.ahead.bring(checkpoint))
    assert predictor.ahead.fingerprint == checkpoint.fingerprint
    assert ahead_nets.BUILT == []
    objects.delete([layout.weights(checkpoint.weights_digest)])
    assert logits(predictor, checkpoint) == expected
    (builder,) = ahead_nets.BUILT
    assert builder is threading.main_thread()


def test_a_pickle_waits_for_its_turn(tmp_path: Path, objects: Objects, loads: list[str]) -> None:
    torch.save(timm_module("test_resnet").state_dict(), tmp_path / "w.pth")
    candidate = timm_candidate("test_resnet", tmp_path / "w.pth", preprocessing=Preprocessing((32, 32)))
    trusted = staged(replace(candidate, allow_pickle=True), objects)
    predictor = Predictor(objects, "cpu", ROOMY)
    beside(lambda: predictor.ahead.bring(trusted))
    assert predictor.ahead.fingerprint is None
    assert loads == []
    logits(predictor, trusted)


def _lost(checkpoint: Checkpoint, objects: Objects) -> Checkpoint:
    objects.delete([layout.weights(checkpoint.weights_digest)])
    return checkpoint


def _misfit(checkpoint: Checkpoint, objects: Objects) -> Checkpoint:
    return replace(checkpoint, candidate=replace(checkpoint.candidate, classes=11))


def _unknown(checkpoint: Checkpoint, objects: Objects) -> Checkpoint:
    architecture = replace(checkpoint.candidate.architecture, arguments={"no_such": 1})
    return replace(checkpoint, candidate=replace(checkpoint.candidate, architecture=architecture))


@pytest.mark.parametrize("spoil", [_lost, _misfit, _unknown])
def test_what_is_wrong_is_said_where_it_is_asked_for(
    spoil: Callable[[Checkpoint, Objects], Checkpoint], tmp_path: Path, objects: Objects
) -> None:
    spoilt, sound = spoil(library(tmp_path, objects), objects), library(tmp_path, objects, 1)
    with pytest.raises(OverlapError) as expected:
        logits(Predictor(objects, "cpu", ROOMY), spoilt)
    predictor = Predictor(objects, "cpu", ROOMY)
    beside(lambda: predictor.ahead.bring(spoilt))
    assert predictor.ahead.fingerprint is None
    logits(predictor, sound)
    with pytest.raises(type(expected.value)) as found:
        logits(predictor, spoilt)
    assert str(found.value) == str(expected.value)


def test_a_factory_that_leaves_is_its_checkpoints_fault(nets: Path, objects: Objects) -> None:
    checkpoint = factory(nets, objects, "leave")
    predictor = Predictor(objects, "cpu", ROOMY)
    beside(lambda: predictor.ahead.bring(checkpoint))
    with pytest.raises(CheckpointError, match="factory 'ahead_nets:leave' raised"):
        logits(predictor, checkpoint)


def test_whatever_a_library_raises_stays_in_its_thread(
    tmp_path: Path, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, predictor = library(tmp_path, objects), Predictor(objects, "cpu", ROOMY)
    load = inference.load
    for error in (SystemExit(2), MemoryError(), RuntimeError("anything")):
        monkeypatch.setattr(inference, "load", _raising(error))
        beside(lambda: predictor.ahead.bring(checkpoint))
        assert predictor.ahead.fingerprint is None
    monkeypatch.setattr(inference, "load", load)
    assert logits(predictor, checkpoint) == logits(Predictor(objects, "cpu", ROOMY), checkpoint)


def _raising(error: BaseException) -> Callable[..., Any]:
    def load(candidate: Any, weights: Any) -> Any:
        raise error

    return load


def test_what_is_not_asked_for_goes(tmp_path: Path, objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = [library(tmp_path, objects, seed) for seed in range(2)]
    alive: dict[str, weakref.ref[Any]] = {}
    load = inference.load

    def watched(candidate: Any, weights: Any) -> Any:
        module = load(candidate, weights)
        alive[candidate.id] = weakref.ref(module)
        return module

    monkeypatch.setattr(inference, "load", watched)
    predictor = Predictor(objects, "cpu", ROOMY)
    for checkpoint in checkpoints:
        beside(lambda checkpoint=checkpoint: predictor.ahead.bring(checkpoint))  # type: ignore[misc]
    assert predictor.ahead.fingerprint == checkpoints[1].fingerprint
    gc.collect()
    assert alive["net-0"]() is None
    assert alive["net-1"]() is not None
    predictor.ahead.forget()
    assert predictor.ahead.fingerprint is None
    gc.collect()
    assert alive["net-1"]() is None


def test_who_asks_for_what_is_coming_waits(
    tmp_path: Path, objects: Objects, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = library(tmp_path, objects)
    expected = logits(Predictor(objects, "cpu", ROOMY), checkpoint)
    predictor, begun, asked = Predictor(objects, "cpu", ROOMY), threading.Event(), threading.Event()
    load, turn = inference.load, Ahead.turn
    loads.clear()

    def slow(candidate: Any, weights: Any) -> Any:
        begun.set()
        assert asked.wait(60)
        return load(candidate, weights)

    def ask(ahead: Ahead, checkpoint: Checkpoint) -> Any:
        asked.set()
        return turn(ahead, checkpoint)

    monkeypatch.setattr(inference, "load", slow)
    monkeypatch.setattr(Ahead, "turn", ask)
    thread = threading.Thread(target=predictor.ahead.bring, args=(checkpoint,))
    thread.start()
    assert begun.wait(60)
    assert logits(predictor, checkpoint) == expected
    thread.join(60)
    assert loads == ["net-0"]
    assert predictor.ahead.fingerprint is None


def test_what_comes_late_is_not_built_again(tmp_path: Path, objects: Objects, loads: list[str]) -> None:
    checkpoint, other = (library(tmp_path, objects, seed) for seed in range(2))
    predictor = Predictor(objects, "cpu", 0)
    logits(predictor, checkpoint)
    beside(lambda: predictor.ahead.bring(checkpoint))
    assert loads == ["net-0"], "it has begun already"
    beside(lambda: predictor.ahead.bring(other))
    assert loads == ["net-0"], "nothing fits beside it"


def test_two_threads_that_bring_and_ask_at_random_change_nothing(
    tmp_path: Path, objects: Objects, loads: list[str]
) -> None:
    checkpoints = [library(tmp_path, objects, seed) for seed in range(6)]
    expected = [logits(Predictor(objects, "cpu", ROOMY), checkpoint) for checkpoint in checkpoints]
    size = _bytes_of(tmp_path / "test_resnet-0.safetensors")
    predictor, order, stop = Predictor(objects, "cpu", int(3.2 * size)), np.random.default_rng(0), threading.Event()
    asked, brought = order.integers(0, 6, 60), np.random.default_rng(1).integers(0, 6, 10_000)

    def bring() -> None:
        for turn in brought:
            if stop.is_set():
                return
            predictor.ahead.bring(checkpoints[turn])

    thread = threading.Thread(target=bring)
    thread.start()
    try:
        for turn in asked:
            assert logits(predictor, checkpoints[turn]) == expected[turn]
            assert len(predictor.resident) <= 3
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()
    held = {*predictor.resident, predictor.ahead.fingerprint} - {None}
    assert len(held) <= 3, "with what was brought, within the limit"


def _bytes_of(path: Path) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in load_file(path).values())


def test_on_a_cpu_it_counts_among_the_resident(tmp_path: Path, objects: Objects, loads: list[str]) -> None:
    a, b, c, d = (library(tmp_path, objects, seed) for seed in range(4))
    size = _bytes_of(tmp_path / "test_resnet-0.safetensors")
    predictor = Predictor(objects, "cpu", int(2.2 * size))
    logits(predictor, a)
    logits(predictor, b)
    predictor.ahead.bring(c)
    assert predictor.resident == (b.fingerprint,), "the one in use stays"
    assert predictor.ahead.fingerprint == c.fingerprint
    logits(predictor, d)
    assert predictor.resident == (d.fingerprint,), "what comes next stays too"
    logits(predictor, c)
    assert predictor.resident == (d.fingerprint, c.fingerprint)
    assert loads == ["net-0", "net-1", "net-2", "net-3"]
    tight = Predictor(objects, "cpu", int(1.5 * size))
    logits(tight, a)
    tight.ahead.bring(b)
    assert (tight.resident, tight.ahead.fingerprint) == ((a.fingerprint,), None)
    lone = Predictor(objects, "cpu", int(1.5 * size))
    lone.ahead.bring(a)
    assert lone.ahead.fingerprint == a.fingerprint
    logits(lone, b)
    assert (lone.resident, lone.ahead.fingerprint) == ((b.fingerprint,), None), "what is asked for goes before"


def test_it_is_weighed_as_float32(tmp_path: Path, objects: Objects) -> None:
    sound = library(tmp_path, objects)
    path = tmp_path / "test_resnet-0.safetensors"
    save_file({name: tensor.to(torch.bfloat16) for name, tensor in load_file(path).items()}, tmp_path / "half")
    half = staged(replace(sound.candidate, weights=str(tmp_path / "half")), objects)
    predictor = Predictor(objects, "cpu", int(1.7 * _bytes_of(path)))
    logits(predictor, sound)
    predictor.ahead.bring(half)
    assert predictor.resident == (sound.fingerprint,)
    assert predictor.ahead.fingerprint is None


def test_beside_a_device_with_memory_of_its_own_it_has_a_limit_of_its_own(tmp_path: Path, objects: Objects) -> None:
    checkpoint, resident = library(tmp_path, objects), library(tmp_path, objects, 1)
    size = _bytes_of(tmp_path / "test_resnet-0.safetensors")
    predictor = Predictor(objects, "cpu", 0)
    logits(predictor, resident)
    for limit, fits in ((int(0.9 * size), False), (int(1.1 * size), True)):
        ahead = Ahead(objects, predictor._built, predictor._resident, limit)
        ahead.bring(checkpoint)
        assert (ahead.fingerprint == checkpoint.fingerprint) is fits
        assert predictor.resident == (resident.fingerprint,)
        ahead.make_room(size)
        assert predictor.resident == ()
        assert (ahead.fingerprint == checkpoint.fingerprint) is fits, "room on the device is not its room"
        logits(predictor, resident)
