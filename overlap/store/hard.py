"""What a complete checkpoint answers, and nothing else of it: the column that reductions over pairs read.

Guarantees: the bytes are those that the manifest names, and the rows as many; their keys are the manifest's, which
whoever has it compared with the data set's already. Keys and confidences are not decoded: of a table of 50,000 images
that is nine tenths of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlap.errors import DamagedObject, ObjectMissing
from overlap.identity import digest
from overlap.store import layout
from overlap.store.objects import Objects
from overlap.store.records import Manifest
from overlap.store.tables import decode_prediction

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def certified_prediction(objects: Objects, dataset: str, manifest: Manifest) -> NDArray[np.int32]:
    """The class numbers (n,) of a complete checkpoint, in the order of the shards.

    Args:
        objects: the store.
        dataset: digest of the ordered shards.
        manifest: of the checkpoint.

    Raises:
        DamagedObject: the table is gone, or not that of the manifest; names it.
    """
    key = layout.hard(manifest.data, dataset, manifest.fingerprint)
    try:
        data = objects.get(key)
    except ObjectMissing:
        raise DamagedObject(f"{objects.uri}/{key}: is gone; run with --verify") from None
    if digest(data) != manifest.hard_digest:
        raise DamagedObject(f"{objects.uri}/{key}: holds other bytes than its manifest says; run with --verify")
    prediction = decode_prediction(data)
    if len(prediction) != manifest.rows:
        raise DamagedObject(f"{objects.uri}/{key}: holds {len(prediction)} of {manifest.rows} rows; run with --verify")
    return prediction
