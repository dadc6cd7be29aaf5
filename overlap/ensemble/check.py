"""Whether an export says what the study says, found out in an interpreter of its own that has only the folder.

`python -m overlap.ensemble.check FOLDER SAMPLES` prints the greatest difference of a probability as JSON: of the
ensemble as overlap loads it, and of its programs where all members have one (else null).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import overlap
from overlap.ensemble.loading import load
from overlap.errors import CheckpointError, OverlapError

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLOSE = 1e-4
"""Greatest difference of a probability that is float noise."""
SECONDS = 1800
"""After which a check is given up; a dozen large networks are loaded within minutes."""


def check(folder: Path, images: Sequence[bytes], expected: NDArray[np.float32]) -> dict[str, float | None]:
    """Load an export elsewhere, ask it, and compare.

    Args:
        folder: the export.
        images: JPEG or PNG.
        expected: (n, K) probabilities of them.

    Returns:
        Greatest difference of `module` and of `programs`; None where there are no programs.

    Raises:
        CheckpointError: it cannot be loaded from its folder alone, or says something else.
    """
    with tempfile.TemporaryDirectory(prefix="overlap-check-") as scratch:
        samples = Path(scratch) / "samples.npz"
        held = np.frombuffer(b"".join(images), np.uint8)
        np.savez(samples, images=held, sizes=[len(image) for image in images], expected=expected)
        # -P keeps the working directory off the path: only overlap and what is installed is there.
        command = [sys.executable, "-P", "-m", "overlap.ensemble.check", str(folder), str(samples)]
        path = os.pathsep.join(filter(None, [str(Path(overlap.__file__).parents[1]), os.environ.get("PYTHONPATH")]))
        try:
            done = subprocess.run(
                command,
                cwd=scratch,
                env=os.environ | {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CheckpointError(f"{folder}: was not loaded within {SECONDS} s; export fewer members") from None
    told = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    if done.returncode:
        raise CheckpointError(f"the export cannot be loaded from its folder alone: {told}")
    differences: dict[str, float | None] = json.loads(done.stdout.strip().splitlines()[-1])
    for what, difference in differences.items():
        if difference is not None and not difference <= CLOSE:
            raise CheckpointError(
                f"the export's {what} gives other probabilities than the study (by {difference:.2g}): is a factory "
                "random, or does it depend on files beside it?"
            )
    return differences


def differences(folder: Path, samples: Path) -> dict[str, Any]:
    """What `check` asks for, here."""
    with np.load(samples) as held:
        ends = np.cumsum(held["sizes"]).tolist()
        whole, expected = held["images"].tobytes(), held["expected"]
    images = [whole[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    ensemble = load(folder)
    found: dict[str, Any] = {"module": _greatest(ensemble.predict(images), expected), "programs": None}
    if ensemble.description.has_programs:
        found["programs"] = _greatest(load(folder, programs=True).predict(images), expected)
    return found


def _greatest(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    if found.shape != expected.shape:
        return float("inf")
    return float(np.abs(found - expected).max(initial=0.0))


if __name__ == "__main__":
    try:
        print(json.dumps(differences(Path(sys.argv[1]), Path(sys.argv[2]))))
    except OverlapError as error:
        sys.exit(str(error))
