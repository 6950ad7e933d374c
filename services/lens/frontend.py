"""From a request's body and headers to its answer: decode, tokenise, admit, let the loop run it, write what comes back."""

import asyncio
import contextlib
import random
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from http import HTTPStatus
from typing import NamedTuple

from services.lens.admission import check_length, check_model, check_queue, draining, output_limit_tokens
from services.lens.answer import Answer, FinishReason
from services.lens.generation import Foreseen, Generation
from services.lens.loop import StepLoop
from services.lens.sequence import Sequence
from services.lens.text import TextStream
from services.lens.tokenizer import TextModel
from shared import headers
from shared.api import AnyRequest, ChatRequest, PromptTokensDetails, Usage, decode_chat, decode_completion
from shared.asgi import EVENT_STREAM, Send, end, more, respond, start
from shared.errors import BadRequest
from shared.prompt_blocks import block_names, prompt_text
from shared.slo import slo_from_headers
from shared.standing import standing_from_headers
from shared.step import EngineInfo, Sampling
from shared.telemetry import Outcome, Report

_DISPATCH = re.compile(r"(?P<replica>[\w.-]{1,128}):(?P<number>\d{1,15})", re.ASCII)
LEAST_TEMPERATURE = 1e-3
"""Below, drawing is greedy in effect, and the logits would overflow."""
LEAST_TOP_P = 1e-6
"""Below, only the likeliest token is left in any case, and a 32-bit number would become 0."""
_MOST_REPLICAS_REMEMBERED = 64
_MOST_HEARD = 4096
"""Dispatches between two announcements; one that is forgotten expires."""


class Call(NamedTuple):
    """A request as it came in."""

    body: bytes
    headers: Mapping[str, str]
    request_id: str
    arrival_s: float


class Dispatch(NamedTuple):
    """Which of a router replica's dispatches a request is."""

    replica: str
    number: int


class Ticket(NamedTuple):
    """A request that can be run, with all that its answer needs."""

    sequence: Sequence
    text: TextStream
    answer: Answer
    foreseen: Foreseen
    dispatch: Dispatch | None


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
        self._heard: deque[str] = deque(maxlen=_MOST_HEARD)

    @property
    def info(self) -> EngineInfo:
        """The engine behind.

        Raises:
            Unavailable: it has not answered yet, or is away.
        """
        return self._loop.serving_scheduler.info

    async def complete(self, call: Call, send: Send) -> None:
        """Answer `POST /v1/completions`."""
        with self._heard_if_refused(call):
            request = decode_completion(call.body)
            prompt = request.single_prompt
            prompt_ids = await self._encode(prompt, "prompt") if isinstance(prompt, str) else tuple(prompt)
            await self._answer(request, prompt_ids, call, send)

    async def chat(self, call: Call, send: Send) -> None:
        """Answer `POST /v1/chat/completions`."""
        with self._heard_if_refused(call):
            request = decode_chat(call.body)
            text = self._text_model.render_chat(request.messages)
            prompt_ids = await self._encode(text, "messages", add_special_tokens=False)
            await self._answer(request, prompt_ids, call, send)

    def take_heard(self) -> tuple[str, ...]:
        """The dispatches, as `replica:number`, that have been admitted or refused since this was last asked."""
        heard = tuple(self._heard)
        self._heard.clear()
        return heard

    @contextlib.contextmanager
    def _heard_if_refused(self, call: Call) -> Iterator[None]:
        """Whoever sent it may not live to take it back; one that was admitted is heard twice, which does no harm."""
        try:
            yield
        except BaseException:
            said = call.headers.get(headers.DISPATCH, "")
            if _DISPATCH.fullmatch(said):
                self._heard.append(said)
            raise

    async def _encode(self, text: str, field: str, *, add_special_tokens: bool = True) -> tuple[int, ...]:
        """The tokens of a text; one that cannot fit, whatever its tokens, is refused before they are counted."""
        check_length(self._text_model.least_tokens(text), self.info, field)
        return await asyncio.to_thread(self._text_model.encode, text, add_special_tokens=add_special_tokens)

    async def _answer(self, request: AnyRequest, prompt_ids: tuple[int, ...], call: Call, send: Send) -> None:
        """From admission to the end without a gap: what was admitted waits in the queue at once, so its bound holds."""
        ticket = self._admit(request, prompt_ids, call)
        with self._generating(ticket) as generation:
            self._note(ticket.dispatch)
            if request.stream:
                await self._stream(ticket, generation, send)
            else:
                text = "".join([text async for text in self._texts(generation, ticket.text)])
                body = ticket.answer.body(text, _finish_reason(ticket), _usage(generation))
                await respond(send, HTTPStatus.OK, body, _told(ticket))

    def _admit(self, request: AnyRequest, prompt_ids: tuple[int, ...], call: Call) -> Ticket:
        info = self.info
        if self.draining:
            raise draining()
        is_chat = isinstance(request, ChatRequest)
        check_model(request.model, info.model)
        prompt_field = "messages" if is_chat else "prompt"
        limit_tokens = output_limit_tokens(prompt_ids, request.output_limit, info, prompt_field)
        slo, standing = slo_from_headers(call.headers), standing_from_headers(call.headers)
        foreseen, dispatch = _foreseen(call.headers), _dispatch(call.headers)
        check_queue(self._loop.waiting_requests, self._max_waiting, self._loop.queue_wait_s)
        sequence = Sequence(
            request_id=call.request_id,
            prompt_ids=prompt_ids,
            max_output_tokens=limit_tokens,
            sampling=_sampling(request),
            end_ids=frozenset() if request.ignore_eos else self._text_model.end_ids,
            slo=slo,
            arrival_s=call.arrival_s,
            priority=standing.priority,
            tenant=standing.tenant,
            text_blocks=_text_blocks(request, standing.tenant, info),
        )
        answer = Answer(call.request_id, info.model, is_chat=is_chat, include_usage=request.include_usage)
        text = TextStream(self._text_model.tokenizer, request.stop_strings)
        return Ticket(sequence, text, answer, foreseen, dispatch)

    @contextlib.contextmanager
    def _generating(self, ticket: Ticket) -> Iterator[Generation]:
        """The generation, reported when it has ended, however that came."""
        with self._loop.generate(ticket.sequence) as generation:
            failed = False
            try:
                yield generation
            except Exception:
                failed = True
                raise
            finally:
                self._loop.end(ticket.sequence, Outcome.FAILED if failed else Outcome.CANCELLED)
                outcome = _outcome(ticket, failed=failed)
                self._report(generation.report(outcome, ticket.foreseen, time.monotonic()))

    async def _stream(self, ticket: Ticket, generation: Generation, send: Send) -> None:
        """The response begins with the first event, so an engine that fails before it still gives a status."""
        async for event in self._events(ticket, generation):
            if not generation.begun:
                generation.begun = True
                await start(send, HTTPStatus.OK, {"content-type": EVENT_STREAM, **_told(ticket)})
            await more(send, event)
        await end(send)

    async def _events(self, ticket: Ticket, generation: Generation) -> AsyncIterator[bytes]:
        async for text in self._texts(generation, ticket.text):
            yield ticket.answer.text_event(text)
        yield ticket.answer.last_events(_finish_reason(ticket), _usage(generation))

    async def _texts(self, generation: Generation, text: TextStream) -> AsyncIterator[str]:
        """The answer as it comes; tokens that are there already when the client is ready for more come at once."""
        shown = ""
        async for token_id in generation:
            shown += text.push(token_id)
            if shown and (text.stopped or not generation.has_unread):
                yield shown
                shown = ""
            if text.stopped:
                self._loop.end(generation.sequence, Outcome.STOP)
                return
        shown += text.finish()
        if shown:
            yield shown

    def _note(self, dispatch: Dispatch | None) -> None:
        """Echo from now on that this dispatch was admitted; of all replicas ever, the latest are remembered."""
        if dispatch is None:
            return
        self._heard.append(f"{dispatch.replica}:{dispatch.number}")
        newest = max(self.admitted.pop(dispatch.replica, 0), dispatch.number)
        if len(self.admitted) >= _MOST_REPLICAS_REMEMBERED:
            del self.admitted[next(iter(self.admitted))]
        self.admitted[dispatch.replica] = newest


