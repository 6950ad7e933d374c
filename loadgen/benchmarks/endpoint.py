"""An OpenAI endpoint that streams at an even pace and thinks nothing: what a load generator can be measured against."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from aiohttp import web

MODEL = "even-pace"
_HEADERS = {"content-type": "text/event-stream"}
_CHUNK = b'data: {"choices": [{"index": 0, "delta": {"content": " word"}, "finish_reason": null}]}\n\n'
_END = (
    b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}\n\n'
    b'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": %d, "total_tokens": %d}}\n\n'
    b"data: [DONE]\n\n"
)


class Endpoint:
    """Answers each chat with `max_tokens` words.

    Args:
        ttft_s: from a request to its first word.
        gap_s: between words.
    """

    def __init__(self, ttft_s: float, gap_s: float) -> None:
        self._ttft_s = ttft_s
        self._gap_s = gap_s
        self.open = 0
        self.most_open = 0

    def app(self) -> web.Application:
        """The application that serves it."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/most-open", self._most_open)
        return app

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            return await self._answer(request, (await request.json())["max_tokens"])
        finally:
            self.open -= 1

    async def _answer(self, request: web.Request, words: int) -> web.StreamResponse:
        due_at_s = asyncio.get_running_loop().time() + self._ttft_s
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        for _ in range(words):
            await asyncio.sleep(due_at_s - asyncio.get_running_loop().time())
            await response.write(_CHUNK)
            due_at_s += self._gap_s
        await response.write(_END % (words, 9 + words))
        return response

    async def _models(self, _request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    async def _most_open(self, _request: web.Request) -> web.Response:
        return web.json_response({"most_open": self.most_open})


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until ended."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.benchmarks.endpoint", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ttft-ms", type=float, default=500.0, help="%(default)s")
    parser.add_argument("--gap-ms", type=float, default=100.0, help="%(default)s")
    options = parser.parse_args(arguments)
    endpoint = Endpoint(options.ttft_ms / 1e3, options.gap_ms / 1e3)
    web.run_app(endpoint.app(), host="127.0.0.1", port=options.port, backlog=4096, print=None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
