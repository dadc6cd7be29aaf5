"""The module of a zero-shot classifier: an image tower, and a linear head made of texts."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class ZeroShotClassifier(nn.Module):
    """Logits are scaled cosines between an image's features and the classes' texts."""

    def __init__(self, visual: nn.Module, features: int, classes: int) -> None:
        super().__init__()
        self.visual = visual
        self.head = nn.Linear(features, classes)

    def get_classifier(self) -> nn.Module:
        """The layer that stays in float32 in every numeric mode."""
        return self.head

    def forward(self, images: Tensor) -> Tensor:
        """From (n, 3, h, w) normalised pixels to (n, classes) logits."""
        found = self.visual(images)
        features = found[0] if isinstance(found, tuple) else found  # CoCa's tower gives its tokens too
        logits: Tensor = self.head(functional.normalize(features.float(), dim=-1))
        return logits
