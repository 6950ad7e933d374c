"""The telemetry publisher against a real NATS: nothing waits for it, nothing is stored twice, the oldest go first."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import nats
import pytest

from services.lens import publisher as publisher_module
from services.lens.publisher import Publisher
from shared.lifecycle import Readiness
from shared.names import TELEMETRY_STREAM, TELEMETRY_SUBJECTS
from shared.telemetry import IdleReport, Telemetry
from shared.wire import decode
from tests.servers import Server, eventually, nats_server


@pytest.fixture
def server(tmp_path):
    with nats_server(tmp_path) as started:
        yield started


@contextlib.asynccontextmanager
async def running(publisher: Publisher, server: Server) -> AsyncIterator[None]:
    task = asyncio.create_task(publisher.run(server.url))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def stored(server: Server) -> list[Telemetry]:
    connection = await nats.connect(server.url)
    jetstream = connection.jetstream()
    number = (await jetstream.stream_info(TELEMETRY_STREAM)).state.messages
    messages = [await jetstream.get_msg(TELEMETRY_STREAM, sequence + 1) for sequence in range(number)]
    await connection.close()
    return [decode(message.data or b"", Telemetry) for message in messages]


async def make_stream(server: Server) -> None:
    connection = await nats.connect(server.url)
    await connection.jetstream().add_stream(name=TELEMETRY_STREAM, subjects=[TELEMETRY_SUBJECTS])
    await connection.close()


async def test_reports_that_come_together_travel_together(server):
    await make_stream(server)
    publisher = Publisher("e", Readiness())
    async with running(publisher, server):
        for number in range(3):
            publisher.report(IdleReport(idle_s=number))
        await publisher.flush(within_s=10)
    [message] = await stored(server)
    assert (message.sequence, [report.idle_s for report in message.reports]) == (1, [0, 1, 2])  # type: ignore[union-attr]


async def test_until_there_is_a_stream_reports_wait_and_readiness_says_so(server):
    readiness = Readiness("nats")
    publisher = Publisher("e", readiness)
    publisher.report(IdleReport(idle_s=1.0))
    async with running(publisher, server):
        await eventually(lambda: "not stored" in readiness.problems.get("nats", ""))
        await make_stream(server)
        await publisher.flush(within_s=10)
        assert readiness.problems == {}
    assert len(await stored(server)) == 1


async def test_a_full_buffer_drops_the_oldest_and_counts_them(monkeypatch):
    monkeypatch.setattr(publisher_module, "MOST_REPORTS_BUFFERED", 3)
    publisher = Publisher("e", Readiness())
    for number in range(5):
        publisher.report(IdleReport(idle_s=number))
    assert publisher.reports_dropped == 2
    assert [report.idle_s for report in publisher._next_message().reports] == [2, 3, 4]  # type: ignore[union-attr]


async def test_a_message_sent_again_is_stored_once(server):
    await make_stream(server)
    publisher = Publisher("e", Readiness())
    publisher.report(IdleReport(idle_s=1.0))
    message = publisher._next_message()
    connection = await nats.connect(server.url)
    for _ in range(2):
        await publisher._publish(connection.jetstream(), message)
    await connection.close()
    assert await stored(server) == [message]
