"""Batches arrive whole and in order, whatever becomes of the array that they came from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from overlap.feeding import AHEAD, Feed

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]


@pytest.mark.parametrize("device", DEVICES)
def test_batches_are_those_that_were_given(device: str) -> None:
    feed = Feed(torch.device(device))
    pixels = np.random.default_rng(0).integers(0, 256, (4 * AHEAD + 1, 5, 16, 12, 3), dtype=np.uint8)
    overwritten = pixels.copy()
    sums, kept = [], []
    for number, batch in enumerate(overwritten):
        given = batch[: 1 + number % 5]
        brought = feed.bring(given)
        assert brought.device.type == device
        kept.append(brought)
        sums.append(brought.float().sum())  # on a GPU this runs while the next is on its way
        given[...] = 0
    for number, (brought, total) in enumerate(zip(kept, sums, strict=True)):
        expected = pixels[number, : 1 + number % 5]
        np.testing.assert_array_equal(brought.cpu().numpy(), expected)
        assert int(total) == int(expected.sum(dtype=np.int64))


def test_a_read_only_batch_may_be_written_to_where_it_arrives() -> None:
    pixels = np.zeros((2, 4, 4, 3), np.uint8)
    pixels.flags.writeable = False
    brought = Feed(torch.device("cpu")).bring(pixels)
    brought.add_(1)
    assert not pixels.any()
