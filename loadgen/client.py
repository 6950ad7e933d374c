"""Sends one chat request and reads its stream: what came back, and when, on a monotonic clock."""

import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import aiohttp
import msgspec

from loadgen.outcome import Outcome
from loadgen.sse import SseParser
from loadgen.workload import Request
from shared import headers
from shared.api import Usage
from shared.slo import CLASS_HEADER, headers_from_slo

END_OF_STREAM = "[DONE]"


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class _Error(msgspec.Struct, frozen=True):
    message: str


class _Event(msgspec.Struct, frozen=True):
    choices: tuple[_Choice, ...] = ()
    usage: Usage | None = None
    error: _Error | None = None


class BrokenStream(ValueError):
    """A stream that says an error, or does not say how it ended."""


class Reading:
    """An answer as it is read, event by event."""

    def __init__(self, sent_at_s: float) -> None:
        self._sent_at_s = sent_at_s
        self._texts: list[str] = []
        self._ttft_s: float | None = None
        self._e2e_s: float | None = None
        self._finish_reason: str | None = None
        self._usage: Usage | None = None

    def take(self, data: str, at_s: float) -> None:
        """Read one event that came at this instant of the clock of `sent_at_s`.

        Raises:
            BrokenStream: the event is an error, or no event of a chat stream.
        """
        try:
            event = msgspec.json.decode(data, type=_Event)
        except msgspec.MsgspecError as error:
            raise BrokenStream(f"not an event of a chat stream: {error}: {data[:200]}") from None
        if event.error is not None:
            raise BrokenStream(event.error.message)
        self._usage = event.usage or self._usage
        for choice in event.choices:
            self._take_choice(choice, at_s - self._sent_at_s)

    def _take_choice(self, choice: _Choice, after_s: float) -> None:
        if choice.delta.content:
            self._texts.append(choice.delta.content)
            self._ttft_s = after_s if self._ttft_s is None else self._ttft_s
        if choice.finish_reason is not None:
            self._finish_reason = choice.finish_reason
            self._e2e_s = after_s

    @property
    def fields(self) -> Mapping[str, Any]:
        """What has been read, by field of `Outcome`."""
        return {
            "text": "".join(self._texts),
            "ttft_s": self._ttft_s,
            "e2e_s": self._e2e_s,
            "finish_reason": self._finish_reason,
            "prompt_tokens": None if self._usage is None else self._usage.prompt_tokens,
            "output_tokens": None if self._usage is None else self._usage.completion_tokens,
        }


class Client:
    """Sends requests for one model to one system.

    Args:
        session: without a limit of connections, which would make requests wait on the client's side.
        started_at_s: the start of the run, `time.monotonic()`.
        timeout_s: for a whole answer.
    """

    def __init__(
        self, session: aiohttp.ClientSession, url: str, model: str, *, started_at_s: float, timeout_s: float
    ) -> None:
        self._session = session
        self._url = f"{url}/v1/chat/completions"
        self._model = model
        self._started_at_s = started_at_s
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def send(self, request: Request) -> Outcome:
        """The request's outcome; an error is part of it, never raised."""
        sent_at_s = time.monotonic()
        reading = Reading(sent_at_s)
        seen: dict[str, Any] = {}
        try:
            async with self._session.post(
                self._url,
                json=self._body(request),
                headers={CLASS_HEADER: request.slo.name, **headers_from_slo(request.slo)},
                timeout=self._timeout,
            ) as response:
                seen |= _seen_in_headers(response)
                await _read(response, reading)
        except (aiohttp.ClientError, TimeoutError, OSError, BrokenStream) as error:
            seen["error"] = str(error) or type(error).__name__
        return Outcome(request=request, sent_s=sent_at_s - self._started_at_s, **seen, **reading.fields)

    def _body(self, request: Request) -> Mapping[str, Any]:
        return {
            "model": self._model,
            "messages": [{"role": "user", "content": request.prompt}],
            "max_tokens": request.max_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }


async def _read(response: aiohttp.ClientResponse, reading: Reading) -> None:
    if response.status != HTTPStatus.OK:
        raise BrokenStream(f"{response.status}: {_message(await response.read())}")
    parser = SseParser()
    async for piece in response.content.iter_any():
        at_s = time.monotonic()
        for data in parser.feed(piece):
            if data == END_OF_STREAM:
                return
            reading.take(data, at_s)
    raise BrokenStream(f"the stream ended without {END_OF_STREAM}")


def _message(body: bytes) -> str:
    try:
        error = msgspec.json.decode(body, type=_Event).error
    except msgspec.MsgspecError:
        error = None
    return body.decode(errors="replace")[:200] if error is None else error.message


def _seen_in_headers(response: aiohttp.ClientResponse) -> Mapping[str, Any]:
    return {
        "status": response.status,
        "engine": response.headers.get(headers.ENGINE),
        "route_reason": response.headers.get(headers.ROUTE_REASON),
        "predicted_ttft_s": _seconds(response.headers.get(headers.PREDICTED_TTFT_MS)),
        "predicted_tpot_s": _seconds(response.headers.get(headers.PREDICTED_TPOT_MS)),
    }


def _seconds(milliseconds: str | None) -> float | None:
    try:
        return None if milliseconds is None else float(milliseconds) / 1e3
    except ValueError:
        return None  # a server of another kind; its predictions are not there
