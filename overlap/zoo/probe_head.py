"""Linear probes as heads: a backbone without a classifier gets one that is fitted on the study's training set.

The head's place comes first: the backbone is stored with a head of zeros, as weights like any others, so that features
are made as everywhere. What is fitted to them goes into that place, and the whole is stored as weights again: what runs
afterwards is a checkpoint like any other, whose digest covers backbone and head.

Guarantees: every tensor of the module but its classifier's is the file's. Not guaranteed: that two kinds of machine fit
the same head to the last bit; the store keeps the first one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overlap.errors import CheckpointError, gist
from overlap.identity import canonical_json, digest

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn

VERSION = 1
"""Of how a head is made: its place, the fit, and the settings of both."""


@dataclass(frozen=True)
class ProbeHead:
    """All that decides the head's place, beside the backbone's weights."""

    library: str
    name: str
    """Of the architecture in the library."""
    classes: int
    """Of the training set."""
    arguments: dict[str, Any] = field(default_factory=dict)
    allow_pickle: bool = False
    """Whether the backbone's file may run code; changes nothing else."""

    @property
    def digest(self) -> str:
        """What stands for the place in a memo."""
        fields = asdict(self)
        del fields["allow_pickle"]
        return digest(canonical_json({"version": VERSION, **fields}))


def write(head: ProbeHead, state: Mapping[str, torch.Tensor], shown: str, path: Path) -> None:
    """Write a backbone with a head of zeros.

    Args:
        head: its place.
        state: the backbone's tensors; those of a classifier of its own are left out.
        shown: what an error calls the weights.
        path: the file to be written.

    Raises:
        CheckpointError: the module has no single linear classifier, or the tensors do not fit it.
    """
    import torch
    from safetensors.torch import save_file

    from overlap.zoo.sources import source
    from overlap.zoo.state_dicts import without_prefixes

    try:
        module = source(head.library).build(head.name, head.classes, head.arguments)
    except CheckpointError:
        raise
    except Exception as error:  # libraries raise anything for arguments they cannot take
        raise CheckpointError(f"{head.library} cannot build '{head.name}' ({gist(error)})") from None
    expected = module.state_dict()
    places = classifier_of(module, head.classes)
    found = {name: tensor for name, tensor in without_prefixes(dict(state), expected).items() if name not in places}
    wrong = sorted(
        name for name in expected.keys() - places if name not in found or found[name].shape != expected[name].shape
    )
    foreign = sorted(found.keys() - expected.keys())
    if wrong or foreign:
        raise CheckpointError(
            f"weights {shown} are no backbone of {head.name} with a linear probe: {', '.join([*wrong, *foreign][:3])} "
            "do not fit; give a file that holds all of the module but its classifier"
        )
    whole = found | {name: torch.zeros_like(expected[name], dtype=torch.float32) for name in places}
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in whole.items()}, path)


def fill(head: ProbeHead, blank: Path, weight: NDArray[np.float32], bias: NDArray[np.float32], path: Path) -> None:
    """Write what `write` wrote with a fitted head in its place.

    Args:
        head: its place.
        blank: the file with the head of zeros.
        weight: (classes, D).
        bias: (classes,).
        path: the file to be written.

    Raises:
        CheckpointError: the head is of another number of features than the classifier takes.
    """
    import torch
    from safetensors.torch import load_file, save_file

    from overlap.zoo.sources import source

    state = load_file(blank)
    for name in classifier_of(source(head.library).build(head.name, head.classes, head.arguments), head.classes):
        fitted = torch.from_numpy(weight if name.endswith("weight") else bias)
        if fitted.numel() != state[name].numel():
            raise CheckpointError(
                f"{head.name}: its classifier takes {tuple(state[name].shape)}, the probe has {tuple(fitted.shape)}"
            )
        state[name] = fitted.reshape(state[name].shape).contiguous()
    save_file(state, path)


def classifier_of(module: nn.Module, classes: int) -> frozenset[str]:
    """Names of the two tensors, weight and bias, of a module's one linear classifier.

    Raises:
        CheckpointError: it has none, several, or one without a bias.
    """
    from torch import nn

    from overlap.precision import layers_of, named_classifiers

    named = named_classifiers(module)
    found = [layer for part in named for layer in layers_of(part, classes)]
    if len(found) != 1 or not isinstance(found[0], nn.Linear | nn.Conv2d) or found[0].bias is None:
        raise CheckpointError("the network has no single linear classifier with a bias, so no place for a linear probe")
    return frozenset(
        name for name, tensor in module.named_parameters() if tensor is found[0].weight or tensor is found[0].bias
    )