def _text_blocks(request: AnyRequest, tenant: str, info: EngineInfo) -> tuple[str, ...]:
    return block_names(prompt_text(request), tenant=tenant, model=info.model) if info.copies_prefixes else ()


def _sampling(request: AnyRequest) -> Sampling:
    temperature = 1.0 if request.temperature is None else request.temperature
    return Sampling(
        seed=random.getrandbits(63) if request.seed is None else request.seed,
        temperature=temperature if temperature >= LEAST_TEMPERATURE else 0.0,
        top_p=1.0 if request.top_p is None else max(request.top_p, LEAST_TOP_P),
        top_k=max(request.top_k or 0, 0),
    )


def _dispatch(request_headers: Mapping[str, str]) -> Dispatch | None:
    said = request_headers.get(headers.DISPATCH)
    if said is None:
        return None
    if not (match := _DISPATCH.fullmatch(said)):
        raise BadRequest(f"{headers.DISPATCH} must be replica:number", param=headers.DISPATCH)
    return Dispatch(match["replica"], int(match["number"]))


def _foreseen(request_headers: Mapping[str, str]) -> Foreseen:
    values = {}
    for field, header in (("ttft_ms", headers.PREDICTED_TTFT_MS), ("tpot_ms", headers.PREDICTED_TPOT_MS)):
        try:
            values[field] = float(request_headers[header]) if header in request_headers else None
        except ValueError:
            raise BadRequest(f"{header} must be a number, not {request_headers[header]!r}", param=header) from None
    return Foreseen(**values)


def _told(ticket: Ticket) -> dict[str, str]:
    """The headers of an answer that begins."""
    relegated = {headers.RELEGATED: "true"} if ticket.sequence.relegated else {}
    return {
        headers.REQUEST_ID: ticket.sequence.request_id,
        headers.PROMPT_TOKENS: str(len(ticket.sequence.prompt_ids)),
        "cache-control": "no-cache",
        **relegated,
    }


def _outcome(ticket: Ticket, *, failed: bool) -> Outcome:
    """How a request has ended; its sequence may be complete though its answer could not be given."""
    if failed:
        return Outcome.FAILED
    outcome = Outcome.STOP if ticket.text.stopped else ticket.sequence.outcome
    assert outcome is not None, "an ended sequence has an outcome"
    return outcome


def _finish_reason(ticket: Ticket) -> FinishReason:
    return "length" if ticket.sequence.outcome is Outcome.LENGTH and not ticket.text.stopped else "stop"


def _usage(generation: Generation) -> Usage:
    prompt_tokens, output_tokens = len(generation.sequence.prompt_ids), generation.tokens_read
    cached = PromptTokensDetails(generation.sequence.copied_tokens)
    return Usage(prompt_tokens, output_tokens, prompt_tokens + output_tokens, cached)
