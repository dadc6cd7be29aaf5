"""How timm's pretrained weights were trained, read from their names by the tables of `timm_training.toml`.

Guarantees: what is derived depends on a name and on the published names alone; no library is imported and nothing is
loaded. A column that neither the tag nor the tables tell is None, never a guess; an unknown part of a tag is named, and
what the rest of the tag says is still told.
"""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from overlap.methodology import Training

UNNAMED = "unnamed"
"""Recipe of a tag that names none: that of whoever made the network."""
DEFAULT_RESOLUTION = 224
"""In pixels; a recipe's name tells any other."""


@dataclass(frozen=True)
class Phrase:
    """One phrase of a tag and what it says."""

    text: str
    dataset: str | None = None
    framework: str | None = None
    recipe: bool = False
    step: bool = False
    resolution: int | None = None
    known: bool = True


@dataclass(frozen=True)
class Network:
    """An architecture without the resolution in its name."""

    name: str
    architecture: str
    """The same under the one name that all its names share."""
    resolution: int | None


@dataclass(frozen=True)
class Derived:
    """What a name says of a checkpoint."""

    training: Training
    """`architecture` is the network without resolution; `parent` is the first checkpoint of the lineage, so that all
    that stem from one have it in common; where that is not published its name is NETWORK.TAG."""
    family: str | None
    resolution: int | None
    """In pixels, where the name tells it: of the tag, else of the architecture."""
    unknown: tuple[str, ...]
    """Parts of the tag that no table covers."""


