"""What the installed timm tells of its pretrained names: each question is put once a process, nothing is built."""

from __future__ import annotations

import gc
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from timm.models import PretrainedCfg


@cache
def published() -> tuple[str, ...]:
    """All names of pretrained weights, ARCHITECTURE.TAG, in timm's order."""
    return tuple(_timm().list_pretrained())


@cache
def is_published(name: str) -> bool:
    """Whether a name is one of pretrained weights."""
    return name in _names()


@cache
def config(name: str) -> PretrainedCfg | None:
    """The pretrained configuration of a name, of the default tag where it has none."""
    found: PretrainedCfg | None = _timm().get_pretrained_cfg(name, allow_unregistered=True)
    return found


def classes(name: str) -> int:
    """Number of classes that a name's own weights tell apart, 0 where they have no head."""
    found = config(name)
    return int(found.num_classes) if found is not None else 0


def licence(name: str) -> str | None:
    """The licence of a name's weights in lower case, as timm states it; None where it does not."""
    found = config(name)
    stated = str(found.license).lower() if found is not None and found.license else "unknown"
    return None if stated == "unknown" else stated


def resolution(name: str) -> int | None:
    """Width in pixels of the images that a name's weights were last trained on."""
    found = config(name)
    return int(found.input_size[-1]) if found is not None else None


@cache
def _names() -> frozenset[str]:
    return frozenset(published())


@cache
def _timm() -> ModuleType:
    """The library; collecting garbage while it is imported takes a fifth of that time and finds none."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        import timm
    finally:
        if collecting:
            gc.enable()
    return timm
