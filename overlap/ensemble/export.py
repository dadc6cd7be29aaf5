"""An ensemble into a folder that holds all of it: weights by digest, `ensemble.json`, factories' code, programs.

Guarantees: the folder appears whole, checked and at once, or not at all; nothing but an earlier export is ever
replaced. Weights are safetensors, so that loading them runs nobody's code. Not guaranteed: that a program runs on
another device than the CPU it was traced on.
"""

from __future__ import annotations

import importlib.metadata
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import overlap
from overlap.analysis.calibration import probabilities
from overlap.ensemble.check import check
from overlap.ensemble.choice import Choice
from overlap.ensemble.description import FACTORIES, Description, Held, Member, is_export, write
from overlap.ensemble.members import checkpoints, class_names
from overlap.errors import OverlapError, StudyError
from overlap.identity import digest_file
from overlap.images.shards import expand, read_samples
from overlap.report.results import Results
from overlap.store.atomic import disk_error
from overlap.store.objects import Objects
from overlap.study import Study
from overlap.zoo.checkpoint import Checkpoint
from overlap.zoo.fetching import fetched

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLES = 4
"""Images on which an export is compared with what it was made from."""
PACKAGES = ("torch", "torchvision", "timm", "open_clip_torch", "safetensors", "pillow", "numpy")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """What an export came to."""

    folder: Path
    description: Description
    checked: dict[str, float | None]
    """Greatest difference of a probability from the study's, of `module` and of `programs`."""
    bytes: int


def export(
    study: Study,
    results: Results,
    choice: Choice,
    fingerprints: Mapping[str, str],
    objects: Objects,
    folder: Path,
    *,
    programs: bool = True,
    say: Say = lambda text: None,
) -> Exported:
    """Write an ensemble.

    Args:
        study: whose members they are.
        results: that it was chosen from.
        choice: what is to be written.
        fingerprints: of its models.
        objects: the store, which has the weights.
        folder: to be made, or an earlier export, which is replaced.
        programs: whether to trace members as `torch.export` programs too, which takes seconds and doubles the size.
        say: hears of the progress.

    Raises:
        StudyError: the folder holds something else.
        CheckpointError: a member cannot be loaded, or the export does not say what the study says.
        StoreError: the store or the disk refuses.
    """
    folder = folder.absolute()
    check_free(folder)
    known = checkpoints(study, results.data, fingerprints, objects)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.overlap-export-", dir=folder.parent) as scratch:
            made = Path(scratch) / "export"
            described = _fill(made, study, results, choice, known, objects, programs=programs, say=say)
            samples = _samples(study, results.data)
            say(f"checking on {len(samples)} images, in an interpreter of its own")
            checked = check(made, samples, _expected(described, known, objects, samples))
            size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
            _move(made, folder, Path(scratch))
    except OSError as error:
        raise disk_error(error, folder) from error
    return Exported(folder, described, checked, size)


def check_free(folder: Path) -> None:
    """StudyError unless a folder is not there, is empty, or holds an earlier export."""
    if folder.exists() and not (folder.is_dir() and (is_export(folder) or not any(folder.iterdir()))):
        raise StudyError(f"{folder}: is there, and is no earlier export; name another folder, or remove it")


def _fill(
    folder: Path,
    study: Study,
    results: Results,
    choice: Choice,
    known: Mapping[str, Checkpoint],
    objects: Objects,
    *,
    programs: bool,
    say: Say,
) -> Description:
    (folder / "weights").mkdir(parents=True)
    temperatures = dict(results.models.select("model", "temperature").iter_rows())
    members = []
    for place, (model, weight) in enumerate(choice.weights.items(), 1):
        say(f"{place} of {len(choice.weights)}: {model}")
        checkpoint = known[model]
        candidate = checkpoint.candidate
        with fetched(checkpoint.weights_digest, objects) as weights:
            held = _weights(checkpoint, weights, folder)
        member = Member(
            model=model,
            fingerprint=checkpoint.fingerprint,
            weight=weight,
            temperature=temperatures[model],
            architecture=replace(candidate.architecture, search_path=None),
            classes=candidate.classes,
            class_map=candidate.class_map,
            preprocessing=candidate.preprocessing,
            numeric=candidate.numeric,
            features=candidate.features,
            top=candidate.top,
            stored=checkpoint.weights_digest,
            weights=held,
            factory=_factory(checkpoint, folder) if candidate.architecture.source == "factory" else (),
        )
        members.append(_traced(member, candidate.architecture.search_path, folder) if programs else member)
    classes = known[members[0].model].candidate.outputs
    described = Description(
        study=study.name,
        data=results.data,
        search=choice.search,
        size=choice.size,
        inputs_digest=results.inputs_digest,
        dataset_digest=results.dataset_digest,
        classes=classes,
        class_names=class_names(study, results.data, classes),
        members=tuple(members if programs else (replace(one, no_program="not asked for") for one in members)),
        tested=choice.tested,
        versions=_versions(),
    )
    write(described, folder)
    return described


