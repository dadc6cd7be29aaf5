"""The numeric mode of a checkpoint's forward pass, as it stands in the fingerprint."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Numeric:
    """Numeric mode of the forward pass; the classifier and the logits are float32 in all of them."""

    dtype: str = "float32"
    tf32: bool = False
    autocast: bool = False
    compiled: bool = False
    """Whether the network goes through torch.compile, which fuses layers: the same sums in another order."""

    @classmethod
    def of(cls, name: str, *, compiled: bool = False) -> Numeric:
        """The mode that `predict.dtype` names, compiled or as it is."""
        if name == "tf32":
            return cls(tf32=True, compiled=compiled)
        return cls(dtype=name, autocast=name != "float32", compiled=compiled)

    def identity(self) -> dict[str, Any]:
        """As it stands in an identity: compiling is named only where it is done, as identities are older than it."""
        fields = asdict(self)
        if not self.compiled:
            del fields["compiled"]
        return fields

    @property
    def exact(self) -> bool:
        """Whether this is plain float32, the reference that other modes are measured against."""
        return self == Numeric()
