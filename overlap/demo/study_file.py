"""The demo's study file: written from the recipes, read by `overlap run` like anybody's."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from overlap.demo.data import DOWNSTREAM, EVALUATION, GROUPS, NEIGHBOURS, PROBES, SHARDS
from overlap.demo.letters import SHAPES
from overlap.demo.recipes import MEAN, STD, Recipe, recipes
from overlap.errors import StoreError

NAME: Final = "study.toml"

HEAD: Final = """\
# The demo's study, as `overlap demo` wrote it; `overlap run` takes it as it is. Paths resolve against this file.
# On a cluster: change the three lines marked with (!), and add `--address` to the command.
name = "overlap-demo"

# Handwritten digits (scikit-learn's copy of the UCI set) that no checkpoint was trained on.
[data.{data}]
shards = "data/{data}/{data}-{{000000..{last:06d}}}.tar"
classes = 10
groups = "data/{groups}"                  # which classes belong together
truths = {{ neighbours = "data/{neighbours}" }}   # other labels of the same images, under which all is asked again

# Digits that few of the checkpoints were trained on: linear probes on features are fitted to them.
[data.train]
shards = "data/training/{probes}"
classes = 10

# Letters drawn by typefaces, each with whatever holds of its shape: features are tried on them.
[data.{downstream}]
shards = "data/{downstream}"
classes = {shapes}
names = {names}
role = "downstream"
multi_label = true

[store]
uri = "store"                              # (!) "s3://bucket/prefix"
# endpoint_url = "http://127.0.0.1:9000"   # (!) any S3 server; credentials come from the environment

[tracking]
# uri = "http://mlflow:5000"               # (!) default: SQLite in the store's folder

[predict]
dtype = "float32"
features = true                           # store penultimate features beside the logits

[ensembles]
anchors = ["cnn-1"]                       # also search from this one, and add weak ones to it

[features]
pairs_per_category = 2                    # for which probes are fitted on mixed features
draws = 2
"""


def write_study(folder: Path) -> Path:
    """Write `study.toml` into the demo's folder, unless it is there: then it may carry a person's changes.

    Returns:
        Its path.

    Raises:
        StoreError: the folder cannot be written.
    """
    path = folder / NAME
    if path.exists():
        return path
    temporary = path.with_name(f".{NAME}.{os.getpid()}.tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_text(study_toml(), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written ({error.strerror}); free space or name another folder") from None
    finally:
        temporary.unlink(missing_ok=True)
    return path


def study_toml() -> str:
    """The text of the study file: the data sets, the store, and an entry for each recipe."""
    head = HEAD.format(
        data=EVALUATION,
        last=SHARDS - 1,
        groups=GROUPS,
        neighbours=NEIGHBOURS,
        probes=PROBES,
        downstream=DOWNSTREAM,
        shapes=len(SHAPES),
        names=_toml([*SHAPES]),
    )
    return "\n".join([head, *(_entry(recipe) for recipe in recipes())])


def _entry(recipe: Recipe) -> str:
    net = recipe.net
    origin = {"factory": net.factory} if net.factory is not None else {"source": net.source}
    arguments = recipe.arguments()
    fields: dict[str, Any] = {
        "id": recipe.id,
        **origin,
        **({"arguments": arguments} if arguments else {}),
        "weights": f"weights/{recipe.id}.safetensors",
        "preprocess": {
            "input_size": net.size,
            "crop_pct": 1.0,
            "interpolation": net.interpolation,
            "mean": [MEAN] * 3,
            "std": [STD] * 3,
        },
        "training": {
            **recipe.training().model_dump(exclude_none=True),
            "seed": recipe.seed,
        },
    }
    return "[[checkpoint]]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in fields.items())


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)  # strings, numbers, booleans and arrays of them are written alike in TOML and JSON
