"""Every key that a study file may hold, with what it takes, its default and its meaning, from the sections themselves.

Guarantees: what is told is what `load_study` reads: names, kinds, limits and defaults are those of the models in
`sections`, meanings are their docstrings. The schema refuses nothing that a study may say; it does not refuse all that
`load_study` does, which also looks at several keys together.
"""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from pydantic import BaseModel

from overlap.errors import StudyError
from overlap.fields import Section, Several
from overlap.methodology import Training
from overlap.sections import SECTIONS, Budgets
from overlap.study import Study

DIALECT = "https://json-schema.org/draft/2020-12/schema"
WIDTH = 100
"""Characters of a line of text."""
LEAST = {
    "minimum": "{} or more",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}
"""Limits of a number in a schema, in words."""
KINDS = {"boolean": "true or false", "integer": "whole number", "number": "number", "string": "text", "object": "table"}
Schema = dict[str, Any]


def schema() -> Schema:
    """The JSON schema of a study file, for editors that complete and check TOML by one."""
    whole = Study.model_json_schema(by_alias=True)
    models: list[type[BaseModel]] = [Study, Budgets, *SECTIONS.values()]
    for model in models:
        _complete(whole if model is Study else whole["$defs"][model.__name__], model)
    del whole["properties"]["path"]
    whole["required"] = ["name"]
    for table in ("Store", "Tracking"):  # their defaults depend on where the file is
        del whole["$defs"][table]["required"]
    return {"$schema": DIALECT, **whole}


def lines(table: str | None = None) -> list[str]:
    """The keys as text, of one table or of all.

    Args:
        table: its name without brackets, for instance predict, data or checkpoint.training.

    Raises:
        StudyError: there is no such table.
    """
    whole = schema()
    tables = {name: (shown, told) for name, shown, told in _tables(whole, whole, "", "")}
    if table is not None and table not in tables:
        raise StudyError(f"a study has no table '{table}'; it has: {', '.join(filter(None, tables))}")
    found = []
    for name in tables if table is None else (table,):
        shown, told = tables[name]
        found += ["", *_wrapped(told["description"], f"{shown}  " if shown else "")]
        for key, one in told["properties"].items():
            if not _inner(whole, one):
                found += _told(key, one, needed=key in told.get("required", ()))
    return found[1:]


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """What the docstrings below a model's fields say, by field."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if issubclass(each, BaseModel) and each not in (BaseModel, Section):
            (parsed,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
            assert isinstance(parsed, ast.ClassDef)
            for field, said in pairwise(parsed.body):
                if isinstance(field, ast.AnnAssign) and isinstance(said, ast.Expr):
                    found[ast.unparse(field.target)] = " ".join(str(ast.literal_eval(said.value)).split())
    return found


def _complete(told: Schema, model: type[BaseModel]) -> None:
    """Add what pydantic does not say of a model: meanings, and what its validators take beside."""
    told["description"] = " ".join(told["description"].split())
    del told["title"]
    said = meanings(model)
    for name, field in model.model_fields.items():
        key = told["properties"][field.alias or name]
        key.pop("title", None)
        if Several in field.metadata:
            several = {part: key.pop(part) for part in ("type", "items")}
            key["anyOf"] = [several, several["items"]]
        if model is Training:
            key["anyOf"].insert(1, {"type": "number"})
        if name in said:
            key["description"] = said[name]


def _tables(whole: Schema, told: Schema, name: str, shown: str) -> Iterator[tuple[str, str, Schema]]:
    """The tables of a study, the whole first: name, how it is headed in the file, and what is in it."""
    yield name, shown, told
    for key, one in told["properties"].items():
        if inner := _inner(whole, one):
            full = f"{name}.{key}" if name else key
            heading = (
                f"[[{full}]]" if "items" in one else f"[{full}.NAME]" if "additionalProperties" in one else f"[{full}]"
            )
            yield from _tables(whole, inner, full, heading)


def _inner(whole: Schema, key: Schema) -> Schema | None:
    """The table, or each of the tables, that a key is; None of another."""
    for one in (key, key.get("items"), key.get("additionalProperties"), *key.get("anyOf", ())):
        if isinstance(one, dict) and "$ref" in one:
            table: Schema = whole["$defs"][one["$ref"].rpartition("/")[2]]
            return table
    return None


def _told(name: str, key: Schema, *, needed: bool) -> Iterator[str]:
    default = key.get("default")
    usual = " = " + json.dumps(default, ensure_ascii=False) if default not in (None, [], {}) else ""
    yield f"  {name}{usual}  ({'needed: ' if needed else ''}{_kind(key)})"
    yield from _wrapped(key["description"], "      ")


def _kind(key: Schema) -> str:
    """What a key takes, in words."""
    if "enum" in key or "const" in key:
        return ", ".join(json.dumps(value) for value in key.get("enum", [key.get("const")]))
    if "anyOf" in key:
        return " or ".join(dict.fromkeys(_kind(one) for one in key["anyOf"] if one.get("type") != "null"))
    if key.get("type") == "array":
        parts = key.get("prefixItems")
        return f"list of {len(parts)}: {_kind(parts[0])}" if parts else f"list of {_kind(key['items'])}"
    limits = [words.format(key[limit]) for limit, words in LEAST.items() if limit in key]
    return " ".join([KINDS[key["type"]], *limits[:1], *(f"and {limit}" for limit in limits[1:])])


def _wrapped(text: str, indent: str) -> list[str]:
    later = indent if not indent.strip() else "    "
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=later, break_on_hyphens=False)