def _weights(checkpoint: Checkpoint, stored: Path, folder: Path) -> Held:
    """The study's own file where it is safetensors, else its tensors as safetensors."""
    from safetensors.torch import save_file

    from overlap.zoo.loading import load
    from overlap.zoo.state_dicts import is_safetensors

    coming = folder / "weights" / "coming"
    if is_safetensors(stored):
        shutil.copyfile(stored, coming)
    else:
        state = load(checkpoint.candidate, stored).state_dict()
        save_file({name: tensor.detach().clone().contiguous() for name, tensor in state.items()}, coming)
    return _held(coming, folder, f"weights/{digest_file(coming)}.safetensors")


def _factory(checkpoint: Checkpoint, folder: Path) -> tuple[Held, ...]:
    """Copy a factory's source file, and the `__init__` of each package it is in."""
    module = checkpoint.candidate.architecture.name.partition(":")[0]
    parts, held = module.split("."), []
    for depth in range(1, len(parts) + 1):
        spec = find_spec(".".join(parts[:depth]))  # found before: the fingerprint holds its digest
        origin = None if spec is None else spec.origin
        if origin is None or not Path(origin).is_file():
            continue  # a namespace package has no file
        last = f"{parts[depth - 1]}/__init__.py" if Path(origin).name == "__init__.py" else f"{parts[depth - 1]}.py"
        file = "/".join([FACTORIES, *parts[: depth - 1], last])
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(origin, folder / file)
        held.append(_held(folder / file, folder, file))
    return tuple(held)


def _traced(member: Member, search_path: str | None, folder: Path) -> Member:
    from overlap.ensemble.network import Network
    from overlap.ensemble.programs import write_program
    from overlap.zoo.loading import load

    candidate = member.candidate(folder)
    candidate = replace(candidate, architecture=replace(candidate.architecture, search_path=search_path))
    network = Network(load(candidate, folder / member.weights.file), member).eval()
    coming = folder / f"{member.fingerprint}.pt2"
    reason = write_program(network, member, coming)
    if reason is not None:
        return replace(member, no_program=reason)
    (folder / "programs").mkdir(exist_ok=True)
    return replace(member, program=_held(coming, folder, f"programs/{member.fingerprint}.pt2"))


def _held(path: Path, folder: Path, file: str) -> Held:
    """A file moved to where it belongs, and what it is."""
    os.replace(path, folder / file)
    return Held(file, digest_file(folder / file), (folder / file).stat().st_size)


def _samples(study: Study, data: str) -> list[bytes]:
    """A few images of the data set; noise where it cannot be read."""
    from PIL import Image

    from overlap import smoke

    endpoint = study.store.endpoint_url
    with suppress(OverlapError):
        for uri in expand(study.data[smoke.whole(data)].shards, endpoint):
            return [sample.image for sample in read_samples(uri, endpoint, SAMPLES)]
    noise = np.random.default_rng(0).integers(0, 256, (SAMPLES, 64, 48, 3), np.uint8)
    images = []
    for pixels in noise:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "png")
        images.append(buffer.getvalue())
    return images


def _expected(
    described: Description, known: Mapping[str, Checkpoint], objects: Objects, samples: Sequence[bytes]
) -> NDArray[np.float32]:
    """What the study's own inference says of images, (n, K): by another road than the export's."""
    from overlap.inference import Predictor
    from overlap.zoo.decoders import open_image

    predictor = Predictor(objects, "cpu", 0)
    total = np.zeros((len(samples), described.classes))
    for member in described.members:
        transform = member.preprocessing.transform()
        pixels = np.stack([transform(open_image(image, member.preprocessing.decoder)) for image in samples])
        checkpoint = known[member.model]
        plain = replace(checkpoint, candidate=replace(checkpoint.candidate, features=None))
        logits = predictor.predict(plain, pixels).logits
        total += member.weight * probabilities(logits, np.full(len(samples), member.temperature))
    return total.astype(np.float32)


def _versions() -> dict[str, str]:
    found = {"overlap": overlap.__version__}
    for package in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _move(made: Path, folder: Path, scratch: Path) -> None:
    """Put a whole export where it belongs; an earlier one goes into the folder that is thrown away."""
    check_free(folder)
    if folder.exists():
        os.replace(folder, scratch / "earlier")
    os.replace(made, folder)
