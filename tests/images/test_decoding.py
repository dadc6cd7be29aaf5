"""Shards decoded: each image once, for every signature, as timm's and torchvision's own loaders would; or refused."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from timm.data import create_transform

from overlap.errors import DataError
from overlap.images.decoding import decode
from overlap.images.shards import Shard, index
from overlap.zoo.preprocessing import Preprocessing
from tests.images.shards import tar_bytes
from tests.photographs import encoded, odd_files, photographs

SMALL = Preprocessing((32, 32), crop_pct=0.9)
SQUASHED = Preprocessing((24, 40), crop_pct=1.0, crop_mode="squash", interpolation="bilinear")
BORDERED = Preprocessing((40, 24), crop_pct=1.0, crop_mode="border", fill=(10, 200, 30))
RESIZED = Preprocessing((32, 32), resize=48, interpolation="bilinear")


def shard_of(folder: Path, images: dict[str, bytes]) -> Shard:
    members = []
    for number, (name, data) in enumerate(images.items()):
        members += [(f"{name}.{'jpg' if data[:1] == bytes([0xFF]) else 'png'}", data), (f"{name}.cls", b"%d" % number)]
    (folder / "s.tar").write_bytes(tar_bytes(members))
    return index(str(folder / "s.tar"), len(images))


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_pixels_are_timms_for_every_signature_and_every_kind_of_file(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, odd_files())
    wanted = [SMALL, SQUASHED, BORDERED, RESIZED]
    found = decode(shard, [preprocessing.signature for preprocessing in wanted])
    assert list(found) == [preprocessing.signature for preprocessing in wanted]
    for preprocessing in wanted:
        pixels = found[preprocessing.signature]
        assert pixels.shape == (len(shard), *preprocessing.input_size, 3)
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
    for preprocessing in wanted[:3]:
        transform = create_transform(
            (3, *preprocessing.input_size),
            crop_pct=preprocessing.crop_pct,
            crop_mode=preprocessing.crop_mode,
            interpolation=preprocessing.interpolation,
            mean=tuple(value / 255 for value in preprocessing.fill or (0, 0, 0)),
            normalize=False,
        )
        for row, data in enumerate(odd_files().values()):
            with Image.open(io.BytesIO(data)) as opened:
                expected = transform(opened.convert("RGB")).permute(1, 2, 0).numpy()
            np.testing.assert_array_equal(found[preprocessing.signature][row], expected)


def test_each_image_is_decoded_once_whatever_the_signatures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = {f"k{number}": encoded(photographs()[number % 2].crop((0, 0, 60 + number, 50))) for number in range(5)}
    shard = shard_of(tmp_path, images)
    opened: Counter[bytes] = Counter()
    really_open = Image.open
    monkeypatch.setattr(Image, "open", lambda file: (opened.update([file.getvalue()]), really_open(file))[1])
    decode(shard, [SMALL.signature, SQUASHED.signature, BORDERED.signature])
    assert opened == Counter(images.values())


def test_a_smoke_run_decodes_the_leading_images_only(tmp_path: Path) -> None:
    images = {f"k{number}": encoded(photographs()[0].crop((number, 0, 80, 50))) for number in range(5)}
    whole = shard_of(tmp_path, images)
    part = index(whole.uri, 5, limit=2)
    assert (len(part), part.limit, part.digest == whole.digest) == (2, 2, False)
    pixels = decode(part, [SMALL.signature])[SMALL.signature]
    np.testing.assert_array_equal(pixels, decode(whole, [SMALL.signature])[SMALL.signature][:2])


def corrupt_images() -> dict[str, bytes]:
    photograph = encoded(photographs()[0].crop((0, 0, 200, 150)), quality=90)
    png = encoded(photographs()[1].crop((0, 0, 50, 40)), "PNG")
    huge = Image.new("1", (20000, 20000))
    return {
        "truncated jpeg": photograph[: len(photograph) // 2],
        "truncated png": png[: len(png) // 2],
        "broken png": png[:60] + bytes(200) + png[260:],
        "no image": b"<html>not found</html>",
        "empty": b"",
        "a bomb": encoded(huge, "PNG"),
    }


@pytest.mark.parametrize("kind", corrupt_images())
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_corrupt_image_is_named_with_its_shard_and_the_mend(kind: str, tmp_path: Path) -> None:
    shard = shard_of(tmp_path, {"good": encoded(photographs()[0]), "n01440764/bad": corrupt_images()[kind]})
    with pytest.raises(DataError) as caught:
        decode(shard, [SMALL.signature])
    message = str(caught.value)
    assert message.startswith(f"shard {tmp_path}/s.tar: image 'n01440764/bad' is corrupt (")
    assert message.endswith("); mend the shard, or name s.tar under allow_missing_shards")
    assert "\n" not in message


def test_an_image_that_no_border_can_save_is_named_too(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, {"line": encoded(photographs()[0].crop((0, 0, 640, 1)), "PNG")})
    with pytest.raises(DataError, match=r"image 'line' is corrupt \(ValueError: "):
        decode(shard, [BORDERED.signature])


@pytest.mark.parametrize("change", ["another image", "another key", "one more", "one less", "other labels"])
def test_a_shard_that_changes_under_a_run_is_noticed(change: str, tmp_path: Path) -> None:
    images = {f"k{number}": encoded(photographs()[0].crop((number, 0, 80, 50))) for number in range(3)}
    shard = shard_of(tmp_path, images)
    changed: dict[str, Any] = dict(images)
    if change == "another image":
        changed["k1"] = encoded(photographs()[1].crop((0, 0, 80, 50)))
    elif change == "another key":
        changed = {"k0": images["k0"], "kX": images["k1"], "k2": images["k2"]}
    elif change == "one more":
        changed["k3"] = images["k0"]
    elif change == "one less":
        del changed["k2"]
    else:
        members = [member for name, data in images.items() for member in ((f"{name}.jpg", data), (f"{name}.cls", b"0"))]
        (tmp_path / "s.tar").write_bytes(tar_bytes(members))
        assert decode(shard, [SMALL.signature])[SMALL.signature].shape[0] == 3, "labels are not in a shard's identity"
        return
    shard_of(tmp_path, changed)
    with pytest.raises(DataError, match=r"s.tar: changed while the study ran .its digest differs.; run again"):
        decode(shard, [SMALL.signature])
