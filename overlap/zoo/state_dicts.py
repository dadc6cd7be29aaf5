"""State dicts as people keep them: safetensors, or torch files in one of their wrappers.

Nothing is executed to read one: a torch file that holds more than tensors and plain values is refused, unless its
checkpoint allows pickles.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overlap.errors import CheckpointError, gist

if TYPE_CHECKING:
    import torch

WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Under which of its keys a training checkpoint keeps the state dict, best first."""

PREFIXES = ("module.", "_orig_mod.")
"""What data parallelism and compilation put before the names of all tensors."""

REFUSED = re.compile(
    r"GLOBAL (\S+) was not an allowed global|Trying to \w+ unsupported GLOBAL (\S+)|module (\S+) is blocked"
)


def read_state_dict(path: Path, shown: str, *, allow_pickle: bool = False) -> dict[str, torch.Tensor]:
    """The tensors of a weights file, by name.

    Args:
        path: the file; its content says what it is, not its name.
        shown: what an error calls it.
        allow_pickle: whether a torch file may run code of its makers.

    Raises:
        CheckpointError: it is unreadable, holds more than it may, or holds no state dict.
    """
    import torch
    from safetensors.torch import load_file

    try:
        if is_safetensors(path):
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=not allow_pickle)
    except Exception as error:  # a damaged or foreign pickle raises whatever its bytes happen to ask for
        refused = REFUSED.search(str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if refused and not allow_pickle:
            what = next(filter(None, refused.groups())).rstrip(".")
            raise CheckpointError(
                f"weights {shown} hold more than tensors ({what}) and were refused; "
                "set allow_pickle = true for this checkpoint only if you trust who made the file"
            ) from None
        reason = "no safetensors and no torch file" if _is_foreign(path) else gist(error)
        raise CheckpointError(f"weights {shown} cannot be read ({reason}); copy or export the file again") from None
    return _unwrapped(loaded, shown)


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: the length of a JSON header that fits the file, and its first brace.

    No other first byte would do: the length's own may be those of a pickle or a zip file.
    """
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:] == b"{" and 8 + int.from_bytes(head[:8], "little") <= path.stat().st_size


def without_prefixes(state: dict[str, torch.Tensor], expected: Collection[str]) -> dict[str, torch.Tensor]:
    """The same tensors, their names freed of a prefix that all bear and the module itself does not expect."""
    while state and not set(state) & set(expected):
        prefix = next((one for one in PREFIXES if all(name.startswith(one) for name in state)), None)
        if prefix is None:
            break
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _is_foreign(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(2)
    return head != b"PK" and head[:1] != b"\x80"


def _unwrapped(loaded: Any, shown: str) -> dict[str, torch.Tensor]:
    import torch

    if isinstance(loaded, torch.nn.Module):
        loaded = loaded.state_dict()
    for wrapper in WRAPPERS:
        inner = loaded.get(wrapper) if isinstance(loaded, Mapping) else None
        if isinstance(inner, torch.nn.Module):
            inner = inner.state_dict()
        if isinstance(inner, Mapping):
            loaded = inner
            break
    if not isinstance(loaded, Mapping) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise CheckpointError(
            f"weights {shown} hold no state dict; save module.state_dict(), alone or under one of {', '.join(WRAPPERS)}"
        )
    return {str(name): tensor for name, tensor in loaded.items()}
