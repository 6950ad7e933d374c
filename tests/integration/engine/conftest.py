"""A real Triton with the real small model, one for all tests of the engine; and llama.cpp itself beside it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.engine.client import EngineClient, connected, is_ready
from tests.integration.engine.oracle import Oracle
from tests.servers import eventually_sync, free_port
from tests.services import Service, service

READY_WITHIN_S = 60.0
KV_TOKENS = 1024


@contextlib.contextmanager
def running_engine(folder: Path) -> Iterator[tuple[Service, int]]:
    """An engine process that is ready, and its port."""
    port = free_port()
    keys = {"ENGINE_GRPC_PORT": str(port), "ENGINE_KV_TOKENS": str(KV_TOKENS), "ENGINE_SLOTS": "24"}
    with service("services.engine", keys, folder / "engine.log") as process:
        eventually_sync(lambda: is_ready(port), READY_WITHIN_S)
        yield process, port


@pytest.fixture(scope="session")
def engine_port(tmp_path_factory) -> Iterator[int]:
    with running_engine(tmp_path_factory.mktemp("engine")) as (_, port):
        yield port


@pytest.fixture
def engine(engine_port) -> Iterator[EngineClient]:
    with connected(engine_port) as client:
        yield client


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    return Oracle(KV_TOKENS)
