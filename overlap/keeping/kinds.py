"""Every kind of object that a store may hold, as a table: how its keys look, and by which rule it may go.

Guarantees: a key belongs to one kind at most. What belongs to none is never removed, only named; a kind without a rule
is never removed either. A new prefix of the store is one more row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

_FINGERPRINT, _SHORT, _DIGEST = r"(?P<fingerprint>[^/]+)", r"[0-9a-f]{16}", r"[0-9a-f]{64}"
_DATA = r"(?P<data>[^/@]+)"
_RESULTS = r"results/(?P<results>[^/]+)"
_UNIT = rf"{_DATA}/{_FINGERPRINT}/(?P<shard>{_SHORT})"


@dataclass(frozen=True)
class Kind:
    """One kind of object."""

    name: str
    pattern: str
    """Of whole keys; its named groups are what the rule goes by."""
    rule: str | None = None
    """A rule of `rules.RULES`; None for what always stays."""


@dataclass(frozen=True)
class Parsed:
    """A key that is understood."""

    kind: Kind
    parts: dict[str, str]


KINDS: tuple[Kind, ...] = (
    # In the order in which things are removed: what names goes before what it names, so that nothing is named in vain
    # when a clean-up is cut short.
    Kind("manifest", rf"complete/{_DATA}/{_SHORT}/{_FINGERPRINT}/manifest\.json", "withdrawn"),
    Kind("hard predictions", rf"complete/{_DATA}/(?P<dataset>{_SHORT})/{_FINGERPRINT}/hard\.parquet", "completed"),
    Kind("record", rf"records/{_UNIT}(\.[1-9][0-9]*)?\.json", "withdrawn"),
    Kind("predictions", rf"predictions/{_UNIT}-{_SHORT}\.parquet", "certified"),
    Kind("features", rf"predictions/{_UNIT}-{_SHORT}\.features\.parquet", "certified"),
    Kind("answers", rf"answers/{_DATA}/{_SHORT}/{_FINGERPRINT}/[^/]+\.safetensors", "kept"),
    Kind("answers of pairs", rf"pairs/{_DATA}/{_SHORT}/[^/]+\.safetensors", "kept"),
    Kind("weights", rf"weights/(?P<digest>{_DIGEST})(\.[a-z]+)?", "weights"),
    Kind("identity", rf"identities/(?P<model>[^/]+)/{_FINGERPRINT}\.json", "identified"),
    Kind("shard", rf"shards/(?P<digest>{_DIGEST})\.tar", "staged"),
    Kind("imported table", rf"imports/{_DATA}/[^/]+-{_SHORT}\.parquet", "imported"),
    Kind("earlier result", rf"{_RESULTS}/(?P<inputs>{_SHORT})/.+", "reduced"),
    Kind("probe", r"check/[^/]+", "probe"),
    Kind("result", rf"{_RESULTS}(/[^/]+)?"),
    Kind("import", rf"imports/{_DATA}/[^/]+\.json"),
    Kind("failure", rf"failures/{_DATA}/[^/]+/({_SHORT}|checkpoint)\.json"),
    Kind("labels", r"labels/[^/]+\.parquet"),
    Kind("memo", rf"memo/(?P<memo>[^/]+)/{_DIGEST}\.json"),
    Kind("snapshot", r"studies/[^/]+\.json"),
    Kind("schedule", r"schedules/.+"),
    Kind("turn", r"turns/[^/]+/[0-9]{8}\.json"),
    Kind("job", r"jobs/[^/]+\.json"),
    Kind("tracking", r"mlflow\.db(-[a-z]+)?|mlartifacts/.+"),
)
"""Of two patterns that fit, the first counts."""


def parse(key: str) -> Parsed | None:
    """What a key is; None where it is of no kind."""
    for kind in KINDS:
        match = _compiled(kind.pattern).fullmatch(key)
        if match is not None:
            return Parsed(kind, {name: part for name, part in match.groupdict().items() if part is not None})
    return None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
