"""infra/terraform against the providers' own arguments, and every reference against what is declared.

No provider can be had offline, so that `terraform validate` runs only where one was initialised; formatting and syntax
are checked by Terraform itself where it is installed.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import hcl2
import pytest

from tests.infra.rendering import ROOT

FOLDER = ROOT / "infra/terraform/aws"
FILES = sorted(FOLDER.glob("*.tf"))
META = {"count", "for_each", "depends_on", "lifecycle", "provider", "provisioner", "connection"}
"""Arguments that every resource has."""
ITSELF = {"each", "count", "path", "self", "terraform"}
"""First words of references to nothing that is declared."""


@cache
def parsed() -> dict[str, list[Any]]:
    """All files together, by kind of block."""
    whole: dict[str, list[Any]] = {}
    for path in FILES:
        with path.open(encoding="utf-8") as file:
            for kind, blocks in hcl2.load(file).items():
                whole.setdefault(kind, []).extend(blocks)
    return whole


def plain(value: Any) -> Any:
    """Without the parser's quotes and notes."""
    if isinstance(value, dict):
        return {key.strip('"'): plain(inner) for key, inner in value.items() if not key.startswith("__")}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value


def resources() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Kind and type, name, and body of every resource and data source."""
    for mode in ("resource", "data"):
        for block in plain(parsed()[mode]):
            for kind, named in block.items():
                for name, body in named.items():
                    yield f"{mode}.{kind}", name, body


def schema() -> dict[str, Any]:
    types: dict[str, Any] = json.loads((Path(__file__).parent / "schemas/terraform.json").read_text())["types"]
    return types


def complaints(body: dict[str, Any], allowed: dict[str, Any], where: str) -> list[str]:
    """Arguments that the provider does not have or misses, at any depth."""
    body = {name: value for name, value in body.items() if name not in META}
    given = set(body) - {"dynamic"}
    found = [
        f"{where}: no argument {name}"
        for name in given - {*allowed["required"], *allowed["optional"], *allowed["blocks"]}
    ]
    found += [f"{where}: {name} is missing" for name in set(allowed["required"]) - given]
    for name, inner in allowed["blocks"].items():
        value = body.get(name)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                found += complaints(one, inner, f"{where}.{name}")
    for block in body.get("dynamic", []):
        for name, inner in block.items():
            if name not in allowed["blocks"]:
                found.append(f"{where}: no block {name}")
                continue
            for content in inner["content"]:
                found += complaints(content, allowed["blocks"][name], f"{where}.{name}")
    return found


def test_every_argument_is_one_of_the_provider() -> None:
    types, seen = schema(), list(resources())
    assert len(seen) > 20
    for kind, name, body in seen:
        assert complaints(body, types[kind], f"{kind}.{name}") == []
    (bucket,) = [body for kind, _, body in seen if kind == "resource.aws_s3_bucket_public_access_block"]
    allowed = types["resource.aws_s3_bucket_public_access_block"]
    assert complaints(bucket | {"block_public_acl": True}, allowed, "x") == ["x: no argument block_public_acl"]
    assert complaints({}, allowed, "x") == ["x: bucket is missing"]
    (rules,) = [body for kind, _, body in seen if kind == "resource.aws_s3_bucket_lifecycle_configuration"]
    spoiled = copy.deepcopy(rules)
    spoiled["rule"][0]["abort_incomplete_multipart_upload"][0]["days"] = 2
    assert len(complaints(spoiled, types["resource.aws_s3_bucket_lifecycle_configuration"], "x")) == 1


def declared() -> set[str]:
    names = {f"var.{name}" for block in plain(parsed()["variable"]) for name in block}
    names |= {f"local.{name}" for block in plain(parsed()["locals"]) for name in block}
    for kind, name, _ in resources():
        names.add(f"{kind.removeprefix('resource.')}.{name}")
    return names


def references(text: str) -> set[str]:
    """`var.x`, `local.x`, `data.type.name` and `type.name` in Terraform's text, comments and plain strings aside."""
    text = re.sub(r"#.*", "", text)
    text = re.sub(r'"((?:\\.|[^"\\])*)"', lambda quoted: " ".join(re.findall(r"\$\{(.*?)\}", quoted[1])), text)
    found = set()
    for one in re.findall(r"(?<![\w.])[a-z][\w]*(?:\.[a-z_]\w*)+", text):
        parts = one.split(".")
        if parts[0] not in ITSELF:
            found.add(".".join(parts[: 3 if parts[0] == "data" else 2]))
    return found


def test_every_reference_is_to_something_declared() -> None:
    bound = {"name", "account"}  # of `for` expressions
    used = {one for path in FILES for one in references(path.read_text(encoding="utf-8"))}
    used = {one for one in used if one.split(".")[0] not in bound}
    assert used - declared() == set()
    unused = {name for name in declared() if name.startswith(("var.", "local."))} - used
    assert unused == set(), "a variable that nothing reads"
    assert references('a = "x-${var.nmae}" # var.not') == {"var.nmae"}


def test_what_is_secret_and_what_is_public() -> None:
    found = {(kind, name): body for kind, name, body in resources()}
    database = found["resource.aws_db_instance", "mlflow"]
    assert database["publicly_accessible"] is False
    assert database["storage_encrypted"] is True
    assert database["deletion_protection"] is True
    access = found["resource.aws_s3_bucket_public_access_block", "this"]
    assert {value for name, value in access.items() if name != "bucket"} == {True}
    statements = found["data.aws_iam_policy_document", "store"]["statement"]
    assert all("*" not in action for one in statements for action in one["actions"])
    (listing,) = [one for one in statements if one["actions"] == ['"s3:ListBucket"']]
    assert listing["condition"][0]["variable"] == '"s3:prefix"'
    assert not any(
        len(block["rule"][0].get("expiration", [])) for (kind, _), block in found.items() if "lifecycle" in kind
    )


def test_names_are_those_of_the_manifests() -> None:
    variables = {name: body for block in plain(parsed()["variable"]) for name, body in block.items()}
    accounts = {name.strip('"') for name in variables["service_accounts"]["default"]}
    stated = set()
    for path in (ROOT / "cluster/kubernetes").rglob("*.yaml"):
        stated |= set(re.findall(r"kind: ServiceAccount\nmetadata:\n  name: (\S+)", path.read_text(encoding="utf-8")))
    assert accounts == stated
    launched = (ROOT / "cluster/ray-up/aws.yaml").read_text(encoding="utf-8")
    profiles = {body["name"].strip('"') for kind, _, body in resources() if kind == "resource.aws_iam_instance_profile"}
    prefix = variables["name"]["default"].strip('"')
    assert {profile.replace("${var.name}", prefix) for profile in profiles} == set(
        re.findall(r"{Name: (\S+)}", launched)
    )
    assert f"cluster_name: {prefix} " in launched


def test_terraform_itself_reads_it(tmp_path: Path) -> None:
    terraform = shutil.which("terraform") or shutil.which("tofu")
    if terraform is None:
        pytest.skip("neither terraform nor tofu is here")
    command = [terraform, "fmt", "-check", "-diff"]
    done = subprocess.run([*command, str(FOLDER)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "spoiled.tf").write_text('resource "aws_s3_bucket" "this" {\n  bucket = \n}\n', encoding="utf-8")
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
