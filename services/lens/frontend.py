"""From a request's body and headers to its answer: decode, tokenise, admit, let the loop run it, write what comes back."""

import asyncio
import contextlib
import random
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import NamedTuple

from services.lens.admission import check_model, check_queue, output_limit_tokens
from services.lens.answer import Answer, FinishReason
from services.lens.generation import Foreseen, Generation
from services.lens.live import EVENT_STREAM, JSON, LiveResponse
from services.lens.loop import StepLoop
from services.lens.sequence import Sequence
from services.lens.text import TextStream
from services.lens.tokenizer import TextModel
from shared import headers
from shared.api import AnyRequest, ChatRequest, Usage, decode_chat, decode_completion
from shared.errors import BadRequest, Unavailable
from shared.slo import slo_from_headers
from shared.step import EngineInfo, Sampling
from shared.telemetry import Outcome, Report

_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
_MOST_REPLICAS_REMEMBERED = 64


class Ticket(NamedTuple):
    """A request that was admitted, with all that its answer needs."""

    sequence: Sequence
    text: TextStream
    answer: Answer
    foreseen: Foreseen


class Frontend:
    """Answers the two generation endpoints of one engine."""

    def __init__(
        self, loop: StepLoop, text_model: TextModel, report: Callable[[Report], None], *, max_waiting: int
    ) -> None:
        self.draining = False
        self.admitted: dict[str, int] = {}
        """The highest dispatch number admitted, by router replica."""
        self._loop = loop
        self._text_model = text_model
        self._report = report
        self._max_waiting = max_waiting

    @property
    def info(self) -> EngineInfo:
        """The engine behind.

        Raises:
            Unavailable: it has not answered yet, or is away.
        """
        if self._loop.scheduler is None or not self._loop.serving.is_set():
            raise Unavailable("the engine is away", headers={"retry-after": "1"})
        return self._loop.scheduler.info

    async def complete(self, body: bytes, request_headers: Mapping[str, str]) -> LiveResponse:
        """Answer `POST /v1/completions`."""
        arrival_s = time.monotonic()
        request = decode_completion(body)
        prompt = request.single_prompt
        if isinstance(prompt, str):
            prompt_ids = await asyncio.to_thread(self._text_model.encode, prompt)
        else:
            prompt_ids = tuple(prompt)
        return self._respond(self._admit(request, prompt_ids, request_headers, arrival_s), is_stream=request.stream)

    async def chat(self, body: bytes, request_headers: Mapping[str, str]) -> LiveResponse:
        """Answer `POST /v1/chat/completions`."""
        arrival_s = time.monotonic()
        request = decode_chat(body)
        prompt_ids = await asyncio.to_thread(self._text_model.encode_chat, request.messages)
        return self._respond(self._admit(request, prompt_ids, request_headers, arrival_s), is_stream=request.stream)

    def _respond(self, ticket: Ticket, *, is_stream: bool) -> LiveResponse:
        echoed = {headers.REQUEST_ID: ticket.sequence.request_id}
        if is_stream:
            return LiveResponse(self._events(ticket), EVENT_STREAM, {**echoed, "cache-control": "no-cache"})
        return LiveResponse(self._body(ticket), JSON, echoed)

    def _admit(
        self, request: AnyRequest, prompt_ids: tuple[int, ...], request_headers: Mapping[str, str], arrival_s: float
    ) -> Ticket:
        info = self.info
        if self.draining:
            raise Unavailable("this server is leaving", headers={"retry-after": "1"})
        is_chat = isinstance(request, ChatRequest)
        check_model(request.model, info.model)
        prompt_field = "messages" if is_chat else "prompt"
        limit_tokens = output_limit_tokens(prompt_ids, request.output_limit, info, prompt_field)
        slo, foreseen = slo_from_headers(request_headers), _foreseen(request_headers)
        request_id = _request_id(request_headers)
        self._note_dispatch(request_headers)
        check_queue(self._loop.waiting_requests, self._max_waiting)
        sequence = Sequence(
            request_id=request_id,
            prompt_ids=prompt_ids,
            max_output_tokens=limit_tokens,
            sampling=_sampling(request),
            end_ids=frozenset() if request.ignore_eos else self._text_model.end_ids,
            slo=slo,
            arrival_s=arrival_s,
        )
        answer = Answer(request_id, info.model, is_chat=is_chat, include_usage=request.include_usage)
        return Ticket(sequence, TextStream(self._text_model.tokenizer, request.stop_strings), answer, foreseen)

    async def _events(self, ticket: Ticket) -> AsyncIterator[bytes]:
        with self._reported(ticket) as generation:
            async for text in self._texts(generation, ticket.text):
                yield ticket.answer.text_event(text)
            yield ticket.answer.last_events(_finish_reason(ticket), _usage(generation))

    async def _body(self, ticket: Ticket) -> AsyncIterator[bytes]:
        with self._reported(ticket) as generation:
            text = "".join([text async for text in self._texts(generation, ticket.text)])
            yield ticket.answer.body(text, _finish_reason(ticket), _usage(generation))

    @contextlib.contextmanager
    def _reported(self, ticket: Ticket) -> Iterator[Generation]:
        with self._loop.generate(ticket.sequence) as generation:
            try:
                yield generation
            finally:
                self._loop.end(ticket.sequence, Outcome.CANCELLED)
                self._report(generation.report(ticket.foreseen, time.monotonic()))

    async def _texts(self, generation: Generation, text: TextStream) -> AsyncIterator[str]:
        async for token_id in generation:
            shown = text.push(token_id)
            if shown:
                yield shown
            if text.stopped:
                self._loop.end(generation.sequence, Outcome.STOP)
                return
        rest = text.finish()
        if rest:
            yield rest

    def _note_dispatch(self, request_headers: Mapping[str, str]) -> None:
        dispatch = request_headers.get(headers.DISPATCH)
        if dispatch is None:
            return
        replica, _, number = dispatch.rpartition(":")
        if not replica or not number.isdecimal():
            raise BadRequest(f"{headers.DISPATCH} must be replica:number, not {dispatch!r}", param=headers.DISPATCH)
        newest = max(self.admitted.pop(replica, 0), int(number))
        if len(self.admitted) >= _MOST_REPLICAS_REMEMBERED:
            del self.admitted[next(iter(self.admitted))]
        self.admitted[replica] = newest


def _sampling(request: AnyRequest) -> Sampling:
    return Sampling(
        seed=random.getrandbits(63) if request.seed is None else request.seed,
        temperature=1.0 if request.temperature is None else request.temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        top_k=max(request.top_k or 0, 0),
    )


def _request_id(request_headers: Mapping[str, str]) -> str:
    given = request_headers.get(headers.REQUEST_ID, "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _foreseen(request_headers: Mapping[str, str]) -> Foreseen:
    values = {}
    for field, header in (("ttft_ms", headers.PREDICTED_TTFT_MS), ("tpot_ms", headers.PREDICTED_TPOT_MS)):
        try:
            values[field] = float(request_headers[header]) if header in request_headers else None
        except ValueError:
            raise BadRequest(f"{header} must be a number, not {request_headers[header]!r}", param=header) from None
    return Foreseen(**values)


def _finish_reason(ticket: Ticket) -> FinishReason:
    return "length" if ticket.sequence.outcome is Outcome.LENGTH and not ticket.text.stopped else "stop"


def _usage(generation: Generation) -> Usage:
    prompt_tokens, output_tokens = len(generation.sequence.prompt_ids), generation.tokens_read
    return Usage(prompt_tokens, output_tokens, prompt_tokens + output_tokens)
