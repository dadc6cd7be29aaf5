"""autogluon.core, which needs other versions of its parts than overlap: in a virtual environment of its own.

It is installed once, under a folder that the user names and keeps.
"""

from __future__ import annotations

import json
import subprocess
import venv
from pathlib import Path

NEEDS = "autogluon.core>=1.6,<1.7"
ABSENT = f"not installed: give --cache DIR, where `python -m venv` and `pip install '{NEEDS}'` put it (half a minute)"
SETTINGS = (
    "its defaults and accuracy; float32 probabilities of all models in memory, softmaxed before; BLAS has one thread"
)

PROGRAM = """
import json, sys, time
import numpy as np
from autogluon.core.metrics import accuracy
from autogluon.core.models.greedy_ensemble.ensemble_selection import EnsembleSelection
folder, models, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
held = [np.load(f"{folder}/{model}.npy") for model in range(models)]
labels = np.load(f"{folder}/labels.npy")
search = EnsembleSelection(steps, "multiclass", accuracy)
start = time.perf_counter()
search.fit(held, labels)
print(json.dumps([time.perf_counter() - start, search.weights_.tolist(), float(search.train_score_)]))
"""


def interpreter(cache: Path | None) -> str | None:
    """The Python where it is installed, made where there is none yet; None without a folder to keep it in.

    Raises:
        CalledProcessError: pip could not install it.
    """
    if cache is None:
        return None
    folder = cache / "autogluon"
    python = folder / "bin/python"
    if not python.exists() or subprocess.run([python, "-c", "import autogluon.core"], check=False).returncode:
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", NEEDS], check=True, capture_output=True)
    return str(python)


def select(python: str, folder: Path, models: int, steps: int) -> tuple[float, list[float], float]:
    """Seconds of EnsembleSelection, its weights, and its error; reads NUMBER.npy and labels.npy of the folder."""
    command = [python, "-c", PROGRAM, str(folder), str(models), str(steps)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    spent, weights, error = json.loads(done.stdout.splitlines()[-1])
    return spent, weights, error
