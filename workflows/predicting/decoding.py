"""What decodes on the workers of a fan-out: a task for a shard, on a CPU or, for decoder `nvjpeg`, with a GPU's help.

It says what went wrong instead of raising, so that the driver can tell a bad image from a store that fails and from a
node that cannot decode. No GPU is reserved for it, as the predictors have them all; Ray lets a task that asks for none
see those of its node.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from zlib import crc32

from overlap.errors import DataError, StoreError, StudyError
from overlap.images.decoding import decode
from overlap.images.shards import Shard
from overlap.zoo.decoders import NVJPEG
from overlap.zoo.preprocessing import Signature, from_signature
from workflows.nodes.cluster import Node, on
from workflows.nodes.remote import remote
from workflows.predicting.reports import Decoded
from workflows.predicting.worker import DEVICE
from workflows.scheduling.holdings import Decode

if TYPE_CHECKING:
    import torch

EACH_GPU = 2
"""Shards that a GPU decodes at a time: each is a process of its own, which takes memory from the predictors."""


def send(shard: Shard, wanted: Decode, node: Node, endpoint_url: str | None) -> tuple[Any, list[Any]]:
    """Have a node decode a shard; references to what it says, and to a uint8 batch for each signature."""
    options = decode_shard.options(
        num_returns=1 + len(wanted.signatures), num_cpus=cpus(node, wanted.signatures), scheduling_strategy=on(node)
    )
    said, *batches = options.remote(shard, wanted.signatures, endpoint_url)
    return said, batches


def cpus(node: Node, signatures: Iterable[Signature]) -> int:
    """CPUs that decoding a shard takes: one, or so many that a GPU has but `EACH_GPU` at a time."""
    return max(1, node.cpus // (EACH_GPU * max(1, int(node.gpus)))) if by_gpu(signatures) else 1


def by_gpu(signatures: Iterable[Signature]) -> bool:
    """Whether some of what is wanted is decoded by a GPU."""
    return any(from_signature(signature).decoder == NVJPEG for signature in signatures)


def decoding_gpu(shard: str) -> torch.device:
    """The GPU of this node that decodes a shard: none is reserved, as predictors have them all.

    Raises:
        StudyError: there is none, or it decodes no JPEGs.
    """
    import torch

    from overlap.images.hardware import ready

    mend = 'give every node a GPU that torch can use, or set decoder = "torchvision"'
    if os.environ.get(DEVICE) == "cpu" or not torch.cuda.is_available():
        raise StudyError(f'node {platform.node()} has no GPU for decoder = "nvjpeg"; {mend}')
    device = torch.device("cuda", crc32(shard.encode()) % torch.cuda.device_count())
    try:
        ready(device)
    except StudyError as error:
        raise StudyError(f"node {platform.node()}: {error}") from None
    return device


@remote(num_cpus=1, max_retries=3)
def decode_shard(shard: Shard, signatures: tuple[Signature, ...], endpoint_url: str | None) -> list[Any]:
    """Decode a shard; returns what to say, then one uint8 batch for each signature."""
    import torch

    from overlap.process import be_single_threaded

    be_single_threaded()
    nothing = [None] * len(signatures)
    try:
        device = decoding_gpu(shard.name) if by_gpu(signatures) else None
        batches = decode(shard, signatures, endpoint_url, device)
    except StudyError as error:
        return [Decoded(unfit=str(error)), *nothing]
    except torch.OutOfMemoryError:
        said = f"node {platform.node()}: its GPUs have no memory left to decode images"
        return [Decoded(unfit=f'{said}; set decoder = "torchvision", which decodes on CPUs'), *nothing]
    except torch.AcceleratorError:
        os._exit(1)  # the device is lost to this process: the task is tried again in another
    except DataError as error:
        return [Decoded(error=str(error)), *nothing]
    except StoreError as error:
        return [Decoded(store_error=str(error)), *nothing]
    return [Decoded(len(shard)), *(batches[signature] for signature in signatures)]
