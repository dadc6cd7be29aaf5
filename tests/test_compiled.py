"""Networks compiled: the answers of plain float32 but for its last bits, compiled once, let go of, refused in words."""

from __future__ import annotations

import shutil
import sys
import weakref
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch._dynamo
import torch._inductor.config
from torch import Tensor, nn
from torch._dynamo.utils import counters

from overlap.errors import CheckpointError
from overlap.inference import AUDIT, Inference, Predictor
from overlap.store import Location, Objects, open_objects
from overlap.study import load_study
from overlap.zoo.checkpoint import Checkpoint
from overlap.zoo.numeric import Numeric
from overlap.zoo.resolve import resolve
from tests.candidates import factory_candidate, saved, staged

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ on a CPU")
CLASSES, SIZE, BATCH = 5, 8, 8


@torch.library.custom_op("overlap_tests::at_most_three", mutates_args=())
def at_most_three(features: Tensor) -> Tensor:
    """Memory that runs out when the compiled code runs, not when it is made."""
    if len(features) > 3:
        raise torch.OutOfMemoryError("tried to allocate")
    return features.clone()


@at_most_three.register_fake
def _(features: Tensor) -> Tensor:
    return torch.empty_like(features)


class Net(nn.Module):
    """A perceptron that may do something which cannot be compiled, or is not to be."""

    def __init__(self, kind: str = "plain") -> None:
        super().__init__()
        self.kind = kind
        self.passes = 0
        self.middle = nn.Linear(3 * SIZE * SIZE, 64)
        self.head = nn.Linear(64, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        features = nn.functional.gelu(self.middle(images.flatten(1)))
        if self.kind == "tight":
            features = at_most_three(features)
        if self.kind == "undecided" and features.sum() > 0:
            features = features + 1
        if self.kind == "counts":
            self.passes += 1
            features = features * self.passes
        if self.kind == "other":
            features = torch.sin(features)
        if self.kind == "raises":
            raise RuntimeError("no good")
        return self.head(features)  # type: ignore[no-any-return]


NETS = """
from tests.test_compiled import Net

def build(kind="plain"):
    return Net(kind)
"""


@pytest.fixture(scope="module", autouse=True)
def _compiler_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        yield
    torch._dynamo.reset()


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return open_objects(Location(str(tmp_path / "store")))


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "compiled_nets.py").write_text(NETS)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("compiled_nets", None)


def net(
    nets: Path, objects: Objects, kind: str = "plain", *, compiled: bool = True, seed: int = 0, **changes: Any
) -> Checkpoint:
    torch.manual_seed(seed)
    candidate = factory_candidate(
        nets,
        "compiled_nets:build",
        saved(Net(), nets / f"{seed}.safetensors"),
        size=SIZE,
        classes=CLASSES,
        arguments={"kind": kind},
        id=kind,
        **changes,
    )
    return staged(replace(candidate, numeric=Numeric.of("float32", compiled=compiled)), objects)


def noise(images: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(1).integers(0, 256, (images, SIZE, SIZE, 3), np.uint8)


def graphs() -> int:
    """Graphs that were compiled in this process."""
    return counters["stats"]["unique_graphs"]


@needs_compiler
@pytest.mark.parametrize("features", [None, "classifier"])
def test_a_compiled_network_says_what_it_says_as_it_is(features: str | None, nets: Path, objects: Objects) -> None:
    predictor = Predictor(objects, "cpu", 1 << 30)
    plain, compiled = (net(nets, objects, compiled=each, features=features) for each in (False, True))
    assert plain.fingerprint != compiled.fingerprint
    expected = predictor.predict(plain, noise(AUDIT + 3), BATCH)
    before = graphs()
    found = predictor.predict(compiled, noise(AUDIT + 3), BATCH)
    assert graphs() == before + 1, "once, though the last batch is smaller"
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-5)
    assert expected.logits.std() > 0.05
    assert (expected.audit, found.audit) == ((), tuple(expected.logits[:AUDIT].astype(np.float16).argmax(1)))
    held = predictor._resident[compiled.fingerprint].compiled
    assert held is not None
    assert 0 < found.seconds < held.seconds, "compiling is not counted"
    few = predictor.predict(compiled, noise(3), BATCH)
    assert few.logits.tobytes() == found.logits[:3].tobytes(), "a row does not depend on those beside it"
    assert graphs() == before + 1, "nor after the audit, which is of the network as it is"
    if features is not None:
        for one, rows in ((found, slice(None)), (few, slice(3))):
            assert one.features is not None
            assert expected.features is not None
            np.testing.assert_allclose(one.features, expected.features[rows], atol=1e-5)


