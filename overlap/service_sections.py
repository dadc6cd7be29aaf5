"""The tables of a study file that say where things are kept, who is told, and what is kept of it."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from overlap.fields import (
    Address,
    DataName,
    Duration,
    Flag,
    Integer,
    Resolved,
    Section,
    Several,
    TrackingUri,
    is_uri,
    seconds,
)
from overlap.mistakes import refuse_credentials


class Store(Section):
    """Where predictions, records and results are kept."""

    uri: Resolved
    """A folder or s3://BUCKET/PREFIX; the folder `store` beside the study without it."""
    endpoint_url: Address | None = None
    """Of an S3 server that is not Amazon's; AWS_ENDPOINT_URL without it."""

    @model_validator(mode="after")
    def _folder_or_bucket(self) -> Store:
        if is_uri(self.uri) and not self.uri.startswith("s3://"):
            raise ValueError(f"uri '{self.uri}' is neither a folder nor s3://bucket/prefix")
        return self


class Tracking(Section):
    """Where MLflow is; `none` for no tracking."""

    uri: TrackingUri
    """http(s)://HOST, sqlite:///FILE, databricks, or none; SQLite in the store's folder without it."""


class Notify(Section):
    """Who is told of new results and of failures, by whoever runs the study, once each."""

    command: tuple[str, ...] = ()
    """A program and its arguments, run in the study's folder without a shell; the summary comes as JSON on its
    standard input."""
    url: str | None = None
    """Where the summary is posted as JSON; `env:NAME` for an address that the environment keeps, since it is secret."""
    on: Annotated[tuple[Literal["news", "failure"], ...], Several] = ("news", "failure")
    """What is told: new results, and checkpoints or shards that failed."""

    @model_validator(mode="after")
    def _somebody(self) -> Notify:
        if not self.command and self.url is None:
            raise ValueError("names nobody to tell; give command or url")
        if self.command and not self.command[0]:
            raise ValueError("command is empty; give a program and its arguments")
        if self.url is not None and not self.url.startswith("env:"):
            try:
                host = urlsplit(self.url).hostname if self.url.startswith(("http://", "https://")) else None
            except ValueError:
                host = None
            if not host:
                raise ValueError("url is no http(s)://HOST address, nor env:NAME of a variable that holds one")
            refuse_credentials(self.url)
        return self


class Champion(Section):
    """Whether the best ensemble so far is kept in MLflow as a model that can be asked."""

    wanted: Flag = Field(default=False, alias="register")
    """Opt-in, since the weights of all members are uploaded: gigabytes where networks are large."""
    name: Annotated[str, Field(pattern=r"^[^/:.%\"']+$", max_length=200)] | None = None
    """Of the registered model; the study's name without it."""
    data: DataName | None = None
    """Whose images and labels decide; the first data set to evaluate on without it."""


class Retention(Section):
    """What `overlap gc` may remove beside orphans, and how young nothing is removed; without it everything stays."""

    results: Annotated[Integer, Field(ge=0)] | None = None
    """Earlier reductions that are kept of each data set; None for all."""
    withdrawn: Duration | None = None
    """What is left of checkpoints that no study in the store has any more goes after this time; None for never."""
    grace: Duration = "24h"
    """Nothing younger is ever removed: a run may be about to certify it."""

    @property
    def withdrawn_seconds(self) -> float | None:
        """`withdrawn` in seconds, never less than the grace."""
        return None if self.withdrawn is None else max(seconds(self.withdrawn), self.grace_seconds)

    @property
    def grace_seconds(self) -> float:
        """`grace` in seconds."""
        return seconds(self.grace)
