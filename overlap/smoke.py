"""How the store calls what a smoke run takes of a data set: `NAME.firstN`, in which no data set's own name may end."""

from __future__ import annotations

import re

_PART = re.compile(r"\.first\d+$")


def part(data: str, images: int) -> str:
    """The name of a data set's leading images."""
    return f"{data}.first{images}"


def is_part(data: str) -> bool:
    """Whether a name is that of a smoke run's part."""
    return _PART.search(data) is not None


def whole(data: str) -> str:
    """The study's own name of a data set, whether this is a part of it or itself."""
    return _PART.sub("", data)
