"""Studies are sent to a real Ray head as jobs: once each, followed, believed only by what they leave in the store."""

from __future__ import annotations

import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from overlap.store.location import Location
from overlap.study import load_study
from tests.ray_cluster import TOKEN, RayCluster
from tests.small_study import Command, SmallStudy, save_weights
from tests.study_fixtures import invoke
from tests.tcp_proxy import TcpProxy
from tests.workflows.jobs import Heard, kill_driver, let_go, log_file, outcome_of, tiny, until, waiting
from workflows.nodes.cluster import SESSION
from workflows.submission.client import follow, submit
from workflows.submission.connection import connect
from workflows.submission.submission import Submission


@pytest.fixture(scope="module")
def done(head: RayCluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallStudy, Submission]:
    """A study whose first job has ended well."""
    study = tiny(tmp_path_factory.mktemp("jobs") / "study")
    submission = send(study, head)
    heard = Heard()
    assert follow(submission, heard) == 0, heard.lines
    return study, submission


def there(study: SmallStudy, head: RayCluster) -> tuple[str, ...]:
    """Options of `overlap submit`, as of `send`."""
    return ("--address", head.dashboard_url, "--baked-in", "--shared", str(study.folder))


def send(study: SmallStudy, head: RayCluster, **options: bool) -> Submission:
    return submit(load_study(study.path), head.dashboard_url, baked_in=True, shared=[study.folder], **options)


def test_what_is_finished_is_told_and_done_again_when_asked(
    done: tuple[SmallStudy, Submission], head: RayCluster
) -> None:
    study, first = done
    where = ("--address", head.dashboard_url)
    told = invoke("submit", str(study.path), *there(study, head), "--json")
    assert told.code == 0, told
    assert json.loads(told.stdout) == {"id": first.id, "attempt": 1, "state": "finished", "exit_code": 0}

    again = invoke("submit", str(study.path), *there(study, head), "--json", "--again")
    assert again.code == 0, again
    said = json.loads(again.stdout)
    assert (said["attempt"], said["state"]) == (2, "submitted")
    (outcome,) = said["outcome"]["outcomes"]
    assert (outcome["units"], outcome["computed"], outcome["reduced"]) == (0, 0, False)
    assert "Running entrypoint" in again.stderr
    listed = json.loads(invoke("jobs", *where, "--json").stdout)
    assert {(job["id"], job["status"], job["exit_code"]) for job in listed} >= {
        (first.id, "SUCCEEDED", 0),
        (said["id"], "SUCCEEDED", 0),
    }


def test_success_by_the_scheduler_alone_is_none(done: tuple[SmallStudy, Submission], head: RayCluster) -> None:
    study, submission = done
    path = study.store / "jobs" / f"{submission.id}.json"
    kept = path.read_bytes()
    path.unlink()
    heard = Heard()
    assert follow(submission, heard) == 1
    assert heard.lines[-1].startswith(f"{submission.id} is SUCCEEDED with exit code 0, and left no outcome"), (
        heard.lines
    )
    path.write_bytes(kept.replace(submission.mark.encode(), b"of another job"))
    assert follow(submission, Heard()) == 1
    path.write_bytes(kept)
    assert follow(submission, Heard()) == 0

    unreadable = replace(submission, store=Location("s3://overlap-no-such-bucket/store", "http://127.0.0.1:1"))
    assert follow(unreadable, heard) == 0
    assert heard.lines[-1].startswith("the exit code is the driver's: this machine cannot read the store ("), (
        heard.lines
    )