@needs_compiler
def test_hundreds_are_compiled_one_after_the_other_and_let_go(nets: Path, objects: Objects) -> None:
    """By limits as small as can be: each is the first of its code."""
    predictor = Predictor(objects, "cpu", 0)
    gone: list[weakref.ref[Any]] = []
    said: list[Inference] = []
    with torch._dynamo.config.patch(recompile_limit=1, accumulated_recompile_limit=1):
        for seed in range(4):
            checkpoint = net(nets, objects, seed=seed)
            assert all(one() is None for one in gone), "evicted, and nothing of the compiler holds it"
            said.append(predictor.predict(checkpoint, noise(4), BATCH))
            resident = predictor._resident[checkpoint.fingerprint]
            gone += [weakref.ref(resident.module), weakref.ref(resident.compiled), weakref.ref(resident.module.head)]
            del resident
            predictor._resident.leave()
    for seed, one in enumerate(said):
        expected = predictor.predict(net(nets, objects, seed=seed, compiled=False), noise(4), BATCH)
        np.testing.assert_allclose(one.logits, expected.logits, atol=1e-5)


@needs_compiler
def test_memory_that_runs_out_halves_the_batch(nets: Path, objects: Objects) -> None:
    predictor = Predictor(objects, "cpu", 1 << 30)
    expected = predictor.predict(net(nets, objects, compiled=False), noise(11), BATCH)
    found = predictor.predict(net(nets, objects, "tight"), noise(11), BATCH)
    assert found.batch_size == 2
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-5)


@needs_compiler
def test_what_cannot_be_compiled_is_refused_and_its_neighbours_go_on(nets: Path, objects: Objects) -> None:
    predictor = Predictor(objects, "cpu", 1 << 30)
    neighbour = net(nets, objects)
    first = predictor.predict(neighbour, noise(4), BATCH)
    mend = r"set compile = false beside its id \(or predict.compile = false\)$"
    for kind, why in {"undecided": ".*", "counts": "what it does changes from pass to pass"}.items():
        with pytest.raises(CheckpointError, match=rf"^checkpoint '{kind}' cannot be compiled on cpu \({why}\); {mend}"):
            predictor.predict(net(nets, objects, kind), noise(4), BATCH)
        predictor.predict(net(nets, objects, kind, compiled=False), noise(4), BATCH)
    with pytest.raises(CheckpointError, match=r"^checkpoint 'raises': forward raised RuntimeError: no good$"):
        predictor.predict(net(nets, objects, "raises"), noise(4), BATCH)
    with pytest.raises(CheckpointError, match=r"no penultimate features: it has no layer 'haed'"):
        predictor.predict(net(nets, objects, features="haed"), noise(4), BATCH)
    assert predictor.predict(neighbour, noise(4), BATCH).logits.tobytes() == first.logits.tobytes()


def test_without_a_compiler_it_is_said(nets: Path, objects: Objects) -> None:
    with (
        torch._inductor.config.patch({"cpp.cxx": ("no-compiler-of-this-name",)}),
        pytest.raises(CheckpointError, match=r"^checkpoint 'other' cannot be compiled on cpu \(.*[Cc]ompiler.*\); set"),
    ):
        Predictor(objects, "cpu", 1 << 30).predict(net(nets, objects, "other"), noise(4), BATCH)
    with (
        torch._dynamo.config.patch(disable=True),
        pytest.raises(
            CheckpointError, match=r"cannot be compiled on cpu \(.*(no compiled frames|switched off).*\); set"
        ),
    ):
        Predictor(objects, "cpu", 1 << 30).predict(net(nets, objects, "other"), noise(4), BATCH)


def test_a_study_chooses_for_all_and_for_one(tmp_path: Path) -> None:
    def candidates(predict: str, entry: str = "") -> dict[str, Any]:
        (tmp_path / "study.toml").write_text(
            f"""
            name = "x"
            [predict]
            {predict}
            [data.val]
            shards = "s.tar"
            classes = 1000
            [[checkpoint]]
            id = "a"
            source = "timm:resnet18"
            weights = "a.pth"
            [[checkpoint]]
            id = "b"
            source = "timm:resnet18"
            weights = "a.pth"
            {entry}
            """
        )
        found, rejected = resolve(load_study(tmp_path / "study.toml"), 1000)
        assert not rejected
        return {one.id: Checkpoint(one, "0" * 64, 1) for one in found}

    off, on = candidates(""), candidates("compile = true", "compile = false")
    assert on["b"].fingerprint == off["b"].fingerprint, "as ever, where it is off"
    assert off["a"].identity()["numeric"] == {"dtype": "float32", "tf32": False, "autocast": False}
    assert on["a"].identity()["numeric"] == {**off["a"].identity()["numeric"], "compiled": True}
    assert not Numeric.of("float32", compiled=True).exact
    assert asdict(Numeric.of("bfloat16", compiled=True))["compiled"]
