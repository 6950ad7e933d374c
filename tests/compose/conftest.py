"""One system for almost all tests, from nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.load import Fault, write_row
from tests.compose.system import EMULATED, ROOT, TELEMETRY_MAX_BYTES, ComposeSystem, started

CHAOS = ROOT / "runs" / "chaos.jsonl"


@pytest.fixture(scope="session")
def system() -> Iterator[ComposeSystem]:
    with started(
        ComposeSystem("synergysched-test", EMULATED, {"TELEMETRY_MAX_BYTES": str(TELEMETRY_MAX_BYTES)})
    ) as running:
        yield running


@pytest.fixture(scope="session")
def chaos() -> Iterator[list[Fault]]:
    """The table of faults; written when all are through."""
    rows: list[Fault] = []
    yield rows
    Path(CHAOS).unlink(missing_ok=True)
    for row in rows:
        write_row(row, CHAOS)
