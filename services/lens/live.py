"""A response whose beginning waits for the answer's: errors before it keep their status, and a client that leaves is noticed."""

import asyncio
from collections.abc import AsyncIterator, Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.errors import ApiError

EVENT_STREAM = "text/event-stream; charset=utf-8"
JSON = "application/json"


class LiveResponse(Response):
    """Sends what `parts` yields, as it comes; closes `parts` as soon as the client is gone."""

    def __init__(self, parts: AsyncIterator[bytes], media_type: str, headers: Mapping[str, str]) -> None:
        super().__init__(media_type=media_type, headers=dict(headers))
        del self.headers["content-length"]
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; returns when all is sent or the client has left."""
        sending = asyncio.ensure_future(self._send_parts(send))
        leaving = asyncio.ensure_future(_client_left(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            sending.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
        if not sending.cancelled():
            sending.result()

    async def _send_parts(self, send: Send) -> None:
        started = False
        try:
            async for part in self._parts:
                if not started:
                    await self._start(send)
                    started = True
                await send({"type": "http.response.body", "body": part, "more_body": True})
        except ApiError as error:
            if not started:
                self.status_code = error.status
                self.headers["content-type"] = JSON
                self.headers.update(error.headers)
                await self._start(send)
            body = b"data: " + error.body() + b"\n\n" if started else error.body()
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _start(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})


async def _client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
