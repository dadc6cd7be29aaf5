"""How open_clip's pretrained weights were trained, read from their names by the tables of `open_clip_training.toml`.

Guarantees: what is derived depends on a name and on timm's published names alone; open_clip need not be installed. The
image tower is what is told of: it alone sees images. What the tables do not tell is None, never a guess.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from overlap.methodology import Training
from overlap.zoo import timm_training
from overlap.zoo.timm_training import Derived

QUICK = "-quickgelu"
"""At the end of a model's name: the activation, which weights have, not networks."""
FRAMEWORK = "clip"
"""Where the tables name no other."""


@cache
def tables() -> dict[str, Any]:
    """The tables as they stand in the file; read once a process."""
    text = resources.files(__package__).joinpath("open_clip_training.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def network(model: str) -> str | None:
    """The image tower of a model as timm calls the architecture, None where the tables do not know the model."""
    found = tables()["networks"].get(model.removesuffix(QUICK))
    return None if found is None else str(found)


def tower(name: str) -> str | None:
    """The name, ARCHITECTURE.TAG, under which timm publishes the very same image tower; None where it does not."""
    built = network(name.partition("/")[0])
    for rule in tables()["tower"]:
        if built is not None and (match := re.fullmatch(rule["match"], name)):
            return f"{built}.{match.expand(rule['tag'])}"
    return None


def derive(name: str, published: Sequence[str]) -> Derived:
    """Everything that a name says.

    Args:
        name: MODEL/TAG, or a model alone, of which only architecture, family and resolution are told.
        published: all names of timm's pretrained weights, in which parents are looked up.
    """
    model, _, tag = name.partition("/")
    architecture = network(model)
    if architecture is None:
        return Derived(Training(), None, None, (name,))
    built = timm_training.network(architecture)
    family = timm_training.family(architecture)
    if not tag:
        return Derived(Training(architecture=built.architecture), family, built.resolution, ())
    if (same := tower(name)) is not None:
        told = timm_training.derive(same, published).training
        training = told.model_copy(update={"parent": told.parent or same})
        return Derived(training, family, built.resolution, ())
    rule, match = _rule(name)
    if match is None:
        return Derived(Training(architecture=built.architecture), family, built.resolution, (tag,))
    recipe = match.expand(rule["recipe"])
    if built.resolution not in (None, timm_training.DEFAULT_RESOLUTION):
        recipe = f"{recipe}_{built.resolution}"
    training = Training(
        dataset=match.expand(rule.get("dataset", "")).rstrip("_") or None,
        framework=rule.get("framework", FRAMEWORK),
        architecture=built.architecture,
        hyper_parameters=recipe,
        parent=_root(match.expand(rule["parent"]), published) if "parent" in rule else None,
    )
    return Derived(training, family, built.resolution, ())


def _rule(name: str) -> tuple[dict[str, str], re.Match[str] | None]:
    for rule in tables()["weights"]:
        if match := re.fullmatch(rule["match"], name):
            return rule, match
    return {}, None


def _root(name: str, published: Sequence[str]) -> str:
    """The first checkpoint of the lineage that a name of open_clip's belongs to."""
    return derive(name, published).training.parent or name.replace("/", ".")
