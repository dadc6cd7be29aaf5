"""From encoded images to uint8 batches: each is decoded once (by each decoder), then prepared for every signature."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from overlap.errors import DataError, gist
from overlap.images.hardware import Batch, decode_together, fatal
from overlap.images.shards import Shard, add_to_digest, read_samples
from overlap.zoo.decoders import NVJPEG, open_image
from overlap.zoo.preprocessing import Signature, from_signature

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


def decode(
    shard: Shard,
    signatures: Sequence[Signature],
    endpoint_url: str | None = None,
    device: torch.device | None = None,
) -> dict[Signature, NDArray[np.uint8]]:
    """Decode a shard once for several preprocessing signatures.

    Args:
        shard: where it is, and what it is known to hold.
        signatures: what is wanted.
        endpoint_url: of an S3 that is not Amazon's.
        device: what decodes for decoder `nvjpeg`; needed where one of the signatures has it.

    Returns:
        Per signature the pixels, uint8, shape (images, height, width, 3), rows in the shard's order.

    Raises:
        DataError: an image is corrupt, or the shard is no longer the one that was indexed.
        torch.OutOfMemoryError: the device cannot hold the images.
        torch.AcceleratorError: the device is lost.
    """
    prepared = {signature: from_signature(signature) for signature in signatures}
    transforms = {signature: preparation.transform() for signature, preparation in prepared.items()}
    decoders = {preparation.decoder for preparation in prepared.values()} - {NVJPEG}
    together = [signature for signature, preparation in prepared.items() if preparation.decoder == NVJPEG]
    batches = {
        signature: np.empty((len(shard), *preparation.input_size, 3), np.uint8)
        for signature, preparation in prepared.items()
    }
    waiting, places = Batch(), list[tuple[int, str]]()

    def place(row: int, key: str, images: dict[str, Any]) -> None:
        try:
            for signature, transform in transforms.items():
                if (decoder := prepared[signature].decoder) in images:
                    batches[signature][row] = transform(images[decoder])
        except fatal():
            raise
        except Exception as error:
            raise _corrupt(shard, key, error) from None

    def decode_waiting() -> None:
        assert device is not None, "nvjpeg needs a device"
        for (row, key), image in zip(places, decode_together(waiting.images, device), strict=True):
            if isinstance(image, Exception):
                raise _corrupt(shard, key, image)
            place(row, key, {NVJPEG: image})
        places.clear()

    running = hashlib.sha256()
    rows = 0
    for row, sample in enumerate(read_samples(shard.uri, endpoint_url, shard.limit)):
        add_to_digest(running, sample)
        rows += 1
        if row >= len(shard):
            break
        try:
            images = {decoder: open_image(sample.image, decoder) for decoder in decoders}
        except MemoryError:
            raise
        except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and more for damaged bytes
            raise _corrupt(shard, sample.key, error) from None
        place(row, sample.key, images)
        if together:
            if not waiting.takes(sample.image):
                decode_waiting()
                waiting = Batch()
            waiting.add(sample.image)
            places.append((row, sample.key))
    if places:
        decode_waiting()
    if rows != len(shard) or running.hexdigest() != shard.digest:
        raise DataError(f"shard {shard.uri}: changed while the study ran (its digest differs); run again to plan anew")
    return batches


def _corrupt(shard: Shard, key: str, error: Exception) -> DataError:
    return DataError(
        f"shard {shard.uri}: image '{key}' is corrupt ({gist(error)}); mend the shard, "
        f"or name {shard.file} under allow_missing_shards"
    )
