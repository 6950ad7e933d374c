"""A service whose port another process has says so in one line, and ends with an error."""

import os
import socket
import subprocess
import sys

import pytest


@pytest.mark.parametrize("service", ["prism", "lens", "forecaster"])
def test_a_port_that_is_taken_is_named_without_a_traceback(service: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", f"services.{service}"],
            env={**os.environ, f"{service.upper()}_PORT": str(port)},
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == f"cannot listen on 127.0.0.1:{port}: Address already in use"
    assert "Traceback" not in ended.stderr
    assert '"level": "error"' not in ended.stderr
