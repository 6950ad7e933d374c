"""Our own services as real processes on free ports, each stopped by its own handle; logs stay beside the test."""

import contextlib
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from tests.servers import eventually_sync

STOPPED_WITHIN_S = 20.0


class Service:
    """One `python -m module`, with its environment and log."""

    def __init__(self, module: str, environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        self._module = module
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; does not wait."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._module], env=self._environment, stdout=log, stderr=log
            )

    @property
    def process(self) -> psutil.Process:
        """The running process."""
        assert self._process is not None, f"{self._module} was not started"
        return psutil.Process(self._process.pid)

    def stop(self) -> int:
        """Ask it to leave, and return its exit status, old or new; it is killed if it does not."""
        assert self._process is not None, f"{self._module} was not started"
        if self._process.poll() is not None:
            return self._process.returncode
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self._module} did not stop:\n{self.tail()}") from None

    def wait_for_end(self) -> int:
        """Wait until it has ended by itself, and return its exit status."""
        assert self._process is not None, f"{self._module} was not started"
        return self._process.wait(STOPPED_WITHIN_S)

    def kill(self) -> None:
        """End it and its children at once."""
        for process in [*self.process.children(recursive=True), self.process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        assert self._process is not None
        self._process.wait()

    def wait_for(self, url: str, deadline_s: float = 30.0) -> None:
        """Wait until the URL answers 200.

        Raises:
            AssertionError: it did not in time, or the process has ended; its log is shown.
        """
        assert self._process is not None, f"{self._module} was not started"
        ended = self._process.poll
        try:
            eventually_sync(lambda: ended() is not None or answers(url), deadline_s)
            assert ended() is None
        except AssertionError:
            raise AssertionError(f"{self._module} is not ready:\n{self.tail()}") from None

    def tail(self) -> str:
        """The last of its log."""
        return self.log.read_text(errors="replace")[-3000:]


def answers(url: str) -> bool:
    """Whether a GET of the URL gives 200 now."""
    with contextlib.suppress(OSError, urllib.error.HTTPError), urllib.request.urlopen(url, timeout=2) as response:
        return bool(response.status == 200)
    return False


@contextlib.contextmanager
def service(module: str, environment: Mapping[str, str], log: Path) -> Iterator[Service]:
    """The service, started; stopped at the end if it has not ended before."""
    started = Service(module, environment, log)
    started.start()
    try:
        yield started
    finally:
        started.stop()
