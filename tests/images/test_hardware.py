"""Images decoded together, as a GPU does it, on a CPU: which are meant for one, and that none is lost or mistaken.

What nvJPEG itself makes of a photograph is compared where there is a GPU.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from overlap.errors import DataError, StudyError
from overlap.images import hardware
from overlap.images.decoding import decode
from overlap.images.hardware import Batch, decode_together, pixels_of, ready
from overlap.images.shards import Shard, index
from overlap.zoo.preprocessing import Preprocessing
from tests.images.shards import tar_bytes
from tests.photographs import encoded, odd_files, photographs

CPU = torch.device("cpu")
FOR_A_GPU = {"portrait", "wide", "odd size", "progressive", "exif-rotated"}
SEEN = Preprocessing((64, 48), crop_pct=0.9, decoder="torchvision")
BORDERED = Preprocessing((40, 24), crop_pct=1.0, crop_mode="border", fill=(10, 200, 30), decoder="torchvision")


def shard_of(folder: Path, images: dict[str, bytes]) -> Shard:
    members = [
        (f"{key}.{suffix}", data) for key, image in images.items() for suffix, data in (("jpg", image), ("cls", b"0"))
    ]
    (folder / "s.tar").write_bytes(tar_bytes(members))
    return index(str(folder / "s.tar"), 1)


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_what_is_meant_for_a_gpu_is_told_by_its_bytes() -> None:
    for name, data in odd_files().items():
        with Image.open(io.BytesIO(data)) as opened:
            expected = opened.width * opened.height if name in FOR_A_GPU else None
        assert pixels_of(data) == expected, name
    whole = encoded(photographs()[0], quality=90)
    assert pixels_of(whole) == 640 * 427
    assert pixels_of(whole + bytes(3)) == 640 * 427, "some cameras pad"
    assert pixels_of(encoded(photographs()[0], comment=b"\xff\xda\xff\xc0" * 9)) == 640 * 427, "comments are skipped"
    assert pixels_of(encoded(photographs()[0], quality=90, keep_rgb=True)) is None, "no YCbCr"
    frame = whole.index(b"\xff\xc0")
    for marker in (b"\xff\xc3", b"\xff\xc9"):  # lossless, arithmetic
        assert pixels_of(whole[:frame] + marker + whole[frame + 2 :]) is None
    for end in (0, 1, 2, 3, 20, frame + 3, frame + 8, len(whole) // 2, len(whole) - 1):
        assert pixels_of(whole[:end]) is None, "cut off"
        pixels_of(whole[:end] + b"\xff\xd9")  # whatever it says, it ends


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("together", [1, 3, 64])
def test_a_shard_of_every_kind_of_file(together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU the pixels are those of decoder torchvision, in their rows, however many are decoded at a time."""
    monkeypatch.setattr(hardware, "IMAGES", together)
    shard = shard_of(tmp_path, odd_files())
    for others in ([], [replace(SEEN, decoder="pillow"), SEEN]):
        wanted = [*others, *(replace(one, decoder="nvjpeg") for one in (SEEN, BORDERED))]
        found = decode(shard, [one.signature for one in wanted], device=CPU)
        assert list(found) == [one.signature for one in wanted]
        expected = decode(shard, [one.signature for one in (replace(SEEN, decoder="pillow"), SEEN, BORDERED)])
        for one in wanted:
            same = expected[(replace(one, decoder="torchvision") if one.decoder == "nvjpeg" else one).signature]
            np.testing.assert_array_equal(found[one.signature], same)


def test_batches_are_bounded_in_images_and_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(photographs()[0])
    monkeypatch.setattr(hardware, "PIXELS", 2 * 640 * 427)
    batch = Batch()
    taken = []
    for _ in range(3):
        taken.append(batch.takes(data))
        batch.add(data)
    assert taken == [True, True, False]
    monkeypatch.setattr(hardware, "PIXELS", 1)
    assert Batch().takes(data), "a large image is decoded alone"


@pytest.mark.parametrize("kind", ["bogus", "truncated", "no image"])
def test_an_image_that_is_refused_is_named_and_its_neighbours_are_not(kind: str, tmp_path: Path) -> None:
    good = encoded(photographs()[1])
    sampling = good.index(b"\xff\xc0") + 11
    bogus = good[:sampling] + b"\x55" + good[sampling + 1 :]
    assert pixels_of(bogus), "whole from outside: it is the decoder that refuses it"
    bad = {"bogus": bogus, "truncated": good[:-200], "no image": b"<html>not found</html>"}[kind]
    said = decode_together([good, bad, good], CPU)
    assert isinstance(said[1], Exception)
    for one in (said[0], said[2]):
        assert isinstance(one, torch.Tensor)
        assert one.shape == (3, 427, 640)
    shard = shard_of(tmp_path, {"a": good, "b": bad, "c": good})
    with pytest.raises(DataError, match=r"s.tar: image 'b' is corrupt \(.*\); mend the shard"):
        decode(shard, [replace(SEEN, decoder="nvjpeg").signature], device=CPU)


def test_a_device_that_decodes_nothing_is_told_before_the_first_image() -> None:
    ready(CPU)
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU that torch sees")
    with pytest.raises(StudyError, match=r"^cuda:0 decodes no JPEGs \(.*set decoder = \"torchvision\"$"):
        ready(torch.device("cuda", 0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="nvJPEG needs a GPU that torch sees")
@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_a_gpu_gives_nearly_the_same_pixels(tmp_path: Path) -> None:
    device = torch.device("cuda", 0)
    ready(device)
    shard = shard_of(tmp_path, odd_files())
    hard = replace(SEEN, decoder="nvjpeg").signature
    found = decode(shard, [hard], device=device)[hard]
    off = np.abs(found.astype(int) - decode(shard, [SEEN.signature])[SEEN.signature])
    assert off.mean() < 1.5
    assert np.array_equal(found, decode(shard, [hard], device=device)[hard])
