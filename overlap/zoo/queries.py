"""Queries of a study: which published weights they expand to, and what is nearest where they expand to none."""

from __future__ import annotations

import difflib
import fnmatch
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from overlap.checkpoint_sections import ZooQuery
from overlap.errors import StudyError
from overlap.zoo import timm_names
from overlap.zoo.sources import source
from overlap.zoo.timm_parameters import parameters


def select(query: ZooQuery, classes: int) -> list[str]:
    """Published timm names that a query selects and that tell so many classes apart, sorted.

    Raises:
        StudyError: a pattern matches none, or the rest of the query leaves none; the text gives the nearest.
    """
    published = timm_names.published()
    chosen: set[str] = set()
    for pattern in query.select:
        matches = fnmatch.filter(published, pattern)
        if not matches:
            raise StudyError(f"zoo: select '{pattern}' matches no pretrained timm model{_nearest(pattern, published)}")
        fitting = [name for name in matches if timm_names.classes(name) == classes]
        if not fitting:
            raise StudyError(
                f"zoo: none of the {len(matches)} timm models that select '{pattern}' matches has {classes} classes"
            )
        chosen.update(fitting)
    kept = sorted(name for name in chosen if not any(fnmatch.fnmatch(name, pattern) for pattern in query.exclude))
    if not kept:
        raise StudyError(f"zoo: exclude leaves none of the {len(chosen)} timm models that select matches")
    return _licensed(_limited(kept, query), query)


@dataclass(frozen=True)
class Limit:
    """A number that a query bounds."""

    what: str
    low: float | None
    high: float | None

    def miss(self, value: float) -> float:
        """By how much a value misses the limits, as the logarithm of a ratio; 0 within them."""
        low = 0.0 if self.low is None else math.log(self.low / value)
        return max(0.0, low, 0.0 if self.high is None else math.log(value / self.high))


def _limited(names: list[str], query: ZooQuery) -> list[str]:
    sized = Limit("parameters", query.min_parameters, query.max_parameters)
    seen = Limit("pixels", query.min_input_size, query.max_input_size)
    misses = dict.fromkeys(names, 0.0)
    if (sized.low, sized.high) != (None, None):
        for name in names:
            misses[name] += sized.miss(parameters(name.partition(".")[0]))
    if (seen.low, seen.high) != (None, None):
        for name in names:
            misses[name] += seen.miss(_side(name))
    kept = [name for name, miss in misses.items() if miss == 0]
    if kept:
        return kept
    nearest = sorted(names, key=lambda name: (misses[name], name))[:3]
    told = ", ".join(
        f"{name} ({parameters(name.partition('.')[0]):,} parameters, {_side(name)} px)" for name in nearest
    )
    raise StudyError(
        f"zoo: none of the {len(names)} timm models selected is within min_/max_parameters and min_/max_input_size; "
        f"nearest: {told}"
    )


def _licensed(names: list[str], query: ZooQuery) -> list[str]:
    """Those whose licence is stated and wanted; all where the query names none."""
    if not query.license:
        return names
    wanted = [pattern.lower() for pattern in query.license]
    stated = {name: timm_names.licence(name) for name in names}
    kept = [name for name, one in stated.items() if one and any(fnmatch.fnmatch(one, pattern) for pattern in wanted)]
    if not kept:
        known = ", ".join(f"{one or 'not stated'} ({times})" for one, times in Counter(stated.values()).most_common())
        raise StudyError(f"zoo: none of the {len(names)} timm models selected is under {wanted}; they are: {known}")
    return kept


def _side(name: str) -> int:
    """The longer side of what a network is evaluated on, in pixels."""
    return max(source("timm").preprocessing(name).input_size)


def _nearest(pattern: str, published: Sequence[str]) -> str:
    """Names nearest to a pattern; of one with wildcards, its fixed parts are compared with architectures and tags."""
    if not set(pattern) & set("*?["):
        near = difflib.get_close_matches(pattern, published, n=3)
    else:
        architectures, tags = (sorted({name.partition(".")[part] for name in published}) for part in (0, 2))
        architecture, _, tag = (part.strip("*?") for part in pattern.partition("."))
        near = [f"{one}.*" for one in difflib.get_close_matches(architecture, architectures, n=3)]
        near += [f"*.{one}" for one in difflib.get_close_matches(tag, tags, n=3)]
    return f"; nearest: {', '.join(near)}" if near else ""
