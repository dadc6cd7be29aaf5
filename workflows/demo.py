"""`overlap demo`: real digits into shards, a zoo trained as Ray tasks, and then the study like anybody's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray

from overlap.demo.checkpoints import is_trained
from overlap.demo.data import prepare_data
from overlap.demo.recipes import Recipe, recipes
from overlap.demo.study_file import write_study
from overlap.demo.training import train
from overlap.study import Study, load_study
from workflows.nodes.cluster import Cluster
from workflows.outcome import Outcome, Tell
from workflows.run import run


def demo(folder: Path, tell: Tell) -> tuple[Study, list[Outcome]]:
    """Make the demo's folder, or what is missing of it, and run its study.

    Args:
        folder: gets data/, weights/, study.toml and store/.
        tell: hears of the progress.

    Raises:
        StoreError: the folder cannot be written.
    """
    prepare_data(folder)
    study = load_study(write_study(folder))
    with Cluster(None, folder) as cluster:
        _train_zoo(folder, cluster, tell)
        return study, run(study, tell)


def _train_zoo(folder: Path, cluster: Cluster, tell: Tell) -> None:
    """Train what is not trained; a recipe waits for those whose weights it needs."""
    pending = [recipe for recipe in recipes() if not is_trained(recipe, folder)]
    if not pending:
        return
    cluster.start()
    tell.say(f"training {len(pending)} checkpoints into {folder / 'weights'}")
    trained: dict[str, Any] = {}
    task = ray.remote(num_cpus=1, max_retries=2)(_train)
    for recipe in pending:  # recipes stand after those they need
        needed = [trained[name] for name in recipe.needs if name in trained]
        trained[recipe.id] = task.remote(recipe, folder, *needed)
    waiting = list(trained.values())
    while waiting:
        done, waiting = ray.wait(waiting, num_returns=1)
        try:
            ray.get(done)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        tell.progress("train", len(pending) - len(waiting), len(pending))


def _train(recipe: Recipe, folder: Path, *needed: str) -> str:
    """One recipe, once those it needs are done; returns its file."""
    return str(train(recipe, folder))
