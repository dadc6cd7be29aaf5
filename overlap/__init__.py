"""Which image classifiers err together, which specialise, and which small ensemble of them is best."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from overlap.opened import OpenedStudy

__version__ = "0.1.0"


def open(uri: str, data: str | None = None, endpoint_url: str | None = None) -> OpenedStudy:
    """Open a study's store for reading: `overlap.open("store").pairs()`. See `overlap.opened.OpenedStudy`."""
    from overlap.opened import OpenedStudy

    return OpenedStudy(uri, data, endpoint_url)
