"""Texts that a zero-shot head is made of: which names and templates a study means. Plain data, nothing computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from overlap.errors import CheckpointError
from overlap.identity import canonical_json, digest
from overlap.zoo import clip
from overlap.zoo.class_spaces import ClassSpace, known_space

TEMPLATE = "a photo of a {}."
IMAGENET = "imagenet-1k"


@dataclass(frozen=True)
class ZeroShot:
    """All that decides a head, beside the weights of the text tower."""

    model: str
    """MODEL or MODEL/TAG of open_clip."""
    names: tuple[str, ...]
    """Of the classes, by number."""
    templates: tuple[str, ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    allow_pickle: bool = False
    """Whether the file of both towers may run code; changes nothing else."""

    @property
    def digest(self) -> str:
        """What stands for the texts and the model in a memo."""
        fields = asdict(self)
        del fields["allow_pickle"]
        return digest(canonical_json(fields))


def zero_shot(
    model: str,
    arguments: Mapping[str, Any],
    templates: Sequence[str],
    names: Sequence[str],
    classes: int,
    space: ClassSpace | None,
    *,
    allow_pickle: bool = False,
) -> ZeroShot:
    """The texts for a data set's classes.

    Where the class numbers are known to stand for ImageNet's synsets, open_clip's names of these are used, and the 80
    templates; else the data's names, with "a photo of a {}.". Templates that are given go before both.

    Raises:
        CheckpointError: nothing says what the classes are called.
    """
    listed = known_space(IMAGENET).classes if space is not None else ()
    if space is not None and set(space.classes) <= set(listed):
        by_synset = dict(zip(listed, clip.imagenet_names(), strict=True))
        called, usual = tuple(by_synset[synset] for synset in space.classes), clip.imagenet_templates()
    elif len(names) == classes:
        called, usual = tuple(names), (TEMPLATE,)
    else:
        raise CheckpointError(
            f"a zero-shot head of {model} needs to know what the {classes} classes are called; "
            f'give the data section names, or class_space = "{IMAGENET}" where they are ImageNet\'s'
        )
    return ZeroShot(model, called, tuple(templates) or usual, dict(arguments), allow_pickle)
