"""A request on its way through the simulated system, and what became of it as its client would see it. Pure."""

import math
import zlib
from functools import lru_cache
from typing import Protocol

import msgspec

from loadgen.outcome import FinishReason, Outcome
from loadgen.simulate.hardware import MODEL, VOCAB_SIZE
from loadgen.workload import Request
from services.lens.sequence import Sequence
from services.prism.dispatches import Dispatch
from services.prism.output_lengths import TYPICAL, Lengths
from services.prism.promises import Promise
from services.prism.prompt_size import BYTES_PER_TOKEN, Ask, expected_tokens
from services.prism.route import Route
from shared.prompt_blocks import BLOCK_BYTES, block_names
from shared.slo import Slo
from shared.step import Sampling

TEXT = "simulated"
LENGTHS_KEPT = 2048
WORDS_KEPT = 65_536
GREEDY = Sampling(seed=0, temperature=0.0)
NO_END: frozenset[int] = frozenset()


class Asker(Protocol):
    """Who has asked for an answer."""

    def begun(self, job: "Job") -> None:
        """Its first token is here."""

    def ended(self, job: "Job") -> None:
        """Its last token is here."""

    def broken(self, job: "Job") -> None:
        """The engine broke off."""


class Job:
    """One request. Answers go on to their limit.

    Args:
        has_text: whether its prompt is more than a length, so that others may begin like it.
    """

    __slots__ = (
        *("ask", "asker", "dispatch", "first_token_s", "full", "promise", "prompt_tokens"),
        *("prompt_ids", "request", "route", "sequence", "tried"),
    )

    def __init__(
        self,
        request: Request,
        asker: Asker,
        text_bytes_per_token: float = BYTES_PER_TOKEN,
        lengths: Lengths = TYPICAL,
        *,
        has_text: bool = False,
    ) -> None:
        self.request = request
        self.asker = asker
        self.prompt_tokens = prompt_tokens_of(request)
        self.ask = ask_for(request, self.prompt_tokens, text_bytes_per_token, lengths)
        self.prompt_ids = prompt_of(self.prompt_tokens)
        if has_text:
            self.ask = with_text(self.ask, request.prompt_text.encode())
            self.prompt_ids = token_ids_of(request)
        self.tried: frozenset[str] = frozenset()
        self.full = False
        """Whether an engine had no room for it."""
        self.route: Route | None = None
        self.dispatch: Dispatch | None = None
        self.sequence: Sequence | None = None
        self.first_token_s: float | None = None
        self.promise: Promise | None = None

    @property
    def sent(self) -> Dispatch:
        """Its dispatch to the engine that has it, or had it last."""
        assert self.dispatch is not None, "it was never sent"
        return self.dispatch

    def sequence_for(self, slo: Slo, now_s: float) -> Sequence:
        """The request as lens takes it in."""
        self.sequence = Sequence(
            request_id="",
            prompt_ids=self.prompt_ids,
            max_output_tokens=self.request.max_tokens,
            sampling=GREEDY,
            end_ids=NO_END,
            slo=slo,
            arrival_s=now_s,
            text_blocks=self.ask.blocks,
        )
        return self.sequence

    def ended(self, now_s: float, problem: str | None = None, status: int = 200) -> Outcome:
        """What became of it."""
        arrived_s, route, sequence = self.request.arrival_s, self.route, self.sequence
        ttft_s = None if self.first_token_s is None else self.first_token_s - arrived_s
        return Outcome(
            request=self.request,
            sent_s=arrived_s,
            attempts=max(len(self.tried), 1),
            status=status,
            error=problem,
            engine=None if route is None else route.engine,
            route_reason=None if route is None else route.reason,
            predicted_ttft_s=None if route is None else route.predicted_ttft_s,
            predicted_tpot_s=None if route is None else route.predicted_tpot_s,
            p_met=None if route is None else route.p_met,
            ttft_s=ttft_s,
            e2e_s=None if problem is not None else now_s - arrived_s,
            text=TEXT if problem is None else "",
            finish_reason=FinishReason.LENGTH if problem is None else None,
            prompt_tokens=self.prompt_tokens,
            output_tokens=None if sequence is None else len(sequence.output_ids),
        )


def prompt_tokens_of(request: Request) -> int:
    """What the engine counts."""
    prompt = request.prompt
    tokens = -(-len(prompt.encode()) // BYTES_PER_TOKEN) if isinstance(prompt, str) else prompt.tokens
    return max(tokens, 1)


def ask_for(
    request: Request,
    prompt_tokens: int,
    text_bytes_per_token: float = BYTES_PER_TOKEN,
    lengths: Lengths = TYPICAL,
) -> Ask:
    """The request as the router sizes it up, which counts the bytes of its text and knows how long answers are."""
    limit = request.max_tokens
    expected = expected_tokens(limit, lengths, ignore_eos=request.ignore_eos)
    estimated = math.ceil(prompt_tokens * text_bytes_per_token / BYTES_PER_TOKEN)
    return Ask(
        prompt_tokens=estimated, output_tokens=expected, most_output_tokens=limit, ignores_end=request.ignore_eos
    )


@lru_cache(LENGTHS_KEPT)
def prompt_of(tokens: int) -> tuple[int, ...]:
    """A prompt of a length; nobody looks at its tokens, so requests share them."""
    return (0,) * tokens


def with_text(ask: Ask, text: bytes) -> Ask:
    """What it asks for, its text cut as the services cut it."""
    return msgspec.structs.replace(
        ask,
        blocks=block_names(text, tenant="", model=MODEL),
        block_tokens=ask.prompt_tokens * BLOCK_BYTES / max(len(text), 1),
    )


def token_ids_of(request: Request) -> tuple[int, ...]:
    """As many as `prompt_tokens_of` says: a synthetic prompt's words, or a text's bytes, some at a time."""
    prompt = request.prompt
    if not isinstance(prompt, str):
        return tuple(map(_token_id, prompt.text.encode().split(b" ")))
    text = prompt.encode()
    ends = range(BYTES_PER_TOKEN, max(len(text), 1) + BYTES_PER_TOKEN, BYTES_PER_TOKEN)
    return tuple([_token_id(text[end - BYTES_PER_TOKEN : end]) for end in ends])


@lru_cache(WORDS_KEPT)
def _token_id(word: bytes) -> int:
    return zlib.crc32(word) % VOCAB_SIZE
