"""The table `[[zoo]]` of a study file: a query over a library's weights, or a folder of one's own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from overlap.fields import Number, Resolved, Several, Size, is_uri
from overlap.sections import Description, Section


class ZooQuery(Section):
    """A query, or a folder, that expands to many checkpoints at every run."""

    source: Literal["timm", "open_clip"] | None = None
    select: tuple[str, ...] = Field(default=(), min_length=1)
    """Names with wildcards: ARCHITECTURE.TAG of timm, MODEL/TAG of open_clip."""
    folder: Resolved | None = None
    """Folder or s3://BUCKET/PREFIX of checkpoints, one a weights file or a sub-folder; instead of source and select."""
    defaults: Description | None = None
    """What holds for the folder's checkpoints where the TOML beside one does not say otherwise."""
    class_space: str | None = None
    """Take the models whose heads have the classes of this known list, and map them to the data's."""
    exclude: Annotated[tuple[str, ...], Several] = ()
    """Names with wildcards that are left out of what `select` matches."""
    min_parameters: Number | None = Field(default=None, gt=0)
    """Parameters with a head for 1,000 classes, of open_clip's models their image tower's; 30e6 for 30 million."""
    max_parameters: Number | None = Field(default=None, gt=0)
    min_input_size: Size | None = None
    """Longer side of what the network is evaluated on, in pixels."""
    max_input_size: Size | None = None
    license: Annotated[tuple[str, ...], Several] = ()
    """Licences of the weights, with wildcards; weights whose licence is not stated are then left out."""

    @model_validator(mode="after")
    def _query_or_folder(self) -> ZooQuery:
        if (self.source is None) == (self.folder is None):
            raise ValueError("needs exactly one of source (with select) and folder")
        if self.folder is None:
            if not self.select:
                raise ValueError("select is missing or empty; name models, with wildcards")
            if self.defaults is not None:
                raise ValueError("defaults are of a folder's checkpoints; leave them out")
            strange = sorted(self.model_fields_set & {"class_space", "license"})
            if self.source == "open_clip" and strange:
                raise ValueError(
                    f"{strange[0]} is of a query over timm's models (open_clip states no licence, and its heads are "
                    "made for the data's classes); leave it out"
                )
            return self
        strange = sorted(self.model_fields_set - {"folder", "defaults"})
        if strange:
            raise ValueError(f"{strange[0]} is of a query over a library's models; with folder leave it out")
        if is_uri(self.folder) and not self.folder.startswith("s3://"):
            raise ValueError(f"folder '{self.folder}' is neither a folder nor s3://bucket/prefix")
        return self

    @model_validator(mode="after")
    def _limits_in_order(self) -> ZooQuery:
        for what in ("parameters", "input_size"):
            low, high = getattr(self, f"min_{what}"), getattr(self, f"max_{what}")
            if low is not None and high is not None and low > high:
                raise ValueError(f"min_{what} {low} is above max_{what} {high}; nothing could be selected")
        return self
