from __future__ import annotations

from tests.study_fixtures import cluster, complete, fresh, run, scratch, undisturbed

__all__ = ["cluster", "complete", "fresh", "run", "scratch", "undisturbed"]
