"""Queries of a study: which published weights they expand to, and what is nearest where they expand to none."""

from __future__ import annotations

import difflib
import fnmatch
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from overlap.checkpoint_sections import ZooQuery
from overlap.errors import CheckpointError, StudyError
from overlap.zoo import clip, open_clip_training, timm_names
from overlap.zoo.open_clip_training import QUICK
from overlap.zoo.sources import source
from overlap.zoo.timm_parameters import parameters, table


@dataclass(frozen=True)
class Catalogue:
    """What a library publishes."""

    library: str
    separator: str
    """Between a name's architecture and its tag."""
    names: Sequence[str]
    parameters: Callable[[str], int | None]
    """Of a name, None where nobody has counted them: no limit is then kept."""
    side: Callable[[str], int]
    """The longer side of what a network is evaluated on, in pixels."""


def select(query: ZooQuery, classes: int) -> list[str]:
    """Published names that a query selects, sorted; of timm's those that tell so many classes apart.

    A model of open_clip's stands in its list with and without -quickgelu, with the very same weights, which say by
    themselves which activation they have: only a pattern that asks for quickgelu selects such a name.

    Raises:
        StudyError: a pattern matches none, or the rest of the query leaves none; the text gives the nearest. The
            library is not installed.
    """
    if query.source == clip.SOURCE:
        return _selected(query, _clip(), None)
    return _licensed(_selected(query, _timm(), classes), query)


def _timm() -> Catalogue:
    def counted(name: str) -> int:
        return parameters(name.partition(".")[0])

    def side(name: str) -> int:
        return max(source("timm").preprocessing(name).input_size)

    return Catalogue("timm", ".", timm_names.published(), counted, side)


def _clip() -> Catalogue:
    def counted(name: str) -> int | None:
        return table().get(open_clip_training.network(name.partition("/")[0]) or "")

    try:
        return Catalogue(clip.SOURCE, "/", clip.pretrained_names(), counted, clip.side)
    except CheckpointError as error:
        raise StudyError(f"zoo: {error}") from None


def _selected(query: ZooQuery, catalogue: Catalogue, classes: int | None) -> list[str]:
    models = f"pretrained {catalogue.library} model"
    chosen: set[str] = set()
    for pattern in query.select:
        matches = fnmatch.filter(catalogue.names, pattern)
        if catalogue.library == clip.SOURCE and QUICK.strip("-") not in pattern:
            matches = [name for name in matches if name.replace(f"{QUICK}/", "/") == name]
        if not matches:
            raise StudyError(f"zoo: select '{pattern}' matches no {models}{_nearest(pattern, catalogue)}")
        fitting = [name for name in matches if classes is None or timm_names.classes(name) == classes]
        if not fitting:
            raise StudyError(
                f"zoo: none of the {len(matches)} timm models that select '{pattern}' matches has {classes} classes"
            )
        chosen.update(fitting)
    kept = sorted(name for name in chosen if not any(fnmatch.fnmatch(name, pattern) for pattern in query.exclude))
    if not kept:
        raise StudyError(
            f"zoo: exclude leaves none of the {len(chosen)} {catalogue.library} models that select matches"
        )
    return _limited(kept, query, catalogue)


@dataclass(frozen=True)
class Limit:
    """A number that a query bounds."""

    what: str
    low: float | None
    high: float | None

    def miss(self, value: float | None) -> float:
        """By how much a value misses the limits, as the logarithm of a ratio; 0 within them."""
        if value is None:
            return math.inf
        low = 0.0 if self.low is None else math.log(self.low / value)
        return max(0.0, low, 0.0 if self.high is None else math.log(value / self.high))


def _limited(names: list[str], query: ZooQuery, catalogue: Catalogue) -> list[str]:
    sized = Limit("parameters", query.min_parameters, query.max_parameters)
    seen = Limit("pixels", query.min_input_size, query.max_input_size)
    misses = dict.fromkeys(names, 0.0)
    if (sized.low, sized.high) != (None, None):
        for name in names:
            misses[name] += sized.miss(catalogue.parameters(name))
    if (seen.low, seen.high) != (None, None):
        for name in names:
            misses[name] += seen.miss(catalogue.side(name))
    kept = [name for name, miss in misses.items() if miss == 0]
    if kept:
        return kept
    nearest = sorted(names, key=lambda name: (misses[name], name))[:3]
    told = ", ".join(
        f"{name} ({catalogue.parameters(name) or 0:,} parameters, {catalogue.side(name)} px)" for name in nearest
    )
    raise StudyError(
        f"zoo: none of the {len(names)} {catalogue.library} models selected is within min_/max_parameters and "
        f"min_/max_input_size; nearest: {told}"
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


def _nearest(pattern: str, catalogue: Catalogue) -> str:
    """Names nearest to a pattern; of one with wildcards, its fixed parts are compared with architectures and tags."""
    if not set(pattern) & set("*?["):
        near = difflib.get_close_matches(pattern, catalogue.names, n=3)
    else:
        mark = catalogue.separator
        architectures, tags = (sorted({name.partition(mark)[part] for name in catalogue.names}) for part in (0, 2))
        architecture, _, tag = (part.strip("*?") for part in pattern.partition(mark))
        near = [f"{one}{mark}*" for one in difflib.get_close_matches(architecture, architectures, n=3)]
        near += [f"*{mark}{one}" for one in difflib.get_close_matches(tag, tags, n=3)]
    return f"; nearest: {', '.join(near)}" if near else ""
