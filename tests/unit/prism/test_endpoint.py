"""Whatever becomes of a request, it is answered once."""

import asyncio
import contextlib
from typing import Any

import msgspec
import pytest

from services.prism.account import Account
from services.prism.client_protocol import Client
from services.prism.endpoint import Endpoint
from services.prism.hindsight import Hindsight
from services.prism.intake import Intake
from services.prism.metrics import Metrics
from shared.api import decode_completion
from shared.asgi import start
from shared.receipt import Receipt
from tests.unit.prism.builders import MODEL

BODY = msgspec.json.encode({"model": MODEL, "prompt": "hello"})


class Exchange:
    """A request whose answer begins in some way and then goes on for ever."""

    def __init__(self, *, is_stream: bool, has_begun: bool) -> None:
        self.sent: list[Any] = []
        self.receipts: list[Receipt] = []
        self._is_stream, self._has_begun = is_stream, has_begun
        self._under_way = asyncio.Event()
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._inbox.put_nowait({"type": "http.request", "body": BODY})

    async def cut_off(self) -> None:
        """As the server does when the time to drain is over."""
        metrics = Metrics()
        hindsight = Hindsight("r", metrics, self.receipts.append)
        endpoint = Endpoint(
            self._answer, decode_completion, metrics, hindsight, slo_classes={}, most_body_bytes=1_000_000
        )
        asking = asyncio.create_task(endpoint({"type": "http", "headers": []}, self._inbox.get, self._send))
        async with asyncio.timeout(5):
            await self._under_way.wait()
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    async def _answer(self, _: Intake, account: Account, client: Client) -> None:
        if self._has_begun:
            account.status, account.is_stream, account.first_byte_s = 200, self._is_stream, 0.1
        if self._is_stream and self._has_begun:
            await start(client.send, 200, {})
        self._under_way.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize(("is_stream", "has_begun"), [(True, False), (False, False), (False, True)])
async def test_a_request_that_has_no_answer_yet_is_told_when_the_router_leaves(
    is_stream: bool, has_begun: bool
) -> None:
    exchange = Exchange(is_stream=is_stream, has_begun=has_begun)
    await exchange.cut_off()
    begin, end = exchange.sent
    assert begin["status"] == 503
    assert msgspec.json.decode(end["body"])["error"]["code"] == "draining"
    assert [(receipt.status, receipt.outcome) for receipt in exchange.receipts] == [(503, "failed")]


async def test_a_stream_that_has_begun_is_not_answered_twice_when_the_router_leaves() -> None:
    exchange = Exchange(is_stream=True, has_begun=True)
    await exchange.cut_off()
    assert [message["type"] for message in exchange.sent] == ["http.response.start"]
    assert [(receipt.status, receipt.outcome) for receipt in exchange.receipts] == [(200, "broken")]
