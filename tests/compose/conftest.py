"""One system for all tests, from nothing; where there is no Docker they are skipped, and say so."""

from collections.abc import Iterator
from pathlib import Path

import docker
import docker.errors
import pytest

from tests.compose.load import Fault, write_row
from tests.compose.system import ROOT, ComposeSystem

CHAOS = ROOT / "runs" / "chaos.jsonl"


@pytest.fixture(scope="session")
def system() -> Iterator[ComposeSystem]:
    try:
        docker.from_env().ping()
    except docker.errors.DockerException as error:
        pytest.skip(f"no Docker daemon answers, so the containers' system is NOT tested here: {error}")
    running = ComposeSystem("synergysched-test", {"COMPOSE_PROFILES": "emulated", "TELEMETRY_MAX_BYTES": str(8 << 20)})
    running.down()
    try:
        running.up()
        yield running
    finally:
        running.down()


@pytest.fixture(scope="session")
def chaos() -> Iterator[list[Fault]]:
    """The table of faults; written when all are through."""
    rows: list[Fault] = []
    yield rows
    Path(CHAOS).unlink(missing_ok=True)
    for row in rows:
        write_row(row, CHAOS)
