"""The engine as a process: it stops when told, dies without a trace, and its model can be brought back."""

import signal
import time
from pathlib import Path

import psutil
import pytest
from tritonclient.utils import InferenceServerException

from services.engine.supervise import SHARED_MEMORY
from shared.step import Probe
from tests.integration.engine.client import MODEL, connected, is_ready
from tests.integration.engine.conftest import READY_WITHIN_S, running_engine
from tests.integration.engine.sequences import prefill
from tests.servers import eventually_sync, free_port
from tests.services import Service, service

STOPS_WITHIN_S = 6.0


def region_prefix(process: Service) -> str:
    """What this engine's shared memory is called."""
    (server,) = process.process.children()
    (option,) = (part for part in server.cmdline() if "shm-region-prefix-name=" in part)
    return str(option.partition("shm-region-prefix-name=")[2])


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_sigterm_stops_it_within_seconds_although_a_client_holds_a_stream_and_nothing_stays(tmp_path: Path):
    with running_engine(tmp_path) as (process, port), connected(port) as engine:
        engine.step(prefill(0, (1, 2, 3)))
        prefix, children = region_prefix(process), process.process.children(recursive=True)
        assert list(SHARED_MEMORY.glob(f"{prefix}*"))
        started_s = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - started_s < STOPS_WITHIN_S
        eventually_sync(lambda: all(map(has_ended, children)))
        assert not list(SHARED_MEMORY.glob(f"{prefix}*"))


def test_when_it_is_killed_triton_and_its_python_go_too(tmp_path: Path):
    with running_engine(tmp_path) as (process, _):
        children, prefix = process.process.children(recursive=True), region_prefix(process)
        process.process.send_signal(signal.SIGKILL)
        eventually_sync(lambda: all(map(has_ended, children)), 20.0)
        for region in SHARED_MEMORY.glob(f"{prefix}*"):
            region.unlink()


def test_a_model_whose_python_has_died_is_not_answering_and_comes_back_when_reloaded(tmp_path: Path):
    with running_engine(tmp_path) as (process, port):
        with connected(port) as engine:
            boot_id = engine.boot_id
            (stub,) = (p for p in process.process.children(recursive=True) if "python_backend_stub" in p.name())
            stub.kill()
            with pytest.raises(InferenceServerException):
                engine.ask(Probe())
            engine.triton.unload_model(MODEL)
            eventually_sync(lambda: not is_ready(port))
            engine.triton.load_model(MODEL)
        eventually_sync(lambda: is_ready(port), READY_WITHIN_S)
        with connected(port) as engine:
            assert engine.boot_id != boot_id
            engine.step(prefill(0, (1, 2, 3)))


def test_settings_that_cannot_be_used_are_said_before_triton_starts(tmp_path: Path):
    with service("services.engine", {"ENGINE_SLOTS": "1000"}, tmp_path / "log") as process:
        assert process._process is not None
        assert process._process.wait(10) == 1
    assert process.tail().startswith("ENGINE_SLOTS: ")


def test_a_model_file_that_is_none_ends_the_process_and_says_so(tmp_path: Path):
    model = tmp_path / "not-a-model.gguf"
    model.write_bytes(b"x" * 1000)
    keys = {"ENGINE_MODEL_PATH": str(model), "ENGINE_GRPC_PORT": str(free_port())}
    with service("services.engine", keys, tmp_path / "log") as process:
        assert process._process is not None
        assert process._process.wait(30) != 0
    assert "not-a-model.gguf" in process.log.read_text()
