"""One member is the study's own arithmetic: class maps, numeric modes and decoders, bit for bit."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from overlap.analysis.calibration import probabilities
from overlap.ensemble.description import Description, Held, Member, Standing, is_export, read, write
from overlap.ensemble.loading import network
from overlap.ensemble.module import Ensemble
from overlap.ensemble.programs import write_program
from overlap.identity import digest_file
from overlap.inference import Predictor
from overlap.store import layout
from overlap.store.folder import Folder
from overlap.zoo.checkpoint import Architecture, Candidate, Checkpoint
from overlap.zoo.class_spaces import ClassMap
from overlap.zoo.decoders import open_image
from overlap.zoo.factories import source_digest
from overlap.zoo.numeric import Numeric
from overlap.zoo.preprocessing import Preprocessing
from tests import small_nets

MAP = ClassMap("larger", 10, (3, -1, 9, 0))
PLAIN = Preprocessing(input_size=(9, 8), crop_pct=0.9, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))


def made(tmp_path: Path, **changed: Any) -> tuple[Checkpoint, Member]:
    """A checkpoint with its weights in a store, and the member that an export would make of it."""
    code = tmp_path / "factories"
    code.mkdir(exist_ok=True)
    shutil.copy(str(small_nets.__file__), code / "member_nets.py")
    torch.manual_seed(len(str(changed)))
    (tmp_path / "weights").mkdir(exist_ok=True)
    file = tmp_path / "weights" / "coming"
    save_file(small_nets.Net.build(8).state_dict(), file)
    held = digest_file(file)
    file.rename(tmp_path / "weights" / held)
    Folder(tmp_path / "store").put_file(layout.weights(held), tmp_path / "weights" / held)
    search = str(code)
    factory = "member_nets:Net.build"
    architecture = Architecture("factory", factory, {"width": 8}, source_digest(factory, search), search)
    candidate = replace(Candidate("net", architecture, PLAIN, Numeric(), 10, "net.safetensors"), **changed)
    checkpoint = Checkpoint(candidate, held, (tmp_path / "weights" / held).stat().st_size)
    source = code / "member_nets.py"
    member = Member(
        "net", checkpoint.fingerprint, 1.0, 1.7, replace(architecture, search_path=None), 10, candidate.class_map,
        candidate.preprocessing, candidate.numeric, candidate.features, held,
        Held(f"weights/{held}", held, checkpoint.weights_bytes),
        (Held("factories/member_nets.py", digest_file(source), source.stat().st_size),),
    )  # fmt: skip
    return checkpoint, member


def described(*members: Member) -> Description:
    shares = [replace(member, weight=1 / len(members)) for member in members]
    classes = members[0].candidate(Path()).outputs
    names = tuple(map(str, range(classes)))
    tested = Standing(None, None, None, None, None)
    return Description("s", "val", "greedy", len(members), "0" * 64, "1" * 64, classes, names, tuple(shares), tested)


def photographs(number: int = 5) -> list[bytes]:
    images = []
    for place in range(number):
        pixels = np.random.default_rng(place).integers(0, 256, (20 + place, 17, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "jpeg" if place % 2 else "png")
        images.append(buffer.getvalue())
    return images


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"class_map": MAP},
        {"features": "classifier"},
        {"numeric": Numeric.of("bfloat16")},
        {"numeric": Numeric.of("tf32"), "preprocessing": replace(PLAIN, decoder="torchvision")},
        {"preprocessing": replace(PLAIN, crop_mode="border", crop_pct=1.0, fill=(9, 8, 7), interpolation="bilinear")},
        {"preprocessing": replace(PLAIN, resize=12)},
    ],
    ids=["plain", "mapped", "with features", "bfloat16", "tensors", "border", "resize"],
)
def test_it_is_what_the_study_predicts(tmp_path: Path, changed: dict[str, Any]) -> None:
    checkpoint, member = made(tmp_path, **changed)
    images, preprocessing = photographs(), member.preprocessing
    transform = preprocessing.transform()
    pixels = np.stack([transform(open_image(image, preprocessing.decoder)) for image in images])
    logits = Predictor(Folder(tmp_path / "store"), "cpu", 0).predict(checkpoint, pixels).logits
    found = Ensemble(described(member), [network(member, tmp_path)]).predict(images)
    expected = probabilities(logits, np.full(len(images), member.temperature))
    assert found.shape == (5, len(MAP.columns) if "class_map" in changed else 10)
    assert np.abs(found - expected).max() < 1e-6
    assert np.ptp(found) > 0.01, "it says something"


def test_members_of_equal_pixels_share_them_and_weights_are_shares(tmp_path: Path) -> None:
    one = made(tmp_path)[1]
    other = made(tmp_path, preprocessing=replace(PLAIN, mean=(0.1, 0.1, 0.1)))[1]
    third = made(tmp_path, preprocessing=replace(PLAIN, input_size=(8, 8)))[1]
    whole = described(one, other, third)
    whole = replace(
        whole, members=tuple(replace(m, weight=w) for m, w in zip(whole.members, (0.5, 0.3, 0.2), strict=True))
    )
    ensemble = Ensemble(whole, [network(member, tmp_path) for member in whole.members])
    first, second, last = ensemble.prepare(photographs())
    assert first is second
    assert (first.shape, last.shape) == ((5, 3, 9, 8), (5, 3, 8, 8))
    alone = [
        Ensemble(described(member), [network(member, tmp_path)]).predict(photographs()) for member in whole.members
    ]
    mixed = sum(weight * said for weight, said in zip((0.5, 0.3, 0.2), alone, strict=True))
    assert np.abs(ensemble.predict(photographs(), batch_size=2) - mixed).max() < 1e-6
    assert ensemble.predict([]).shape == (0, 10)
    with pytest.raises(ValueError, match="2 batches for 3 members"):
        ensemble([first, last])
    assert not ensemble([first, second, last]).requires_grad


def test_a_program_says_the_same_and_what_has_none_says_why(tmp_path: Path) -> None:
    for changed in ({}, {"class_map": MAP}):
        member = made(tmp_path, **changed)[1]
        module = network(member, tmp_path)
        assert write_program(module, member, tmp_path / "a.pt2") is None
        pixels = torch.randint(0, 256, (7, 3, 9, 8)).float()
        assert torch.allclose(torch.export.load(tmp_path / "a.pt2").module()(pixels), module(pixels), atol=1e-6)
    reduced = made(tmp_path, numeric=Numeric.of("bfloat16"))[1]
    assert "bfloat16" in str(write_program(network(reduced, tmp_path), reduced, tmp_path / "b.pt2"))

    class Branching(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return pixels.flatten(1)[:, : 10 if pixels.mean() > 127 else 9].softmax(1)

    plain = made(tmp_path)[1]
    assert write_program(Branching(), plain, tmp_path / "b.pt2")
    assert not (tmp_path / "b.pt2").exists()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    whole = described(made(tmp_path)[1], made(tmp_path, class_map=MAP)[1])
    write(whole, tmp_path)
    assert read(tmp_path) == whole
    assert is_export(tmp_path)
    assert not is_export(tmp_path / "weights")
    turned = replace(whole, members=whole.members[::-1], search="other")
    assert turned.key == whole.key, "the order of members changes nothing"
    assert replace(whole, members=whole.members[:1]).key != whole.key
    assert replace(whole, dataset_digest="2" * 64).key != whole.key
