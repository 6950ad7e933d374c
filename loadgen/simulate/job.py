"""A request on its way through the simulated system, and what became of it as its client would see it. Pure."""

import math
from functools import lru_cache
from typing import Protocol

from loadgen.outcome import FinishReason, Outcome
from loadgen.workload import Request
from services.lens.sequence import Sequence
from services.prism.dispatches import Dispatch
from services.prism.prompt_size import BYTES_PER_TOKEN, TYPICAL_OUTPUT_TOKENS, Ask
from services.prism.route import Route
from shared.slo import Slo
from shared.step import Sampling

TEXT = "simulated"
LENGTHS_KEPT = 2048
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
    """One request. Answers go on to their limit."""

    __slots__ = (
        *("ask", "asker", "dispatch", "first_token_s", "full", "prompt_tokens"),
        *("request", "route", "sequence", "tried"),
    )

    def __init__(self, request: Request, asker: Asker, text_bytes_per_token: float = BYTES_PER_TOKEN) -> None:
        self.request = request
        self.asker = asker
        self.prompt_tokens = prompt_tokens_of(request)
        self.ask = ask_for(request, self.prompt_tokens, text_bytes_per_token)
        self.tried: frozenset[str] = frozenset()
        self.full = False
        """Whether an engine had no room for it."""
        self.route: Route | None = None
        self.dispatch: Dispatch | None = None
        self.sequence: Sequence | None = None
        self.first_token_s: float | None = None

    @property
    def sent(self) -> Dispatch:
        """Its dispatch to the engine that has it, or had it last."""
        assert self.dispatch is not None, "it was never sent"
        return self.dispatch

    def sequence_for(self, slo: Slo, now_s: float) -> Sequence:
        """The request as lens takes it in."""
        self.sequence = Sequence(
            request_id="",
            prompt_ids=prompt_of(self.prompt_tokens),
            max_output_tokens=self.request.max_tokens,
            sampling=GREEDY,
            end_ids=NO_END,
            slo=slo,
            arrival_s=now_s,
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


def ask_for(request: Request, prompt_tokens: int, text_bytes_per_token: float = BYTES_PER_TOKEN) -> Ask:
    """The request as the router sizes it up, which counts the bytes of its text."""
    limit = request.max_tokens
    expected = limit if request.ignore_eos else min(limit, TYPICAL_OUTPUT_TOKENS)
    estimated = math.ceil(prompt_tokens * text_bytes_per_token / BYTES_PER_TOKEN)
    return Ask(prompt_tokens=estimated, output_tokens=expected, most_output_tokens=limit)


@lru_cache(LENGTHS_KEPT)
def prompt_of(tokens: int) -> tuple[int, ...]:
    """A prompt of a length; nobody looks at its tokens, so requests share them."""
    return (0,) * tokens
