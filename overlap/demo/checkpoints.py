"""The demo's checkpoints on disk: where they are, and whether what is there is what the recipe would give.

Guarantees: a checkpoint is current only if its bytes are those that were written, and recipe, images, training code and
the checkpoints it needs are as they were then. Torch is not imported here: asking costs milliseconds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from overlap.demo.data import data_digest, training_folder
from overlap.demo.recipes import MEAN, STD, Recipe
from overlap.errors import CheckpointError, DataError
from overlap.identity import canonical_json, digest, digest_file

SCHEMA: Final = 1

CODE: Final = ("nets.py", "frameworks.py", "pretraining.py", "training.py")
"""Files whose text decides what training gives."""


def weights_path(recipe: Recipe, folder: Path) -> Path:
    """Where a recipe's safetensors file is, in the demo's folder."""
    return folder / "weights" / f"{recipe.id}.safetensors"


def record_path(recipe: Recipe, folder: Path) -> Path:
    """Where the JSON beside it is: recipe, digests, seconds."""
    return folder / "weights" / f"{recipe.id}.json"


def is_trained(recipe: Recipe, folder: Path) -> bool:
    """Whether the recipe's checkpoint is there, whole and current."""
    try:
        record = json.loads(record_path(recipe, folder).read_bytes())
        expected = (record["recipe_digest"], record["weights_digest"])
        return expected == (recipe_digest(recipe, folder), digest_file(weights_path(recipe, folder)))
    except (OSError, ValueError, KeyError, TypeError, DataError, CheckpointError):
        return False


def recipe_digest(recipe: Recipe, folder: Path) -> str:
    """Digest of everything that training is a function of.

    Raises:
        DataError: the images were not prepared.
        CheckpointError: a checkpoint that the recipe needs is not there.
    """
    return digest(
        canonical_json(
            {
                "schema": SCHEMA,
                "recipe": recipe.contents(),
                "pixels": [MEAN, STD],
                "images": data_digest(training_folder(folder, recipe.dataset)),
                "code": {name: digest_file(Path(__file__).with_name(name)) for name in CODE},
                "needs": {name: _needed(recipe, name, folder) for name in recipe.needs},
            }
        )
    )


def record(recipe: Recipe, folder: Path, seconds: float) -> dict[str, Any]:
    """What is written beside freshly written weights."""
    return {
        "recipe": recipe.contents(),
        "recipe_digest": recipe_digest(recipe, folder),
        "weights_digest": digest_file(weights_path(recipe, folder)),
        "seconds": seconds,
    }


def _needed(recipe: Recipe, name: str, folder: Path) -> str:
    path = folder / "weights" / f"{name}.safetensors"
    if not path.exists():
        raise CheckpointError(f"recipe '{recipe.id}' needs {path}; train '{name}' first")
    return digest_file(path)
