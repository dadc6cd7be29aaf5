"""The ensemble as a torch module: the weighted mean of its members' calibrated probabilities.

Guarantees: images are decoded, resized and cropped by the code that the study predicts with, once for all members that
see the same pixels; every member runs in its own numeric mode, those that the study compiles as they are. No gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from overlap.ensemble.description import Description
from overlap.errors import DataError, gist
from overlap.precision import in_force
from overlap.zoo.decoders import Pixels, open_image
from overlap.zoo.preprocessing import Signature, from_signature

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

BATCH = 16
"""Images that `predict` asks of at once."""


class Ensemble(nn.Module):
    """Networks with the shares they have in the mean."""

    weights: Tensor

    def __init__(self, description: Description, networks: Sequence[nn.Module]) -> None:
        """Put an ensemble together.

        Args:
            description: what it is.
            networks: one a member, from pixels (n, 3, height, width) of 0-255 to calibrated probabilities (n, K).
        """
        super().__init__()
        self.description = description
        self.networks = nn.ModuleList(networks)
        shares = torch.tensor([member.weight for member in description.members], dtype=torch.float64)
        self.register_buffer("weights", shares)
        self._transforms: dict[Signature, Pixels] = {}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, by number."""
        return self.description.class_names

    def forward(self, batches: Sequence[Tensor]) -> Tensor:
        """Probabilities from pixels that are prepared already.

        Args:
            batches: one for each member, (n, 3, height, width) of 0-255 in any dtype, of the member's input size and
                not normalised; as `prepare` makes them.

        Returns:
            float32 (n, K).

        Raises:
            ValueError: another number of batches than members.
        """
        if len(batches) != len(self.networks):
            raise ValueError(f"{len(batches)} batches for {len(self.networks)} members; give one for each, in order")
        device = self.weights.device
        mixed: Tensor | None = None
        for weight, network, member, batch in zip(
            self.weights, self.networks, self.description.members, batches, strict=True
        ):
            with torch.no_grad(), in_force(member.numeric, device):
                share = weight * network(batch.to(device, torch.float32)).double()
            mixed = share if mixed is None else mixed + share
        if mixed is None:
            raise ValueError("an ensemble without members")
        return mixed.float()

    def prepare(self, images: Sequence[bytes | Image]) -> list[Tensor]:
        """What each member is to see of some images: uint8 (n, 3, height, width), on the ensemble's device.

        Args:
            images: JPEG or PNG as bytes, or PIL images.

        Raises:
            DataError: an image cannot be decoded; gives its place.
        """
        decoders = {member.preprocessing.decoder for member in self.description.members}
        opened = {decoder: [_opened(*each, decoder) for each in enumerate(images)] for decoder in decoders}
        made: dict[Signature, Tensor] = {}
        for member in self.description.members:
            preprocessing = member.preprocessing
            signature = preprocessing.signature
            if signature not in made:
                transform = self._transforms.get(signature) or from_signature(signature).transform()
                self._transforms[signature] = transform
                pixels = np.empty((len(images), *preprocessing.input_size, 3), np.uint8)
                for row, image in enumerate(opened[preprocessing.decoder]):
                    pixels[row] = transform(image)
                made[signature] = torch.from_numpy(pixels).to(self.weights.device).permute(0, 3, 1, 2).contiguous()
        return [made[member.preprocessing.signature] for member in self.description.members]

    def predict(self, images: Sequence[bytes | Image], batch_size: int = BATCH) -> NDArray[np.float32]:
        """Probabilities of images, float32 (n, K); arguments and errors as of `prepare`.

        Args:
            images: any number.
            batch_size: images that are looked at together, at least 1.
        """
        rows = [
            self(self.prepare(images[start : start + batch_size])).cpu().numpy()
            for start in range(0, len(images), batch_size)
        ]
        return np.concatenate(rows) if rows else np.empty((0, self.description.classes), np.float32)


def _opened(place: int, image: Any, decoder: str) -> Any:
    """An image as its decoder holds it; one that Pillow has opened already is taken as it is."""
    from PIL import Image

    try:
        if not isinstance(image, Image.Image):
            return open_image(image, decoder)
        if decoder == "pillow":
            return image.convert("RGB")
        from torchvision.transforms.v2.functional import pil_to_tensor

        return pil_to_tensor(image.convert("RGB"))
    except MemoryError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and more for damaged bytes
        raise DataError(f"image {place} cannot be decoded ({gist(error)}); give JPEG or PNG as bytes") from None
