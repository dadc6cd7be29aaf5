"""Tables that may be too long to hold: rows go to a Parquet file as they come, and are scanned there.

Guarantees: rows are in the order in which they came, in row groups of `GROUP` whatever parts they came in, so that
equal rows give equal bytes (with one version of pyarrow). The file lies in a folder of its own below the one for
temporary files, which goes with the object that holds it. Memory: two row groups while it is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from overlap.identity import digest_file

if TYPE_CHECKING:
    import polars as pl

GROUP = 1 << 17
"""Rows of a row group."""
HELD = 1 << 21
"""Rows up to which a table is held in memory: the pairs of 2,000 models, half a GiB."""


@dataclass(frozen=True, eq=False)
class LongTable:
    """A table in a file.

    Attributes:
        path: of the file, which goes with this object.
        rows: how many it has.
    """

    path: Path
    rows: int
    _folder: TemporaryDirectory[str]

    @classmethod
    def place(cls) -> tuple[TemporaryDirectory[str], Path]:
        """A folder that goes when nobody holds it, and where a table is to be in it."""
        folder = TemporaryDirectory(prefix="ovl-")
        return folder, Path(folder.name) / "table.parquet"

    @classmethod
    def at(cls, folder: TemporaryDirectory[str], path: Path) -> LongTable:
        """The table whose file is written; raises ValueError where it is no Parquet file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return cls(path, int(pq.read_metadata(path).num_rows), folder)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"no such table: {' '.join(str(error).split())}") from error

    @property
    def is_held(self) -> bool:
        """Whether it is short enough to be held."""
        return self.rows <= HELD

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return digest_file(self.path)

    def scan(self) -> pl.LazyFrame:
        """Its rows, read as far as they are asked for and while this object is held."""
        import polars as pl

        return pl.scan_parquet(self.path, glob=False)

    def read(self) -> pl.DataFrame:
        """Its rows, all in memory."""
        import polars as pl

        return pl.read_parquet(self.path, glob=False, memory_map=False)

    def frame(self) -> pl.DataFrame:
        """Its rows where it is short enough to be held, else none, with its columns."""
        return self.read() if self.is_held else self.scan().head(0).collect()


class Writer:
    """Writes one table; a context manager, after which `table` is what was written."""

    def __init__(self, schema: Mapping[str, pl.DataType]) -> None:
        """Begin a table of these columns; text is written once for each row group and by number in its rows."""
        import polars as pl
        import pyarrow.parquet as pq

        self._folder, self._path = LongTable.place()
        self._schema = pl.DataFrame(schema=schema).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
        self._writer = pq.ParquetWriter(
            self._path,
            self._schema,
            compression="zstd",
            use_dictionary=[name for name, kind in schema.items() if kind == pl.String()],
        )
        self._waiting: list[Any] = []
        self._rows = 0

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *raised: object) -> None:
        if raised[0] is None:
            self._write(self._rows)
        self._writer.close()

    @property
    def table(self) -> LongTable:
        """What was written; once it is closed."""
        return LongTable.at(self._folder, self._path)

    def add(self, rows: pl.DataFrame) -> None:
        """Further rows, of these columns.

        Raises:
            ValueError: of other columns.
        """
        import polars as pl

        part = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
        if part.schema != self._schema:
            raise ValueError(f"rows of {part.schema.names}, not of {self._schema.names}, or of other types")
        self._waiting.append(part)
        self._rows += len(part)
        while self._rows >= GROUP:
            self._write(GROUP)

    def _write(self, rows: int) -> None:
        """The first rows that wait, as one row group."""
        import pyarrow as pa

        waiting = pa.concat_tables(self._waiting) if self._waiting else self._schema.empty_table()
        if rows:
            self._writer.write_table(waiting.slice(0, rows), row_group_size=rows)
        rest = waiting.slice(rows)
        self._waiting, self._rows = [rest] if len(rest) else [], len(rest)