def test_one_job_for_all_who_submit_at_once(head: RayCluster, tmp_path: Path, scratch: Path) -> None:
    """Four at once, then somebody whose connection drops, then somebody who leaves; none of it touches the job."""
    study = waiting(tmp_path / "study")
    together = threading.Barrier(4)

    def race(_: int) -> Submission:
        together.wait()
        return send(study, head)

    with ThreadPoolExecutor(4) as racers:
        sent = list(racers.map(race, range(4)))
    assert len({(one.id, one.mark) for one in sent}) == 1
    assert sorted(one.state for one in sent) == ["attached", "attached", "attached", "submitted"]
    submission = sent[0]
    assert len([job for job in connect(head.dashboard_url).list_jobs() if job.submission_id == submission.id]) == 1

    heard = Heard()
    with TcpProxy(int(head.dashboard_url.rpartition(":")[2])) as proxy, ThreadPoolExecutor(1) as follower:
        through = replace(submission, address=f"http://127.0.0.1:{proxy.port}")
        code = follower.submit(follow, through, heard)
        until(lambda: any("units of 1 checkpoints to predict" in line for line in heard.lines))
        proxy.cut()
        until(lambda: any("is lost" in line for line in heard.lines))

        leaving = Command(
            "submit", str(study.path), *there(study, head), environment={"RAY_AUTH_TOKEN": TOKEN}, scratch=scratch
        )
        until(lambda: "to predict" in leaving.stderr())
        leaving.process.send_signal(signal.SIGINT)
        left = leaving.wait()
        assert left.code == 130, left
        assert f"{submission.id} attached" in left.stderr
        assert f"stop it: overlap stop {submission.id} --address {head.dashboard_url}" in left.stderr
        assert "Traceback" not in left.stderr

        assert not code.done()
        let_go(study)
        until(lambda: outcome_of(study, submission.id))
        proxy.mend()
        assert code.result(60) == 0
    own = ("the connection to", "connected again")
    log = log_file(head, submission.id).read_text().splitlines()
    assert [line for line in heard.lines if not line.startswith(own)] == log, "each line once, and all of them"
    assert [line for line in heard.lines if line.startswith(own)][-1] == "connected again"


def test_stopped_then_killed_then_done(head: RayCluster, tmp_path: Path) -> None:
    """What did not end well gets the next attempt; what a job wrote is there after it has ended."""
    study = waiting(tmp_path / "study")
    where = ("--address", head.dashboard_url)
    detached = invoke("submit", str(study.path), *there(study, head), "--detach", "--json")
    assert detached.code == 0, detached
    first = json.loads(detached.stdout)
    assert first["state"] == "submitted"
    until(lambda: "to predict" in invoke("logs", first["id"], *where).stdout)
    stopped = invoke("stop", "small", *where, "--json")
    assert json.loads(stopped.stdout)["status"] == "STOPPED", stopped
    assert outcome_of(study, first["id"]) is None
    followed = invoke("logs", first["id"], *where, "--follow")
    assert followed.code == 1
    assert "to predict" in followed.stderr

    second = send(study, head)  # other tests of this cluster may have sent the very same before
    assert (second.attempt, second.state) == (first["attempt"] + 1, "submitted")
    until(lambda: "to predict" in invoke("logs", second.id, *where).stdout)
    kill_driver(head, second)
    heard = Heard()
    assert follow(second, heard) == 1
    assert f"{second.id} is FAILED with exit code" in heard.lines[-1]
    assert "left no outcome in the store; submit again: what is certified stays" in heard.lines[-1]

    # Killed once its outcome was in the store: by Ray's account it failed, by its own it did not.
    jobs = study.store / "jobs"
    jobs.mkdir()
    (jobs / f"{second.id}.json").write_text(json.dumps({"mark": second.mark, "exit_code": 0, "outcomes": []}))
    assert follow(second, heard) == 0
    assert f"{second.id} is FAILED by Ray's account, and done by its own in the store" in heard.lines[-1]
    (jobs / f"{second.id}.json").unlink()

    let_go(study)
    save_weights(
        study.folder,
        {
            **study.entries[0],
            "arguments": {"width": 99},
            "training": {**study.entries[0]["training"], "architecture": "width 99"},
        },
    )
    third = send(study, head)
    assert (third.attempt, third.state) == (second.attempt + 1, "submitted")
    assert follow(third, heard) == 3, heard.lines
    assert outcome_of(study, third.id)["exit_code"] == 3  # type: ignore[index]
    assert connect(head.dashboard_url).get_job_info(third.id).driver_exit_code == 3
    assert send(study, head).attempt == third.attempt + 1, "some units failed: that is not finished"


def test_a_job_that_ray_led_to_another_cluster_computes_nothing(
    head: RayCluster, tmp_path: Path, scratch: Path
) -> None:
    study = tiny(tmp_path / "study")
    environment = {"RAY_AUTH_TOKEN": TOKEN, SESSION: "session_elsewhere"}
    ran = Command("run", str(study.path), "--address", head.address, environment=environment, scratch=scratch).wait()
    assert ran.code == 2, ran
    assert "this job was sent to the cluster of session_elsewhere, and Ray led it to that of session_2" in ran.stderr
    assert not (study.store / "predictions").exists()
