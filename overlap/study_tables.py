"""Which section checks each table of a study file: what an error needs to know the keys that a table may hold."""

from __future__ import annotations

from pydantic import BaseModel

from overlap.methodology import Training
from overlap.sections import (
    Analysis,
    CheckpointEntry,
    Data,
    Description,
    Ensembles,
    Gate,
    Predict,
    Preprocess,
    Store,
    Tracking,
)
from overlap.zoo_query import ZooQuery

SECTIONS: dict[str, type[BaseModel]] = {
    "data": Data,
    "store": Store,
    "tracking": Tracking,
    "predict": Predict,
    "analysis": Analysis,
    "ensembles": Ensembles,
    "gate": Gate,
    "checkpoint": CheckpointEntry,
    "zoo": ZooQuery,
    "defaults": Description,
    "preprocess": Preprocess,
    "training": Training,
}
"""Tables of the file by the last name of their key."""
