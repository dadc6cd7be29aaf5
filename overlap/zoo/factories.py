"""Factories: a user's own code that builds a module, named as `module:attribute[.attribute]`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overlap.errors import CheckpointError, gist
from overlap.identity import digest_file

if TYPE_CHECKING:
    from torch import nn


def source_digest(factory: str, search_path: str | None) -> str:
    """Digest of the file that defines a factory, without importing the file itself.

    Raises:
        CheckpointError: no such module, or it has no source file.
    """
    module = factory.partition(":")[0]
    _make_importable(search_path)
    try:
        spec = importlib.util.find_spec(module)
    except (Exception, SystemExit) as error:  # a parent package is imported on the way and may raise anything
        raise CheckpointError(f"factory '{factory}': importing '{module}' failed: {gist(error)}") from None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise CheckpointError(
            f"factory '{factory}': no module '{module}'; put it beside the study file or install its package"
        )
    return digest_file(Path(spec.origin))


def build(factory: str, arguments: Mapping[str, Any], search_path: str | None) -> nn.Module:
    """Call a factory.

    Raises:
        CheckpointError: it cannot be imported, raises, or returns no module.
    """
    from torch import nn

    module, _, attributes = factory.partition(":")
    _make_importable(search_path)
    try:
        imported: Any = importlib.import_module(module)
        made = reduce(getattr, attributes.split("."), imported)(**arguments)
    except (Exception, SystemExit) as error:
        raise CheckpointError(f"factory '{factory}' raised {gist(error)}") from error
    if not isinstance(made, nn.Module):
        raise CheckpointError(f"factory '{factory}' returned {type(made).__name__}; it must return a torch.nn.Module")
    return made


def _make_importable(search_path: str | None) -> None:
    if search_path is not None and search_path not in sys.path:
        sys.path.append(search_path)
    importlib.invalidate_caches()
