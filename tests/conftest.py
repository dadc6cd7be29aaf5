from __future__ import annotations

from tests.servers import s3_server
from tests.study_fixtures import cluster, complete, fresh, run, scratch, undisturbed

__all__ = ["cluster", "complete", "fresh", "run", "s3_server", "scratch", "undisturbed"]
