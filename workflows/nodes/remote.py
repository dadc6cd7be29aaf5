"""Ray's decorator without its types, which do not know references nested in arguments nor tasks of several returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import ray


def remote(**options: Any) -> Callable[[Any], Any]:
    """`ray.remote` with options, for tasks and actors."""
    return cast("Callable[[Any], Any]", ray.remote(**options))
