"""The real forecaster process beside a real NATS and a real Redis, and an engine that reports to it."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import nats
import nats.errors
import pytest
import redis
from nats.aio.client import Client

from services.forecaster.engine_model import EngineModel, EngineModelState
from shared.forecast import Forecast
from shared.names import forecast_key, model_key, telemetry_subject
from shared.telemetry import Report, StepReport, Telemetry
from shared.wire import decode, encode
from tests.servers import Server, eventually, free_port, nats_server, redis_server

ROOT = Path(__file__).parents[3]


class ForecasterProcess:
    """`python -m services.forecaster`, in an empty working directory."""

    def __init__(self, nats_url: str, redis_url: str, directory: Path, replica: str = "one", **settings: str) -> None:
        self.program = ["-m", "services.forecaster"]
        self.directory = directory / f"working-{replica}"
        self.directory.mkdir()
        self.log = directory / f"forecaster-{replica}.log"
        self.url = ""
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "NATS_URL": nats_url,
            "REDIS_URL": redis_url,
            "FORECASTER_REPLICA": replica,
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        environment = {**self._environment, "FORECASTER_PORT": str(port)}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self.program], cwd=self.directory, env=environment, stderr=log
            )

    def send(self, number: signal.Signals) -> None:
        """Send the signal, and do not wait."""
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def exit_status(self) -> int | None:
        """None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def end(self, number: signal.Signals) -> int:
        """Send the signal and wait; returns the exit status."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(8)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; status 0 while nothing answers."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=2) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    @property
    def problems(self) -> dict[str, str] | None:
        """What `/health/ready` says is wrong; None while nothing answers."""
        status, body = self.get("/health/ready")
        if not status:
            return None
        problems: dict[str, str] = json.loads(body)["problems"]
        assert status == (503 if problems else 200)
        return problems

    async def ready(self) -> None:
        await eventually(lambda: self.problems == {}, 15)


Replicas = Callable[..., ForecasterProcess]
"""Starts a replica of this name, with these settings."""


class Engine:
    """Publishes an engine's telemetry, and knows what a forecaster must have made of it."""

    def __init__(self, name: str, redis_url: str) -> None:
        self.name = name
        self.lens = "x"
        self.expected = EngineModel(name)
        self.sequence = 0
        self._redis: Any = redis.Redis.from_url(redis_url)

    async def report(self, client: Client, reports: Iterable[Report]) -> None:
        """Publish, three reports to a message, and wait until the stream has them."""
        pending = list(reports)
        published = []
        for first in range(0, len(pending), 3):
            self.sequence += 1
            travelling = tuple(pending[first : first + 3])
            message = Telemetry(engine=self.name, lens=self.lens, sequence=self.sequence, reports=travelling)
            published.append(_publish(client, message))
        await asyncio.gather(*published)
        for report in pending:
            if isinstance(report, StepReport):
                self.expected.observe(report)

    def restart(self) -> None:
        """Its lens begins to count anew, under another name."""
        self.lens, self.sequence = f"{self.lens}x", 0

    @property
    def forecast(self) -> Forecast | None:
        try:
            data = self._redis.get(forecast_key(self.name))
        except redis.ConnectionError:
            return None
        return decode(data, Forecast) if data else None

    @property
    def stored(self) -> EngineModelState | None:
        try:
            data = self._redis.get(model_key(self.name))
        except redis.ConnectionError:
            return None
        return decode(data, EngineModelState) if data else None

    @property
    def steps_stored(self) -> int:
        return self.stored.steps_learned if self.stored else 0

    @property
    def steps_forecast(self) -> int:
        """May be some milliseconds behind the model: a save that finds no new forecast due restates the last one."""
        return self.forecast.steps_learned if self.forecast else 0

    @property
    def place(self) -> int:
        """In the stream, of the last message that the stored model has learned."""
        return self.stored.position if self.stored else 0

    async def learned(self, within_s: float = 15.0) -> None:
        """Every step has been learned, each once and in order: the stored model is the expected one to the last bit."""
        await eventually(lambda: min(self.steps_stored, self.steps_forecast) >= self.expected.steps_learned, within_s)
        stored, forecast = self.stored, self.forecast
        assert stored is not None
        assert forecast is not None
        assert stored.steps_learned == forecast.steps_learned == self.expected.steps_learned
        assert stored.regressor == self.expected.state.regressor
        assert stored.messages_lost == 0


async def _publish(client: Client, message: Telemetry) -> None:
    """As lens does: until it is acknowledged, and once however often it takes."""
    headers = {"Nats-Msg-Id": f"{message.engine}:{message.lens}:{message.sequence}"}
    while True:
        with contextlib.suppress(nats.errors.Error):
            await client.jetstream().publish(
                telemetry_subject(message.engine), encode(message), timeout=2, headers=headers
            )
            return


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Server]:
    with nats_server(tmp_path) as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Server]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def contents(store: Server) -> Any:
    """A client of the store, as text."""
    return redis.Redis.from_url(store.url, decode_responses=True)


@pytest.fixture
def process(broker: Server, store: Server, tmp_path: Path) -> Iterator[ForecasterProcess]:
    forecaster = ForecasterProcess(broker.url, store.url, tmp_path)
    forecaster.start()
    yield forecaster
    forecaster.end(signal.SIGKILL)


@pytest.fixture
def replicas(broker: Server, store: Server, tmp_path: Path) -> Iterator[Replicas]:
    started: dict[str, ForecasterProcess] = {}

    def start(name: str, **settings: str) -> ForecasterProcess:
        forecaster = started[name] = ForecasterProcess(broker.url, store.url, tmp_path, name, **settings)
        forecaster.start()
        return forecaster

    yield start
    for forecaster in started.values():
        forecaster.end(signal.SIGKILL)


@pytest.fixture
async def client(broker: Server) -> AsyncIterator[Client]:
    async def quiet(_error: Exception) -> None: ...

    connection = await nats.connect(broker.url, error_cb=quiet, max_reconnect_attempts=-1, reconnect_time_wait=0.1)
    yield connection
    await connection.close()


@pytest.fixture
def engine(store: Server) -> Engine:
    return Engine("a", store.url)
