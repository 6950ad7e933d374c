"""Sends one request and reads its stream: what came back, and when, on a monotonic clock."""

import asyncio
import itertools
import math
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import aiohttp
import msgspec

from loadgen.outcome import Outcome
from loadgen.reading import BrokenStream, Reading, error_message
from loadgen.sse import SseParser
from loadgen.workload import Request
from shared import headers
from shared.slo import CLASS_HEADER, headers_from_slo

END_OF_STREAM = "[DONE]"
RETRIED = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS)
"""And every status from 500 on: what OpenAI's own client sends again."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0
"""Before a retry, where the server does not say; doubled each time."""
LEAST_TIMEOUT_S = 0.001
"""Where retries have used up the time; aiohttp takes 0 for no limit."""
KEEP_ALIVE_S = 4.0
"""Shorter than servers keep connections, so that none is used while its server closes it."""


class Refused(BrokenStream):
    """An answer with another status than 200.

    Args:
        again_in_s: when to send again, 0 where the server does not say; None where that cannot help.
    """

    def __init__(self, status: int, message: str, again_in_s: float | None) -> None:
        super().__init__(f"{status}: {message}")
        self.again_in_s = again_in_s


def open_session(api_key: str | None = None, tenant: str | None = None) -> aiohttp.ClientSession:
    """A session for load: no limit of connections, which would make requests wait on the client's side.

    Args:
        tenant: who its requests say they are of, where there are no keys; nobody finds another's prompts in a cache.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={
            **({} if api_key is None else {"authorization": f"Bearer {api_key}"}),
            **({} if tenant is None else {headers.TENANT: tenant}),
        },
    )


class Client:
    """Sends requests for one model to one system.

    Args:
        session: as `open_session` makes it.
        url: without `/v1`.
        started_at_s: the start of the run, `time.monotonic()`.
        timeout_s: for a whole answer, retries included.
        retries: how often a request is sent again that was refused for now or met a broken connection; not once its answer
            has begun.
        say_class: whether the class's name is sent beside its targets.
        chat: whether chats are asked for, or plain completions.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        model: str,
        *,
        started_at_s: float,
        timeout_s: float,
        retries: int = 0,
        say_class: bool = True,
        chat: bool = True,
    ) -> None:
        self._session = session
        self._url = f"{url}/v1/chat/completions" if chat else f"{url}/v1/completions"
        self._model = model
        self._started_at_s = started_at_s
        self._timeout_s = timeout_s
        self._retries = retries
        self._say_class = say_class
        self._chat = chat

    async def send(self, request: Request) -> Outcome:
        """The request's outcome; an error is part of it, never raised."""
        body = msgspec.json.encode(self._body(request))
        said = {"content-type": "application/json", **headers_from_slo(request.slo)}
        if self._say_class:
            said[CLASS_HEADER] = request.slo.name
        sent_at_s = time.monotonic()
        gives_up_at_s = sent_at_s + self._timeout_s
        backoff_s = FIRST_WAIT_S
        for attempt in itertools.count(1):
            reading = Reading(sent_at_s)
            seen, again_in_s = await self._attempt(body, said, reading, gives_up_at_s)
            if again_in_s is None or attempt > self._retries:
                break
            wait_s = again_in_s or backoff_s
            if time.monotonic() + wait_s >= gives_up_at_s:
                break
            await asyncio.sleep(wait_s)
            backoff_s = min(2 * backoff_s, LONGEST_WAIT_S)
        sent_s = sent_at_s - self._started_at_s
        return Outcome(request=request, sent_s=sent_s, attempts=attempt, **seen, **reading.fields)

    async def _attempt(
        self, body: bytes, said: Mapping[str, str], reading: Reading, gives_up_at_s: float
    ) -> tuple[Mapping[str, Any], float | None]:
        """What has been seen beside the stream, by field of `Outcome`, and when sending again can help; None: never."""
        seen: dict[str, Any] = {}
        again_in_s: float | None = None
        try:
            timeout = aiohttp.ClientTimeout(total=max(gives_up_at_s - time.monotonic(), LEAST_TIMEOUT_S))
            async with self._session.post(self._url, data=body, headers=said, timeout=timeout) as response:
                seen |= _seen_in_headers(response)
                await _read(response, reading)
        except Refused as error:
            seen["error"], again_in_s = str(error), error.again_in_s
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            seen["error"], again_in_s = str(error) or type(error).__name__, 0.0
        except (aiohttp.ClientError, TimeoutError, OSError, BrokenStream) as error:
            seen["error"] = str(error) or type(error).__name__
        return seen, None if reading.has_begun else again_in_s

    def _body(self, request: Request) -> Mapping[str, Any]:
        prompt = request.prompt_text
        return {
            "model": self._model,
            **({"messages": [{"role": "user", "content": prompt}]} if self._chat else {"prompt": prompt}),
            "max_tokens": request.max_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            **({"ignore_eos": True} if request.ignore_eos else {}),
            **({} if request.session is None else {"user": request.session}),
        }


async def _read(response: aiohttp.ClientResponse, reading: Reading) -> None:
    if response.status != HTTPStatus.OK:
        raise Refused(response.status, error_message(await response.read()), _again_in_s(response))
    parser = SseParser()
    async for piece in response.content.iter_any():
        at_s = time.monotonic()
        for data in parser.feed(piece):
            if data == END_OF_STREAM:
                return
            reading.take(data, at_s)
    raise BrokenStream(f"the stream ended without {END_OF_STREAM}")


def _again_in_s(response: aiohttp.ClientResponse) -> float | None:
    """When the server would have the request again, 0 where it does not say; None: never."""
    if response.status not in RETRIED and response.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return None
    after_s = _seconds(response.headers.get("retry-after-ms"))
    if after_s is None:
        after_s = _number(response.headers.get("retry-after"))
    return 0.0 if after_s is None else max(after_s, 0.0)


def _seen_in_headers(response: aiohttp.ClientResponse) -> Mapping[str, Any]:
    return {
        "status": response.status,
        "engine": response.headers.get(headers.ENGINE),
        "route_reason": response.headers.get(headers.ROUTE_REASON),
        "predicted_ttft_s": _seconds(response.headers.get(headers.PREDICTED_TTFT_MS)),
        "predicted_tpot_s": _seconds(response.headers.get(headers.PREDICTED_TPOT_MS)),
        "p_met": _number(response.headers.get(headers.P_MET)),
    }


def _seconds(milliseconds: str | None) -> float | None:
    number = _number(milliseconds)
    return None if number is None else number / 1e3


def _number(text: str | None) -> float | None:
    """None also for what cannot be used: a date, or what is not finite, which would upset the event loop's clock."""
    try:
        number = math.nan if text is None else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
