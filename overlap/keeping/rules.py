"""Why an object may go: one rule for each kind of reason, over what the whole store refers to.

Guarantees: what anything refers to stays, unless the study's retention names it; a doubt keeps. Age is not looked at
here but where retention is about age.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from overlap.keeping.references import Listing, References, grouped
from overlap.service_sections import Retention
from overlap.store import kept, layout
from overlap.store.objects import Objects


@dataclass(frozen=True)
class Rules:
    """The rules, over one look at a store."""

    objects: Objects
    """Where it is looked up which pairs an object holds, and nothing else."""
    listing: Listing
    references: References
    retention: Retention
    now: float
    """Seconds since 1970 by the store's clock."""

    def reason(self, key: str) -> str | None:
        """Why an object may go; None where it stays."""
        _, parsed = self.listing[key]
        if parsed.kind.rule is None:
            return None
        return RULES[parsed.kind.rule](self, key, parsed.parts)

    @cached_property
    def _units(self) -> Listing:
        """All but what is kept of units: it may go at any time, and keeps nothing."""
        return {key: held for key, held in self.listing.items() if held[1].kind.rule != "kept"}

    @cached_property
    def withdrawn(self) -> set[tuple[str, str]]:
        """(data set, fingerprint) that no snapshot and no newest result names, untouched for the time of retention."""
        age = self.retention.withdrawn_seconds
        if age is None or "named" in self.references.doubts:
            return set()
        groups = grouped(self._units, "data", "fingerprint")
        return {
            (data, fingerprint)
            for (data, fingerprint), held in groups.items()
            if fingerprint not in self.references.named and max(info.modified for info in held) <= self.now - age
        }

    @cached_property
    def identities(self) -> set[str]:
        """Keys of the identities of which nothing is left."""
        age = self.retention.withdrawn_seconds
        if age is None or {"named", "identities"} & self.references.doubts.keys():
            return set()
        groups = grouped(self._units, "data", "fingerprint")
        left = {fingerprint for data, fingerprint in groups if (data, fingerprint) not in self.withdrawn}
        return {
            key
            for key, (info, parsed) in self.listing.items()
            if parsed.kind.name == "identity"
            and parsed.parts["fingerprint"] not in left | self.references.named
            and info.modified <= self.now - age
        }

    @cached_property
    def weights(self) -> set[str]:
        """Digests of weights that nothing remaining refers to."""
        held = {parsed.parts["digest"] for _, parsed in self.listing.values() if parsed.kind.name == "weights"}
        if "identities" in self.references.doubts:
            return set()
        gone = {digest for key, digest in self.references.identities.items() if key in self.identities}
        used = {digest for key, digest in self.references.identities.items() if key not in self.identities}
        return held - used - (self.references.remembered - gone)

    @cached_property
    def reduced(self) -> set[tuple[str, str]]:
        """(results, inputs) beyond the number of earlier reductions that are kept."""
        number = self.retention.results
        if number is None:
            return set()
        ages: dict[str, list[tuple[float, str]]] = {}
        for (name, inputs), held in grouped(self.listing, "results", "inputs").items():
            newest = self.references.newest.get(name)  # without it nothing is known to be an earlier one
            if newest not in (None, inputs):
                ages.setdefault(name, []).append((max(info.modified for info in held), inputs))
        return {(name, inputs) for name, all_of in ages.items() for _, inputs in sorted(all_of, reverse=True)[number:]}

    @cached_property
    def unreachable(self) -> set[str]:
        """Keys of answers and pairs that no reduction asks for whose results stay, withdrawn checkpoints left out.

        Of a data set of which one of the newest results does not say what it asks for, everything stays.
        """
        held: dict[str, list[str]] = {}
        for key, (_, parsed) in self.listing.items():
            if parsed.kind.rule == "kept":
                held.setdefault(parsed.parts["data"], []).append(key)
        newest = self.references.newest.items()
        unsaid = {_data(name) for name, inputs in newest if (name, inputs) not in self.references.asked}
        found: set[str] = set()
        for data in held.keys() - unsaid:
            if self.references.doubts.keys() & {f"kept {data}", "named"}:
                continue
            gone = {fingerprint for of, fingerprint in self.withdrawn if of == data}
            asked = [
                one.less(gone)
                for (name, inputs), one in self.references.asked.items()
                if _data(name) == data and not self._goes(name, inputs)
            ]
            found |= set(kept.unreachable(self.objects, held[data], asked))
        return found

    def _goes(self, name: str, inputs: str) -> bool:
        """Whether what a reduction says it asks for is removed now."""
        key = layout.results(name, kept.ASKED, inputs=inputs)
        old = self.listing[key][0].modified <= self.now - self.retention.grace_seconds
        return old and (name, inputs) in self.reduced

    def _withdrawn(self, key: str, parts: dict[str, str]) -> str | None:
        gone = (parts["data"], parts["fingerprint"]) in self.withdrawn
        return "its checkpoint was withdrawn (retention.withdrawn)" if gone else None

    def _certified(self, key: str, parts: dict[str, str]) -> str | None:
        unit = (parts["data"], parts["fingerprint"], parts["shard"])
        if key in self.references.objects or unit in self.references.doubtful:
            return self._withdrawn(key, parts)
        return "no record names it"

    def _kept(self, key: str, parts: dict[str, str]) -> str | None:
        why = self._withdrawn(key, parts) if "fingerprint" in parts else None
        return why or ("no results that stay ask for it" if key in self.unreachable else None)

    def _completed(self, key: str, parts: dict[str, str]) -> str | None:
        manifest = f"{key.rpartition('/')[0]}/manifest.json"
        return self._withdrawn(key, parts) if manifest in self.listing else "it has no manifest"

    def _identified(self, key: str, parts: dict[str, str]) -> str | None:
        return "its checkpoint was withdrawn (retention.withdrawn)" if key in self.identities else None

    def _weights(self, key: str, parts: dict[str, str]) -> str | None:
        return "no identity refers to it" if parts["digest"] in self.weights else None

    def _staged(self, key: str, parts: dict[str, str]) -> str | None:
        shard = self.references.staged.get(parts["digest"])  # of one that is not remembered nobody knows whose it is
        if shard is None or shard in self.references.shards or "named" in self.references.doubts:
            return None
        return "no study has this shard any more"

    def _imported(self, key: str, parts: dict[str, str]) -> str | None:
        if key in self.references.tables or f"tables {parts['data']}" in self.references.doubts:
            return None
        return "a later import replaced it"

    def _reduced(self, key: str, parts: dict[str, str]) -> str | None:
        beyond = (parts["results"], parts["inputs"]) in self.reduced
        return f"beyond the {self.retention.results} earlier ones that are kept (retention.results)" if beyond else None

    def _probe(self, key: str, parts: dict[str, str]) -> str | None:
        return "a run that was killed left it"


def _data(results: str) -> str:
    """The data set that results are about, under whatever truth."""
    return results.partition("@")[0]


RULES: dict[str, Callable[[Rules, str, dict[str, str]], str | None]] = {
    "withdrawn": Rules._withdrawn,
    "kept": Rules._kept,
    "completed": Rules._completed,
    "certified": Rules._certified,
    "identified": Rules._identified,
    "weights": Rules._weights,
    "staged": Rules._staged,
    "imported": Rules._imported,
    "reduced": Rules._reduced,
    "probe": Rules._probe,
}
"""By the names in `kinds.KINDS`."""
