"""From encoded images to uint8 batches: each is decoded once (by each decoder), then prepared for every signature."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from overlap.errors import DataError, gist
from overlap.images.shards import Shard, add_to_digest, read_samples
from overlap.zoo.decoders import open_image
from overlap.zoo.preprocessing import Signature, from_signature

if TYPE_CHECKING:
    from numpy.typing import NDArray


def decode(
    shard: Shard, signatures: Sequence[Signature], endpoint_url: str | None = None
) -> dict[Signature, NDArray[np.uint8]]:
    """Decode a shard once for several preprocessing signatures.

    Returns:
        Per signature the pixels, uint8, shape (images, height, width, 3), rows in the shard's order.

    Raises:
        DataError: an image is corrupt, or the shard is no longer the one that was indexed.
    """
    prepared = {signature: from_signature(signature) for signature in signatures}
    transforms = {signature: preparation.transform() for signature, preparation in prepared.items()}
    decoders = {preparation.decoder for preparation in prepared.values()}
    batches = {
        signature: np.empty((len(shard), *preparation.input_size, 3), np.uint8)
        for signature, preparation in prepared.items()
    }
    running = hashlib.sha256()
    rows = 0
    for row, sample in enumerate(read_samples(shard.uri, endpoint_url, shard.limit)):
        add_to_digest(running, sample)
        rows += 1
        if row >= len(shard):
            break
        try:
            images = {decoder: open_image(sample.image, decoder) for decoder in decoders}
            for signature, transform in transforms.items():
                batches[signature][row] = transform(images[prepared[signature].decoder])
        except MemoryError:
            raise
        except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and more for damaged bytes
            raise DataError(
                f"shard {shard.uri}: image '{sample.key}' is corrupt ({gist(error)}); mend the shard, "
                f"or name {shard.file} under allow_missing_shards"
            ) from None
    if rows != len(shard) or running.hexdigest() != shard.digest:
        raise DataError(f"shard {shard.uri}: changed while the study ran (its digest differs); run again to plan anew")
    return batches
