"""How a process behaves that is one of many on a CPU."""

from __future__ import annotations

import ctypes
from contextlib import suppress

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_LARGE = 1 << 30


def be_single_threaded() -> None:
    """Use one thread, and keep freed memory for the next batch.

    By default glibc gives large blocks back to the kernel when they are freed, and every forward pass pays for fresh
    pages again: half of the time of small networks, where it was measured.
    """
    torch.set_num_threads(1)
    with suppress(OSError, AttributeError):  # another C library has other ways
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        libc.mallopt(_M_TRIM_THRESHOLD, _LARGE)
