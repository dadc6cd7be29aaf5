"""Thumbnails: the pictures that the models are given, small, the same every time, of every kind of file; or refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from overlap.errors import DataError
from overlap.images.shards import index
from overlap.images.thumbnails import SIDE, thumbnails
from tests.images.test_decoding import corrupt_images, shard_of
from tests.photographs import encoded, odd_files, photographs

CORRUPT = corrupt_images()


def opened(jpeg: bytes) -> Image.Image:
    assert jpeg[:3] == b"\xff\xd8\xff"
    image = Image.open(io.BytesIO(jpeg))
    image.load()
    return image


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_every_kind_of_file_is_shown_as_the_models_are_given_it(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, odd_files())
    found = thumbnails(shard, odd_files())
    assert list(found) == list(shard.keys)
    for name, jpeg in found.items():
        image = opened(jpeg)
        with Image.open(io.BytesIO(odd_files()[name])) as whole:
            full = whole.convert("RGB")
        wanted = full.copy()
        wanted.thumbnail((SIDE, SIDE))
        assert (image.mode, image.size, image.format) == ("RGB", wanted.size, "JPEG"), name
        assert max(image.size) == min(SIDE, max(full.size))
        difference = np.asarray(image, np.float64) - np.asarray(wanted, np.float64)
        assert np.sqrt((difference**2).mean()) < 13, name
        assert not image.getexif(), "nothing but pixels is kept"
        assert "comment" not in image.info
        assert len(jpeg) < 6000
    assert opened(found["exif-rotated"]).size[0] > opened(found["exif-rotated"]).size[1], "as decoding has it: unturned"
    assert thumbnails(shard, odd_files()) == found, "the same bytes"


def test_only_what_is_named_is_decoded_in_the_order_of_the_shard(tmp_path: Path) -> None:
    temple, flower = photographs()
    images = {"b": encoded(temple), "bad": b"no image", "a": encoded(flower, "PNG"), "line": encoded(flower)}
    shard = shard_of(tmp_path, images)
    found = thumbnails(shard, ["a", "b", "a"], side=20)
    assert list(found) == ["b", "a"]
    assert opened(found["a"]).size == (20, 13)
    assert thumbnails(shard, []) == {}
    assert thumbnails(shard, iter(["line"]))["line"]


def test_a_picture_of_one_line_stays_a_line(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, {"line": encoded(photographs()[0].crop((0, 0, 640, 1)), "PNG")})
    assert opened(thumbnails(shard, ["line"])["line"]).size == (SIDE, 1)


@pytest.mark.parametrize("kind", CORRUPT)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_corrupt_image_is_named_with_its_shard_and_the_mend(kind: str, tmp_path: Path) -> None:
    shard = shard_of(tmp_path, {"good": encoded(photographs()[0]), "n01440764/bad": CORRUPT[kind]})
    with pytest.raises(DataError) as caught:
        thumbnails(shard, shard.keys)
    message = str(caught.value)
    assert message.startswith(f"shard {tmp_path}/s.tar: image 'n01440764/bad' is corrupt (")
    assert message.endswith("); mend the shard, or name s.tar under allow_missing_shards")
    assert "\n" not in message


def test_a_shard_that_changed_is_noticed_and_a_part_is_a_part(tmp_path: Path) -> None:
    images = {f"k{number}": encoded(photographs()[0].crop((number, 0, 80, 50))) for number in range(3)}
    whole = shard_of(tmp_path, images)
    part = index(whole.uri, 3, limit=2)
    assert thumbnails(part, ["k1"]) == thumbnails(whole, ["k1"])
    shard_of(tmp_path, images | {"k2": encoded(photographs()[1].crop((0, 0, 80, 50)))})
    with pytest.raises(DataError, match=r"s.tar: changed while the study ran"):
        thumbnails(whole, ["k1"])


def test_what_a_shard_does_not_hold_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, {"k": encoded(photographs()[0])})
    with pytest.raises(ValueError, match=r"no image \['other'\]"):
        thumbnails(shard, ["k", "other"])
    with pytest.raises(ValueError, match="no side of 0 pixels"):
        thumbnails(shard, ["k"], side=0)
