"""The one way kernels are compiled: without the interpreter's lock, kept on disk where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a kernel on its first call; strict IEEE arithmetic (no fast-math), releases the interpreter's lock."""
    return _compiled(function)


def dividing(function: Callable[P, R]) -> Callable[P, R]:
    """As `compiled`, but a number over zero is what IEEE says and no error: so loops that divide become vectors."""
    return _compiled(function, error_model="numpy")


def _compiled(function: Callable[P, R], error_model: Literal["python", "numpy"] = "python") -> Callable[P, R]:
    try:
        return cast("Callable[P, R]", numba.njit(cache=True, nogil=True, error_model=error_model)(function))
    except RuntimeError:  # neither the package's folder nor the user's cache folder can be written: compile per process
        return cast("Callable[P, R]", numba.njit(nogil=True, error_model=error_model)(function))
