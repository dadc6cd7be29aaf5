"""A Ray cluster of a test's own: its own ports, token and temporary folder, its processes found and ended by mark."""

from __future__ import annotations

import os
import secrets
import subprocess
import sysconfig
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path

from tests.servers import free_ports
from tests.small_study import MARK, SESSIONS, end_marked, surroundings

QUICK = {
    "RAY_health_check_initial_delay_ms": "500",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "3",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_free_objects_period_milliseconds": "10",
    "RAY_raylet_start_wait_time_s": "80",
}
"""A lost node is noticed after 1.3 s, not 15; memory that is let go is free after 10 ms, not a second; a busy machine
may take its time to start a node."""
TOKEN = secrets.token_hex(32)
"""Of all clusters of this test session: a process reads its own once."""


def read_environment() -> None:
    """Have Ray look for the token again: it read the environment when it was imported, maybe long ago."""
    import ray  # noqa: F401
    from ray._raylet import AuthenticationTokenLoader, Config

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


class RayCluster:
    """A head node, and nodes added to it. `ray stop` is never used: it would end every Ray on the machine."""

    def __init__(self, scratch: Path, environment: Mapping[str, str] | None = None) -> None:
        self.mark = secrets.token_hex(8)
        self.scratch = scratch
        self.environment = {
            **surroundings(self.mark, scratch),
            **QUICK,
            "RAY_AUTH_TOKEN": TOKEN,
            "OMP_NUM_THREADS": "1",
            **(environment or {}),
        }
        self._port, self._client_port, self._dashboard = free_ports(3)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def dashboard_url(self) -> str:
        """Where jobs are sent to, of a cluster that was started with its dashboard."""
        return f"http://127.0.0.1:{self._dashboard}"

    def start(self, cpus: int = 2, *, dashboard: bool = False, autoscaling: Path | None = None) -> RayCluster:
        """Start the head; the dashboard, which is also the job server, takes seconds more and some 0.5 GB.

        Args:
            cpus: of the head.
            dashboard: whether there is one.
            autoscaling: what its autoscaler goes by; without it nodes are fixed.
        """
        head = ["--head", f"--port={self._port}", f"--ray-client-server-port={self._client_port}"]
        shown = [f"--include-dashboard={str(dashboard).lower()}", "--dashboard-host=127.0.0.1"]
        grown = [] if autoscaling is None else [f"--autoscaling-config={autoscaling}"]
        self._start(self.mark, [*head, *shown, *grown, f"--dashboard-port={self._dashboard}", f"--num-cpus={cpus}"])
        return self

    def connect(self) -> None:
        """Connect this process; the environment must hold `environment`."""
        import ray

        read_environment()
        with chdir(self.scratch):  # Ray tells every worker to import from where the driver is
            ray.init(address=self.address, log_to_driver=False, configure_logging=False, logging_level="ERROR")

    def add_node(
        self, cpus: int = 1, gpus: int = 0, environment: Mapping[str, str] | None = None, name: str = "node"
    ) -> str:
        """Start another node on this machine, with declared GPUs; returns the mark of its processes."""
        mark = secrets.token_hex(8)
        arguments = [f"--address={self.address}", f"--num-cpus={cpus}", f"--node-name={name}"]
        self._start(mark, [*arguments, *([f"--num-gpus={gpus}"] if gpus else [])], environment)
        return mark

    def kill_node(self, mark: str) -> None:
        """SIGKILL a node's processes, as a power cut would."""
        end_marked(mark)

    def close(self) -> None:
        """SIGKILL the head's processes: nothing they hold outlives the tests."""
        end_marked(self.mark)

    def _start(self, mark: str, arguments: list[str], environment: Mapping[str, str] | None = None) -> None:
        ray = Path(sysconfig.get_path("scripts")) / "ray"
        ports = [
            "--min-worker-port=0",  # any free ones: the defaults are where other servers of the tests live
            "--max-worker-port=0",
            f"--dashboard-agent-listen-port={free_ports(1)[0]}",
            f"--object-store-memory={256 << 20}",
            "--disable-usage-stats",
        ]
        log = self.scratch / f"{mark}.ray"
        with log.open("wb") as file:
            starter = subprocess.Popen(
                [str(ray), "start", *arguments, *ports],
                env=os.environ | self.environment | (environment or {}) | {MARK: mark},
                cwd=self.scratch,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        SESSIONS[mark] = starter.pid
        try:
            failed = starter.wait(90) != 0
        except subprocess.TimeoutExpired:
            failed = True
        if failed:
            end_marked(mark)
            raise RuntimeError(f"ray start failed: {log.read_text(errors='replace')[-2000:]}")
