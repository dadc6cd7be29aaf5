"""Where the libraries' own weights are published, which of their files this machine has, and how it gets the rest.

Guarantees: nothing is asked of the network where `offline` says so; a host that cannot be reached is found out by one
short look at it, not by a client's retries for every file; a file is whole, or it is not there. Where files are kept is
for the libraries' own variables to say (HF_HOME, TORCH_HOME), so that what other programs fetched serves too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

from overlap import web
from overlap.errors import CheckpointError, DataError, gist
from overlap.identity import digest_file

PROBE_S = 4.0
"""Seconds within which a host must answer anything at all."""
OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
"""The hub client's own; either says that there is no network."""
YES = ("1", "ON", "YES", "TRUE")
NO_NETWORK = ("offline: ", "unreachable: ")
"""How a reason begins that is of the network and not of a checkpoint; the same for all files of a host."""
IN_NAME = re.compile(r"-([a-f0-9]{8,64})\.")
"""Leading digits of the SHA-256 of its bytes in the name of a file."""


@dataclass(frozen=True)
class Published:
    """Where a source's own weights are: in a repository of the hub, or at an address."""

    repository: str = ""
    """ID, or ID@REVISION."""
    names: tuple[str, ...] = ()
    """Of the file in the repository, the first that is there counts; of an address the name to keep it under."""
    url: str = ""

    @property
    def file(self) -> str:
        """The file, for a person."""
        return self.url or f"{self.repository} {self.names[0]}"


def offline() -> bool:
    """Whether the environment says that there is no network."""
    return any(os.environ.get(name, "").upper() in YES for name in OFFLINE_VARIABLES)


def held(published: Published) -> Path | None:
    """The file where this machine has it."""
    if published.url:
        path = _beside_torch(published)
        return path if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = published.repository.partition("@")
    for name in published.names:
        found = try_to_load_from_cache(repository, name, revision=revision or None)
        if isinstance(found, str):
            return Path(found)
    return None


def obtain(published: Published, *, local: bool = False) -> Path:
    """The file, fetched where this machine has not got it.

    Args:
        published: where it is.
        local: ask no network.

    Raises:
        CheckpointError: it cannot be had; the text names it.
    """
    found = held(published)
    if local:
        if found is None:
            raise CheckpointError(_missing(published))
        return found
    if published.url:
        return found or _download(published)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, _, revision = published.repository.partition("@")
    for name in published.names:
        try:
            return Path(hf_hub_download(repository, name, revision=revision or None, etag_timeout=PROBE_S))
        except LocalEntryNotFoundError as error:
            raise CheckpointError(f"{published.file}: the hub cannot be reached ({gist(error)})") from None
        except EntryNotFoundError:
            continue
        except Exception as error:  # hub clients raise whatever their transport raises
            raise CheckpointError(f"{published.file}: the hub gave nothing ({gist(error)})") from None
    raise CheckpointError(f"{published.repository}: the hub has none of {', '.join(published.names)}")


def absent(published: Sequence[Published], *, local: bool = False) -> list[str | bool | None]:
    """What cannot be had now, after one look at each host.

    Args:
        published: the files.
        local: ask no network.

    Returns:
        For each the reason why it cannot be had; None where only this machine's copy can; True where its host answers.
    """
    hosts = {_host(each) for each in published}
    trouble = dict.fromkeys(hosts, "") if local else _probe(hosts)
    said: list[str | bool | None] = []
    for each in published:
        host = _host(each)
        if host not in trouble:
            said.append(True)
        elif held(each) is not None:
            said.append(None)
        else:
            said.append(_missing(each) if local else _unreachable(host, trouble[host]))
    return said


def _missing(published: Published) -> str:
    if published.url:
        where = f"{_beside_torch(published).parent} (TORCH_HOME)"
    else:
        from huggingface_hub import constants

        where = f"{constants.HF_HUB_CACHE} (HF_HOME)"
    return f"offline: {published.file} is neither in the store nor in {where}"


def _unreachable(host: str, reason: str) -> str:
    return (
        f"unreachable: {host} does not answer ({reason}), and this machine has no copy of the weights; "
        "run where it does, or give `weights` a file"
    )


def _host(published: Published) -> str:
    if published.url:
        parts = urlsplit(published.url)
        return f"{parts.scheme}://{parts.netloc}"
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _probe(hosts: set[str]) -> dict[str, str]:
    """Why hosts do not answer; those that do are left out. Takes `PROBE_S` in all, whatever the resolver does."""
    answers: dict[str, Future[str]] = {host: Future() for host in hosts}

    def ask(host: str, answer: Future[str]) -> None:
        import requests

        try:
            requests.head(host, timeout=PROBE_S, allow_redirects=False).close()
            answer.set_result("")
        except requests.RequestException as error:
            answer.set_result(type(error).__name__)
        except Exception as error:  # a malformed address, or a proxy's
            answer.set_result(gist(error))

    for host, answer in answers.items():
        Thread(target=ask, args=(host, answer), daemon=True).start()  # one that hangs must not keep the process
    trouble = {}
    for host, answer in answers.items():
        try:
            reason = answer.result(PROBE_S)
        except TimeoutError:
            reason = f"no answer within {PROBE_S:.0f} s"
        if reason:
            trouble[host] = reason
    return trouble


def _beside_torch(published: Published) -> Path:
    """Where torch's own downloads of an address are, and are looked for."""
    from torch.hub import get_dir

    name = published.names[0] if published.names else Path(urlsplit(published.url).path).name
    return Path(get_dir()) / "checkpoints" / name


def _download(published: Published) -> Path:
    from filelock import FileLock

    url, path = published.url, _beside_torch(published)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if path.is_file():
            return path
        partial = path.with_name(f".{path.name}.fetched")
        try:
            web.fetch(url, partial)
        except DataError as error:
            raise CheckpointError(str(error)) from None
        stated = IN_NAME.search(path.name)
        if stated is not None and not digest_file(partial).startswith(stated[1]):
            partial.unlink()
            raise CheckpointError(f"{url}: its bytes do not have the digest in its name; run again")
        partial.replace(path)
    return path
