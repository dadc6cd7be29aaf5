"""An exported ensemble back from its folder, every file verified against its digest.

Guarantees: what is loaded is what was exported, or nothing. Not guaranteed: that a factory whose code imports more than
its own file and package can be built elsewhere; an export is tried in an interpreter of its own, where that shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from overlap.ensemble.description import Held, Member, read
from overlap.errors import CheckpointError, DamagedObject, StudyError
from overlap.identity import digest_file

if TYPE_CHECKING:
    from torch import nn

    from overlap.ensemble.module import Ensemble


def load(folder: str | Path, *, programs: bool = False) -> Ensemble:
    """The ensemble in a folder that `overlap export` wrote, on the CPU and in evaluation mode.

    Args:
        folder: the export.
        programs: run its `torch.export` programs, which need none of the libraries its members come from.

    Raises:
        StudyError: no such export, or not all of its members have programs.
        DamagedObject: a file is gone or altered.
        CheckpointError: a member cannot be built here, or its factory is another file here.
    """
    from overlap.ensemble.module import Ensemble

    place = Path(folder).resolve()
    described = read(place)
    networks = [_program(one, place) if programs else network(one, place) for one in described.members]
    return Ensemble(described, networks)


def network(member: Member, folder: Path) -> nn.Module:
    """One member, built by overlap and loaded strictly."""
    from overlap.ensemble.network import Network
    from overlap.precision import keep_classifier_exact
    from overlap.zoo.checkpoint import Checkpoint
    from overlap.zoo.factories import source_digest
    from overlap.zoo.loading import load as load_network

    for held in (member.weights, *member.factory):
        verified(held, folder)
    candidate = member.candidate(folder)
    if Checkpoint(candidate, member.stored, member.weights.bytes).fingerprint != member.fingerprint:
        raise DamagedObject(f"{folder}: member '{member.model}' is not described as it was; export it again")
    if candidate.architecture.source == "factory":
        found = source_digest(candidate.architecture.name, candidate.architecture.search_path)
        if found != candidate.architecture.source_digest:
            raise CheckpointError(
                f"member '{member.model}': its factory '{candidate.architecture.name}' is another file here than the "
                "one that was exported; load it in an interpreter that has not imported that one"
            )
    module = load_network(candidate, folder / member.weights.file)
    if member.numeric.autocast:
        keep_classifier_exact(module, candidate.classes)
    return Network(module, member).eval()


def verified(held: Held, folder: Path) -> Path:
    """Where a file of an export is; DamagedObject where it is gone or not what it was."""
    path = folder / held.file
    if not path.is_file() or digest_file(path) != held.digest:
        raise DamagedObject(f"{path}: is gone or not what was exported; export it again")
    return path


def _program(member: Member, folder: Path) -> nn.Module:
    import torch

    from overlap.ensemble.network import Program

    if member.program is None:
        raise StudyError(f"{folder}: member '{member.model}' has no program ({member.no_program}); load it without")
    path = verified(member.program, folder)
    return Program(torch.export.load(path).module())
