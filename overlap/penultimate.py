"""Penultimate features: what goes into a network's classifier, caught in the same forward pass that gives the logits.

The classifier is the layer that the study names; else those that the module itself names (`get_classifier`, as timm's
and our zero-shot classifiers have it); else, of the linear and 1x1 convolutional layers with an output for each class,
the one that is called last. Guarantees: one vector an image, float32, never a view of what the network goes on to
change; where positions (pixels of a map, tokens) each go into the classifier, their mean, as networks themselves pool;
of two classifiers with inputs of their own (a distilled network's) both inputs, one after the other. Not guaranteed:
that logits are linear in them, since a network may do more with its classifier's output.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from overlap.precision import layers_of, named_classifiers
from overlap.zoo.checkpoint import CLASSIFIER


class NoFeatures(Exception):
    """A module has no penultimate features that can be found; says why."""


class Tap:
    """Catches what goes into a module's classifier whenever the module runs."""

    def __init__(self, module: nn.Module, classes: int, layer: str = CLASSIFIER) -> None:
        """Listen.

        Args:
            module: whose features are wanted.
            classes: outputs of its classifier.
            layer: the classifier's dotted name in the module, or `CLASSIFIER` to find it.

        Raises:
            NoFeatures: no such layer.
        """
        self._classes = classes
        self._caught: dict[nn.Module, tuple[torch.Tensor, torch.Tensor]] = {}
        module.register_forward_pre_hook(lambda *_: self.forget())  # what a pass left that ran out of memory
        if layer == CLASSIFIER:
            self._named = named_classifiers(module)
        else:
            try:
                self._named = [module.get_submodule(layer)]
            except AttributeError:
                raise NoFeatures(f"it has no layer '{layer}'") from None
        self._within = {part: [each for each in layers_of(part, classes) if each is not part] for part in self._named}
        self._guessed = [] if self._named else layers_of(module, classes)
        inner = [each for parts in self._within.values() for each in parts]
        for part in dict.fromkeys([*self._named, *inner, *self._guessed]):
            part.register_forward_pre_hook(self._catch, with_kwargs=True)

    def taken(self, images: int) -> torch.Tensor:
        """The features of the forward pass that just ended, float32 (images, D); they are forgotten here.

        Raises:
            NoFeatures: the classifier was not called, or not with something for each image.
        """
        caught = dict(self._caught)
        self.forget()
        heads = [self._head(part, caught) for part in self._named] if self._named else [*caught][-1:]
        kept: list[tuple[torch.Tensor, torch.Tensor]] = []
        for raw, pooled in (caught[head] for head in heads if head is not None):
            if not any(raw is other for other, _ in kept):  # two heads may look at one vector
                kept.append((raw, pooled))
        if not kept:
            raise NoFeatures(f"no layer that could be the classifier of {self._classes} classes was called")
        features = torch.cat([pooled for _, pooled in kept], dim=1)
        if len(features) != images:
            raise NoFeatures(f"its classifier was given {len(features)} vectors for {images} images")
        return features

    def forget(self) -> None:
        """Let go of what was caught; the dictionary stays the same one, as compiled code holds on to it."""
        self._caught.clear()

    def _head(self, part: nn.Module, caught: dict[nn.Module, tuple[torch.Tensor, torch.Tensor]]) -> nn.Module | None:
        """A named classifier; where it pools for itself what it is given, the layer within that makes the logits."""
        inner = [each for each in self._within[part] if each in caught]
        if inner and (part not in caught or caught[part][0].ndim > 2):
            return inner[-1]
        return part if part in caught else None

    def _catch(self, part: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        given = next((each for each in (*inputs, *named.values()) if isinstance(each, torch.Tensor)), None)
        if given is not None and given.ndim >= 2:
            self._caught.pop(part, None)  # the last call counts, and the order of last calls
            self._caught[part] = (given, _pooled(given, part))


def _pooled(features: torch.Tensor, classifier: nn.Module) -> torch.Tensor:
    """(n, D) float32, a copy: the mean over the positions of a map (channels before them) or of tokens."""
    if features.ndim == 2:
        return features.to(torch.float32, copy=True)
    channels_first = features.ndim == 4 and not isinstance(classifier, nn.Linear)
    return features.float().mean((2, 3) if channels_first else tuple(range(1, features.ndim - 1)))
