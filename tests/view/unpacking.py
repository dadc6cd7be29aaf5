"""Columns as the page's script unpacks them (`overlap.report.packing`), in Python."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence

import numpy as np


def unpacked(text: str) -> tuple[dict[str, object], dict[str, list[object]]]:
    """What `packed` packed: the header, and the columns by name."""
    whole = gzip.decompress(base64.b64decode(text))
    at = 4 + int.from_bytes(whole[:4], "little")
    head = json.loads(whole[4:at])
    found: dict[str, list[object]] = {}
    for column in head["columns"]:
        size = head["rows"] * column["width"]
        body, at = whole[at : at + size], at + size
        found[column["name"]] = list(_values(column, body, head["rows"]))
    return head, found


def _values(column: Mapping[str, object], body: bytes, rows: int) -> Sequence[object]:
    width = int(str(column["width"]))
    if width == 8:
        return [None if np.isnan(value) else float(value) for value in np.frombuffer(body, "<f8")]
    planes = np.frombuffer(body, np.uint8).reshape(width, rows)
    codes = sum(planes[place].astype(np.int64) << (8 * place) for place in range(width))
    if column["kind"] == "text":
        words = column["words"]
        assert isinstance(words, list)
        return [words[code - 1] if code else None for code in np.asarray(codes)]
    offset, scale = int(str(column["offset"])), int(str(column["scale"]))
    return [(int(code) - 1 + offset) / scale if code else None for code in np.asarray(codes)]
