"""The MLflow view of a study: browsable, never depended upon.

Everything is looked up by a tag before it is created, so that a repeated `sync` changes nothing; whatever an
interrupted one left is completed. Two drivers that sync the same results at the same moment can still create twins:
MLflow has no conditional create. Only the driver talks to MLflow, never a worker.
"""

from overlap.tracking.server import NO_TRACKING, how_to_open
from overlap.tracking.tracker import Synced, Tracker

__all__ = ["NO_TRACKING", "Synced", "Tracker", "how_to_open"]
