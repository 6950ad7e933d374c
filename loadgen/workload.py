"""What requests ask for: prompts, output limits and latency targets, drawn from a mix of traffic classes. Pure."""

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from loadgen.prompts import PASSAGES, QUESTIONS, TASKS
from loadgen.synthetic import Synthetic
from loadgen.traces import TraceRequest
from shared.slo import Slo

MOST_SEEDS = 2**32


class ClassTrace(msgspec.Struct, frozen=True, kw_only=True):
    """A class's own trace, and what is made of its lengths."""

    name: str
    """The file's."""
    longer: float = 1.0
    """So many times the trace's prompts …"""
    cut_prompt_tokens: int | None = None
    """… and no longer than this: what is longer is cut. None: never."""
    cut_output_tokens: int | None = None
    """As of prompts."""

    def of(self, request: TraceRequest) -> TraceRequest:
        """The trace's request as the class asks for it; a text of another length is made anew."""
        prompt_tokens = _cut(round(self.longer * request.prompt_tokens) or 1, self.cut_prompt_tokens)
        return msgspec.structs.replace(
            request,
            prompt_tokens=prompt_tokens,
            output_tokens=_cut(request.output_tokens, self.cut_output_tokens),
            text=request.text if prompt_tokens == request.prompt_tokens else None,
        )


class TrafficClass(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of client."""

    slo: Slo
    share: float
    """Of all requests; shares of a mix add up to 1."""
    passage_share: float = 0.3
    """Of this class's requests: those that bring a passage of a few hundred tokens to be read; unless they are a trace's."""
    max_tokens: tuple[int, int] = (24, 64)
    """The output limit is drawn evenly between these, both included; unless it is a trace's."""
    trace: ClassTrace | None = None
    """None: all classes ask for the same."""


MIX = (
    TrafficClass(
        slo=Slo(name="interactive", ttft_s=2.5, tpot_s=0.25), share=0.7, passage_share=0.0, max_tokens=(24, 48)
    ),
    TrafficClass(slo=Slo(name="batch", ttft_s=10.0, tpot_s=0.5), share=0.3, passage_share=0.6, max_tokens=(32, 64)),
)
"""People who wait for an answer, and jobs that read documents."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request to send."""

    arrival_s: float
    """From the start of the run."""
    prompt: str | Synthetic
    max_tokens: int
    slo: Slo
    ignore_eos: bool = False
    """Whether the answer goes on to its limit, as a trace's was so long."""
    session: str | None = None
    """The conversation that it belongs to, in its trace."""

    @property
    def prompt_text(self) -> str:
        """What is sent; a synthetic prompt is made each time."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt.text


def draw_requests(
    arrivals_s: Sequence[float], rng: np.random.Generator, mix: Sequence[TrafficClass] = MIX
) -> tuple[Request, ...]:
    """A request for each arrival; prompts repeat only after all of their kind have been used."""
    questions = _Deck(QUESTIONS, rng)
    passages = _Deck([f"{task}\n\n{passage}" for task in TASKS for passage in PASSAGES], rng)
    shares = [traffic.share for traffic in mix]
    requests = []
    for arrival_s in arrivals_s:
        traffic = mix[rng.choice(len(mix), p=shares)]
        deck = passages if rng.random() < traffic.passage_share else questions
        least, most = traffic.max_tokens
        requests.append(
            Request(
                arrival_s=arrival_s,
                prompt=deck.draw(),
                max_tokens=int(rng.integers(least, most, endpoint=True)),
                slo=traffic.slo,
            )
        )
    return tuple(requests)


def draw_classes(mix: Sequence[TrafficClass], count: int, rng: np.random.Generator) -> list[TrafficClass]:
    """So many, in their shares."""
    return [mix[kind] for kind in rng.choice(len(mix), count, p=[traffic.share for traffic in mix]).tolist()]


def draw_trace_requests(
    arrivals_s: Sequence[float],
    asked: Sequence[TraceRequest],
    rng: np.random.Generator,
    mix: Sequence[TrafficClass],
    ignore_eos: bool = True,
) -> tuple[Request, ...]:
    """A request for each one of a trace; prompts are the trace's own, or synthetic ones of its lengths.

    Args:
        mix: what a request's class is drawn from, where the trace is not a class's own.
    """
    named = {traffic.slo.name: traffic for traffic in mix}
    own = [named[request.slo_class] for request in asked if request.slo_class is not None]
    classes = own or draw_classes(mix, len(asked), rng)
    seeds = rng.integers(0, MOST_SEEDS, len(asked)).tolist()
    return tuple(
        Request(
            arrival_s=arrival_s,
            prompt=request.text or Synthetic(tokens=request.prompt_tokens, prefix_ids=request.prefix_ids, seed=seed),
            max_tokens=request.output_tokens,
            slo=traffic.slo,
            ignore_eos=ignore_eos,
            session=request.session,
        )
        for arrival_s, request, traffic, seed in zip(
            arrivals_s, asked, classes, _one_a_session(seeds, asked), strict=True
        )
    )


def stretched(request: Request, factor: float) -> Request:
    """The request so many times later, its targets so many times longer."""
    if factor == 1.0:
        return request
    slo = request.slo
    targets = (slo.ttft_s, slo.tpot_s, slo.e2e_s)
    ttft_s, tpot_s, e2e_s = (None if target_s is None else factor * target_s for target_s in targets)
    return msgspec.structs.replace(
        request,
        arrival_s=factor * request.arrival_s,
        slo=Slo(name=slo.name, ttft_s=ttft_s, tpot_s=tpot_s, e2e_s=e2e_s),
    )


def _one_a_session(seeds: Sequence[int], asked: Sequence[TraceRequest]) -> Iterator[int]:
    """Each request's seed, or the one that its session began with: a longer prompt then begins with the shorter ones."""
    of_session: dict[tuple[str | None, str], int] = {}
    for seed, request in zip(seeds, asked, strict=True):
        if request.session is None:
            yield seed
        else:
            yield of_session.setdefault((request.slo_class, request.session), seed)


def _cut(tokens: int, most: int | None) -> int:
    return tokens if most is None else min(tokens, most)


class _Deck:
    """Deals prompts in shuffled order, and shuffles again when all are dealt."""

    def __init__(self, prompts: Sequence[str], rng: np.random.Generator) -> None:
        self._prompts = prompts
        self._rng = rng
        self._left: list[int] = []

    def draw(self) -> str:
        if not self._left:
            self._left = self._rng.permutation(len(self._prompts)).tolist()
        return self._prompts[self._left.pop()]