@cache
def tables() -> dict[str, Any]:
    """The tables as they stand in the file; read once a process."""
    text = resources.files(__package__).joinpath("timm_training.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def phrases(tag: str) -> tuple[Phrase, ...]:
    """A tag as its phrases, from the left, the longest that the tables know first."""
    known = _known()
    parts = tag.split("_") if tag else []
    found: list[Phrase] = []
    while parts:
        for length in range(len(parts), 0, -1):
            text = "_".join(parts[:length])
            phrase = known.get(text) or _by_pattern(text)
            if phrase is not None:
                break
        found.append(phrase or Phrase(text, known=False))
        del parts[:length]
    return tuple(found)


@cache
def network(architecture: str) -> Network:
    """An architecture as timm calls it, without its resolution, and under the name that aliases share."""
    name, resolution = architecture, None
    for rule in tables()["network"]:
        if match := re.fullmatch(rule["match"], architecture):
            name, resolution = match.expand(rule["name"]), int(match[rule["pixels"]])
            break
    for rule in tables()["alias"]:
        if match := re.fullmatch(rule["match"], name):
            return Network(name, match.expand(rule["name"]), resolution)
    return Network(name, name, resolution)


@cache
def family(architecture: str) -> str | None:
    """The family of an architecture, None where the tables know none."""
    return next((name for name, start in _families() if start.match(architecture)), None)


def derive(name: str, published: Sequence[str]) -> Derived:
    """Everything that a name says.

    Args:
        name: ARCHITECTURE.TAG, or an architecture alone, of which only architecture, family and resolution are told.
        published: all names of pretrained weights, in which parents are looked up.
    """
    architecture, _, tag = name.partition(".")
    built = network(architecture)
    if not tag:
        return Derived(Training(architecture=built.architecture), family(architecture), built.resolution, ())
    said = phrases(tag)
    objective = next((phrase for phrase in said if phrase.framework), None)
    resolution = next((phrase.resolution for phrase in reversed(said) if phrase.resolution), None)
    training = Training(
        dataset=fact(name, "dataset") or _datasets(name, said),
        framework=fact(name, "framework") or (objective.framework if objective else "supervised"),
        architecture=built.architecture,
        hyper_parameters=fact(name, "recipe") or _recipe(said, objective, None if resolution else built.resolution),
        parent=root(name, published),
        teacher=fact(name, "teacher") or None,
    )
    unknown = tuple(phrase.text for phrase in said if not phrase.known)
    return Derived(training, family(architecture), resolution or built.resolution, unknown)


def root(name: str, published: Sequence[str]) -> str | None:
    """The pretraining that weights stem from, through however many stages; None for weights trained from nothing."""
    seen = [name]
    while (parent := stem(seen[-1], published)) is not None:
        if parent in seen:
            raise ValueError(f"timm_training.toml: '{parent}' would stem from itself")
        seen.append(parent)
    return seen[-1] if len(seen) > 1 else None


def stem(name: str, published: Sequence[str]) -> str | None:
    """The weights that training on began from, or None: by `[[model]]`, else the tag less its last stage.

    Of one network at several resolutions the same, else the lowest, is taken.
    """
    told = fact(name, "parent")
    if told is not None:
        return told or None
    architecture, _, tag = name.partition(".")
    index = _index(tuple(published))
    built = network(architecture)
    earliest = ""
    for earlier in _earlier(phrases(tag)):
        names = index.get((built.name, earlier), ())
        if names:
            same = f"{architecture}.{earlier}"
            return same if same in names else names[0]
        earliest = earlier
    staged = any(phrase.step for phrase in phrases(tag))
    return f"{built.name}.{earliest}" if staged and earliest else None


@cache
def fact(name: str, column: str) -> str | None:
    """What the first `[[model]]` that matches a name says of a column."""
    for match, entry in _models():
        if column in entry and (found := match.fullmatch(name)):
            return found.expand(entry[column])
    return None


def _earlier(said: Sequence[Phrase]) -> Iterator[str]:
    """Tags of the stages before, latest first: less its resolution, less its last data, less what fine-tuning adds."""
    left = list(said)
    while left:
        if left[-1].resolution and not left[-1].step and len(left) > 1:
            left.pop()
            yield "_".join(phrase.text for phrase in left)
        steps = [place for place, phrase in enumerate(left) if phrase.step]
        if not steps:
            return
        left.pop()
        while left and left[-1].step:
            left.pop()
        if left:
            yield "_".join(phrase.text for phrase in left)


def _datasets(name: str, said: Sequence[Phrase]) -> str | None:
    """Data in the order in which it was last trained on, joined by `+`."""
    seen = [fact(name, "first_dataset"), *(phrase.dataset for phrase in said)]
    kept = [one for place, one in enumerate(seen) if one and one not in seen[place + 1 :]]
    return "+".join(kept) or None


def _recipe(said: Sequence[Phrase], objective: Phrase | None, resolution: int | None) -> str:
    first = objective.framework if objective else None
    kept = [phrase for phrase in said if phrase.recipe or phrase.framework not in (None, first)]
    names = [phrase.text for phrase in kept]
    if all(phrase.resolution for phrase in kept):
        names.insert(0, UNNAMED)
    if resolution not in (None, DEFAULT_RESOLUTION):
        names.append(str(resolution))
    return "_".join(names)


@cache
def _known() -> dict[str, Phrase]:
    told = tables()
    known = {text: Phrase(text, dataset=name) for text, name in told["datasets"].items()}
    known |= {text: Phrase(text, **says, step=True) for text, says in told["steps"].items()}
    known |= {text: Phrase(text, **says) for text, says in told["objectives"].items()}
    return known | {text: Phrase(text, recipe=True) for text in told["recipes"]}


@cache
def _by_pattern(text: str) -> Phrase | None:
    for rule in tables()["pattern"]:
        if match := re.fullmatch(rule["match"], text):
            dataset = match.expand(rule["dataset"]) if "dataset" in rule else None
            pixels = int(match[match.lastindex or 0]) if rule.get("resolution") else None
            return Phrase(text, dataset, rule.get("framework"), recipe=rule.get("recipe", False), resolution=pixels)
    return None


@cache
def _models() -> list[tuple[re.Pattern[str], dict[str, str]]]:
    return [(re.compile(entry["match"]), entry) for entry in tables()["model"]]


@cache
def _families() -> list[tuple[str, re.Pattern[str]]]:
    return [(name, re.compile(start)) for name, start in tables()["families"].items()]


@cache
def _index(published: tuple[str, ...]) -> dict[tuple[str, str], list[str]]:
    """Published names by network and tag, the lowest resolution first."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in published:
        architecture, _, tag = name.partition(".")
        found[network(architecture).name, tag].append(name)
    for names in found.values():
        names.sort(key=lambda name: (network(name.partition(".")[0]).resolution or 0, name))
    return dict(found)
