"""Tables small enough to travel in one file: columns as whole numbers, byte by byte, compressed, in base64.

Every column becomes unsigned numbers of one, two or four bytes (texts by dictionary, fractions by rounding), 0 for an
absent value, and their low bytes are laid before their high ones, so that gzip finds what is alike. What does not fit
travels as float64. The page's `unpack.js` is the other half. Equal tables give equal text.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

DECIMALS = 6
MANY = 5000
"""Rows beyond which numbers travel with `FEW_DECIMALS`: as many as the page shows."""
FEW_DECIMALS = 4
WIDTHS = ((1 << 8, np.uint8), (1 << 16, np.uint16), (1 << 32, np.uint32))


def packed(table: pl.DataFrame, meanings: Mapping[str, str], about: Mapping[str, object]) -> str:
    """One table as text.

    Args:
        table: String, integer, float and boolean columns; NaN and null are both absent.
        meanings: what columns mean, by name; shown beside their heads.
        about: further entries of the header.
    """
    decimals = FEW_DECIMALS if table.height > MANY else DECIMALS
    bodies, columns = [], []
    for column in table.get_columns():
        header, body = _column(column, decimals)
        columns.append({"name": column.name, "meaning": meanings.get(column.name, ""), **header})
        bodies.append(body)
    head = json.dumps({**about, "rows": table.height, "columns": columns}, separators=(",", ":"), allow_nan=False)
    text = head.encode()
    text += b" " * (-(len(text) + 4) % 8)
    whole = b"".join([len(text).to_bytes(4, "little"), text, *bodies])
    return base64.b64encode(gzip.compress(whole, 9, mtime=0)).decode()


def _column(column: pl.Series, decimals: int) -> tuple[dict[str, object], bytes]:
    """Header and body of one column."""
    if column.dtype == pl.Boolean:
        header, body = _numbers(column.cast(pl.Int64), 1)
        return {"kind": "flag", **header}, body
    if column.dtype.is_integer():
        header, body = _numbers(column.cast(pl.Int64), 1)
        return {"kind": "integer", **header}, body
    if column.dtype.is_float():
        header, body = _numbers(column.cast(pl.Float64), 10**decimals)
        return {"kind": "number", **header}, body
    texts = column.cast(pl.String)
    words = texts.drop_nulls().unique().sort()
    codes = texts.replace_strict(words, np.arange(1, len(words) + 1), default=0, return_dtype=pl.Int64)
    width, body = _planes(codes.fill_null(0).to_numpy())
    return {"kind": "text", "words": words.to_list(), "width": width}, body


def _numbers(column: pl.Series, scale: int) -> tuple[dict[str, object], bytes]:
    values = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    known = np.isfinite(values)
    scaled = np.round(values[known] * scale)
    low, high = (float(scaled.min()), float(scaled.max())) if scaled.size else (0.0, 0.0)
    if max(abs(low), abs(high)) >= 1 << 53 or high - low + 2 >= 1 << 32:
        return {"offset": 0, "scale": 1, "width": 8}, np.where(known, values, np.nan).astype("<f8").tobytes()
    codes = np.zeros(len(values), dtype=np.int64)
    codes[known] = scaled.astype(np.int64) - int(low) + 1
    width, body = _planes(codes)
    return {"offset": int(low), "scale": scale, "width": width}, body


def _planes(codes: npt.NDArray[np.int64]) -> tuple[int, bytes]:
    """The narrowest width that holds the codes, and their bytes, all low ones first."""
    largest = int(codes.max()) if codes.size else 0
    kind = next(kind for bound, kind in WIDTHS if largest < bound)
    width = np.dtype(kind).itemsize
    planes = codes.astype(f"<u{width}").view(np.uint8).reshape(len(codes), width).T
    return width, np.ascontiguousarray(planes).tobytes()
