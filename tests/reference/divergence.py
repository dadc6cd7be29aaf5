"""The category of a pair as the design's sentences have it, one after the other."""

from __future__ import annotations

from collections.abc import Mapping


def category(a: Mapping[str, str | None], b: Mapping[str, str | None]) -> str | None:
    """Each side maps id, weights and the training columns to text, or None where it is not known."""
    if a["weights"] is not None and b["weights"] is not None and a["weights"] == b["weights"]:
        return "duplicate"
    for one, other in ((a, b), (b, a)):
        for relation in ("parent", "teacher"):
            if one[relation] is not None and one[relation] == other["id"]:
                return "shared_lineage"
    if a["parent"] is not None and b["parent"] is not None and a["parent"] == b["parent"]:
        return "shared_lineage"
    for axis in ("dataset", "framework", "architecture", "hyper_parameters"):
        if a[axis] is None or b[axis] is None:
            return None
        if a[axis] != b[axis]:
            return axis
    return "reinit"
