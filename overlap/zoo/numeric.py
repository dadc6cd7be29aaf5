"""The numeric mode of a checkpoint's forward pass, as it stands in the fingerprint."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Numeric:
    """Numeric mode of the forward pass; the classifier and the logits are float32 in all of them."""

    dtype: str = "float32"
    tf32: bool = False
    autocast: bool = False

    @classmethod
    def of(cls, name: str) -> Numeric:
        """The mode that `predict.dtype` names."""
        if name == "tf32":
            return cls(tf32=True)
        return cls(dtype=name, autocast=name != "float32")

    @property
    def exact(self) -> bool:
        """Whether this is plain float32, the reference that other modes are measured against."""
        return self == Numeric()
