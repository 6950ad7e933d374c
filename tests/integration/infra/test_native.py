"""`python -m infra.native` as a process: what it starts, it also ends."""

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from infra.native.history import Program, read_history
from infra.native.ports import free_ports
from infra.native.session import members
from infra.native.system import ROOT, NativeSystem, RunInUse
from shared.settings import InvalidSettings
from tests.servers import eventually_sync

PROGRAMS = 8
STOPPED_WITHIN_S = 60.0


def programs_in(run_dir: Path) -> Mapping[str, Program]:
    log = run_dir / "logs" / "supervisord.log"
    return read_history(log.read_text()) if log.exists() else {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_starts_stops_every_program(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "infra.native", "up", "--free-ports", "--run-dir", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        eventually_sync(lambda: len(programs_in(tmp_path)) == PROGRAMS or process.poll() is not None, 20)
        session_id = int((tmp_path / "supervisord.pid").read_text())
        assert len(members(session_id)) > PROGRAMS
        process.send_signal(number)
        output, _ = process.communicate(timeout=STOPPED_WITHIN_S)
    assert process.returncode == 0, output
    assert members(session_id) == []


def test_nothing_is_started_where_a_port_is_taken(tmp_path: Path) -> None:
    ports = free_ports()
    system = NativeSystem(tmp_path, ports.model_copy(update={"prism_port": ports.nats_port}))
    with pytest.raises(InvalidSettings):
        system.start()
    assert not system.running
    assert list(tmp_path.iterdir()) == []


def test_two_systems_do_not_share_a_directory(tmp_path: Path) -> None:
    first = NativeSystem(tmp_path, free_ports())
    first._take_directory()
    try:
        with pytest.raises(RunInUse, match=str(tmp_path)):
            NativeSystem(tmp_path, free_ports()).start()
    finally:
        first.stop()
