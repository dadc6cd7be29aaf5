"""Every error of a manifest against the schema of its kind: from kubernetes-validate, or from data beside this."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

KUBERNETES = "1.37"
SCHEMAS = Path(__file__).parent / "schemas"
DEFINITIONS = "/api/_definitions.json"
ELSEWHERE = {"ray.io": "kuberay.json", "kueue.x-k8s.io": "kueue.json"}
"""File of the kinds of an API group."""


@cache
def _definitions() -> Any:
    return json.loads(_packaged("_definitions.json"))


def _packaged(name: str) -> str:
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{KUBERNETES}.0-local-strict"
    return (folder / name).read_text(encoding="utf-8")


def _schema(api_version: str, kind: str) -> Any:
    group, _, version = api_version.rpartition("/")
    if group in ELSEWHERE:
        schema = json.loads((SCHEMAS / ELSEWHERE[group]).read_text(encoding="utf-8"))
        assert kind in schema["$defs"], f"no schema of {api_version} {kind}"
        return schema | {"$ref": f"#/$defs/{kind}"}
    short = "-".join(part for part in (group.partition(".")[0], version) if part)
    return json.loads(_packaged(f"{kind.lower()}-{short}.json"))


@cache
def _validator(api_version: str, kind: str) -> Draft202012Validator:
    definitions = Resource.from_contents(_definitions(), default_specification=DRAFT202012)
    registry: Any = Registry().with_resource(DEFINITIONS, definitions)
    return Draft202012Validator(_schema(api_version, kind), registry=registry)


def errors(manifest: dict[str, Any]) -> list[str]:
    """All errors, as `path: what is wrong`; the first alone would hide the others."""
    found = _validator(manifest["apiVersion"], manifest["kind"]).iter_errors(manifest)
    return sorted(f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in found)
