"""Members as `torch.export` programs: asked with torch alone, wherever that runs.

Guarantees: a program that is written gave the same probabilities as its network on images it was not traced with, at
another batch size. What cannot be exported is said, and no reason to give an export up.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn

from overlap.ensemble.description import Member
from overlap.errors import gist

CLOSE = 1e-4
"""Greatest difference of a probability that is float noise."""


def write_program(network: nn.Module, member: Member, path: Path) -> str | None:
    """Write a member's program; why there is none, or None where it was written.

    Args:
        network: a `Network` of a member, in evaluation mode on the CPU.
        member: says its numeric mode and its input size.
        path: the file to be written.
    """
    if member.numeric.autocast:
        return f"its numeric mode ({member.numeric.dtype}) is switched on around a network, and is no part of one"
    generator = torch.Generator().manual_seed(0)
    size = member.preprocessing.input_size
    seen, other = (torch.randint(0, 256, (count, 3, *size), generator=generator).float() for count in (2, 3))
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.export.export(network, (seen,), dynamic_shapes=({0: torch.export.Dim("images")},))
            expected, found = network(other), program.module()(other)
            if found.shape != expected.shape or not torch.allclose(found, expected, rtol=0, atol=CLOSE):
                return "the exported program gives other probabilities than the network"
            torch.export.save(program, path)
    except Exception as error:  # whatever a user's module does that a tracer cannot follow
        path.unlink(missing_ok=True)
        return " ".join(gist(error).split())[:300]
    return None
