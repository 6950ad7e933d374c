"""An engine that steps evenly and computes nothing: each step it sends a chunk to every stream, the first chunk at once.

So little is done for a chunk that a router between it and a client is what takes the time.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence

MODEL = "even-steps"
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_END_OF_BODY = b"0\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNK = b'data: {"choices": [{"index": 0, "delta": {"content": " word"}, "finish_reason": null}]}\n\n'
_TOKEN = _chunk(CHUNK)
_END = _chunk(b"data: [DONE]\n\n") + _END_OF_BODY


class Steps:
    """The streams that are open; each gets a chunk a step."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self.left: dict[asyncio.Transport, int] = {}
        """Chunks to come, by connection."""
        self.most_open = 0

    async def run(self) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        due_at_s = loop.time()
        while True:
            due_at_s = max(due_at_s + self._step_s, loop.time())
            await asyncio.sleep(due_at_s - loop.time())
            for transport in tuple(self.left):
                self.send(transport)

    def open(self, transport: asyncio.Transport, chunks: int) -> None:
        """A request has come."""
        transport.write(_HEAD)
        self.left[transport] = chunks
        self.most_open = max(self.most_open, len(self.left))
        self.send(transport)

    def send(self, transport: asyncio.Transport) -> None:
        """One chunk, or what ends the stream."""
        left = self.left[transport] = self.left[transport] - 1
        if left > 0:
            transport.write(_TOKEN)
        else:
            del self.left[transport]
            transport.write(_TOKEN + _END)


class Connection(asyncio.Protocol):
    """One client; its requests come one after the other."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._transport: asyncio.Transport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody has connected."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """A request, or a piece of one."""
        assert self._transport is not None
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < _content_length(head):
            return
        self._received = b""
        if head.startswith(b"POST"):
            self._steps.open(self._transport, json.loads(body)["max_tokens"])
        else:
            said = json.dumps({"most_open": self._steps.most_open}).encode()
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(said), said))

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left."""
        if self._transport is not None:
            self._steps.left.pop(self._transport, None)


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    return 0


async def _serve(port: int, step_s: float) -> None:
    steps = Steps(step_s)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(steps), "127.0.0.1", port, backlog=4096)
    async with server:
        await steps.run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until ended."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.benchmarks.stepping", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--step-ms", type=float, default=20.0, help="%(default)s")
    options = parser.parse_args(arguments)
    asyncio.run(_serve(options.port, options.step_ms / 1e3))
    return 0


if __name__ == "__main__":
    sys.exit(main())
