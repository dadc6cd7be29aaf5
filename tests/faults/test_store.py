"""A store that cannot be reached, refuses or is full: one line, exit code 2, and every certified unit kept."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import SeaweedFS, free_ports
from tests.small_study import DATA, SmallStudy, equal
from tests.study_fixtures import Run, invoke


def run_without_ray(study: SmallStudy) -> str:
    """The one line that a run says which gets no further than its store."""
    ran = invoke("run", str(study.path), "--json")
    assert ran.code == 2, ran
    assert ran.stdout == ""
    assert len(ran.complaints) == 1, ran
    assert ran.seconds < 30
    return ran.complaints[0]


def test_nobody_listens(fresh: SmallStudy, s3_server: SeaweedFS) -> None:
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    fresh.write(store={"uri": "s3://overlap/study", "endpoint_url": endpoint})
    line = run_without_ray(fresh)
    assert re.match(rf"error: .*{re.escape(endpoint)}", line), line


def test_no_such_bucket(fresh: SmallStudy, s3_server: SeaweedFS) -> None:
    fresh.write(store={"uri": "s3://nobody-made-it/study", "endpoint_url": s3_server.endpoint_url})
    line = run_without_ray(fresh)
    assert "nobody-made-it" in line
    assert "create it" in line


def test_wrong_secret(fresh: SmallStudy, s3_server: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "guessed")
    fresh.write(store={"uri": "s3://ready/study", "endpoint_url": s3_server.endpoint_url})
    line = run_without_ray(fresh)
    assert "refused" in line
    assert "AWS_SECRET_ACCESS_KEY" in line
    assert "guessed" not in line


def test_a_file_stands_where_the_store_should(fresh: SmallStudy) -> None:
    fresh.store.write_text("not a folder")
    line = run_without_ray(fresh)
    assert str(fresh.store) in line
    assert "move it away" in line


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "overlap-test", str(folder)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("a small disk cannot be mounted here (needs root)")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk(fresh: SmallStudy, undisturbed: SmallStudy, small_disk: Path, run: Run) -> None:
    needed = sum(path.stat().st_size for path in (fresh.folder / "weights").iterdir())
    ballast = small_disk / "ballast"
    # Pages of 4 KiB: room for the weights, and for the two or three files of about a dozen units.
    ballast.write_bytes(bytes((16 << 20) - needed - (400 << 10)))
    fresh.write(store={"uri": str(small_disk / "store")})

    first = run(fresh)

    assert first.code == 2, first
    assert first.stdout == ""
    assert len(first.complaints) == 1, first
    assert re.match(
        r"error: \S+/disk/store/\S+: no space left on device; free some space and run again; what is finished is kept$",
        first.complaints[0],
    ), first
    (fresh.folder / "store").symlink_to(small_disk / "store")
    certified = fresh.objects(f"records/{DATA}")
    assert 0 < len(certified) < 42, "it was to run full among the predictions"

    ballast.unlink()
    second = run(fresh)

    assert second.code == 0, second
    late = 42 - len(certified) - second.outcome["computed"]
    assert 0 <= late <= 2, "each predictor may certify what it held after the driver had given up"
    assert certified.items() <= fresh.objects(f"records/{DATA}").items()
    assert fresh.recorded_bytes() == undisturbed.recorded_bytes()
    assert equal(fresh.tables(), undisturbed.tables()) == []
