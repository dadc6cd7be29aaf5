"""Mistakes in a study file, told in one line each: which key, what is wrong with it, and what would be right."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ValidationError

SECRET = re.compile(r"secret|password|passwd|token|access_key|credential", re.IGNORECASE)
SIGNED = re.compile(r"signature|(?:^|[-_])sig$|(?:^|[-_])key$", re.IGNORECASE)
"""Query parameters of an address that alone open what they name; with `SECRET`."""


USERS = re.compile(r"checkpoint|zoo\.\d+\.defaults")
"""Places in a study whose keys may be those of the user's own code."""


def secret_key(value: Any, where: str = "") -> str | None:
    """The first key of a document that looks like a secret, dotted; None where there is none.

    Names of data sets, and what lies under checkpoints and their defaults (arguments may well be called `tokens`), are
    let pass.
    """
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        name = f"{where}.{key}" if where else str(key)
        if isinstance(key, str) and where != "data" and not USERS.match(where) and SECRET.search(key):
            return name
        found = secret_key(inner, name)
        if found is not None:
            return found
    return None


def refuse_credentials(address: str) -> str:
    """An address itself, where it carries no credentials.

    Raises:
        ValueError: it holds a password, or (of a server that asks for both) a user name, or a signed query.
    """
    parts = urlsplit(address)
    if parts.password or ("@" in parts.netloc and parts.scheme in ("http", "https", "s3")):
        raise ValueError("holds a user name or password; leave it out and set it in the environment")
    if parts.scheme in ("http", "https"):
        for name, _ in parse_qsl(parts.query, keep_blank_values=True):
            if SECRET.search(name) or SIGNED.search(name):
                raise ValueError(f"holds credentials ('{name}' in its query); use an address without them")
    return address


def explain(
    error: ValidationError, document: Mapping[str, Any], sections: Mapping[str, type[BaseModel]], whole: type[BaseModel]
) -> str:
    """The first mistake that pydantic found in a document, as key, complaint and mend.

    Args:
        error: what it found.
        document: the study file as it was read.
        sections: the model of each table by the last name of its key.
        whole: the model of the document.
    """
    first = error.errors()[0]
    place = first["loc"]
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    key = f"key '{'.'.join(str(part) for part in place)}'{_whose(place, document)}" if place else "the study"
    fields = _section(place[:-1], sections, whole).model_fields
    known = sorted({field.alias or name for name, field in fields.items()} - {"path"})
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(place[-1]), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
        return f"unknown {key}; {hint}{more}"
    if first["type"] == "missing":
        return f"{key} is missing; add it{more}"
    if first["type"] in ("model_type", "dict_type"):
        return f"{key} must be a table{more}"
    if first["type"] == "tuple_type":
        return f"{key} must be a list{more}"
    message = first["msg"].removeprefix("Value error, ")
    given = first["input"]
    if first["type"] != "value_error" and isinstance(given, bool | int | float | str):
        message += f", not {given!r}"
    return f"{key}: {message}{more}"


def _whose(place: Sequence[int | str], document: Mapping[str, Any]) -> str:
    """Which checkpoint a key belongs to: a number among hundreds would say little."""
    if len(place) < 2 or place[0] != "checkpoint" or not isinstance(place[1], int):
        return ""
    entry = document["checkpoint"][place[1]]
    name = entry.get("id") if isinstance(entry, dict) else None
    return f" of checkpoint '{name}'" if isinstance(name, str) else ""


def _section(
    place: Sequence[int | str], sections: Mapping[str, type[BaseModel]], whole: type[BaseModel]
) -> type[BaseModel]:
    names = ["data"] if place[:1] == ("data",) else [str(part) for part in place if part in sections]
    return sections[names[-1]] if names else whole
