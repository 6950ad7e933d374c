"""What requests ask for: prompts, output limits and latency targets, drawn from a mix of traffic classes. Pure."""

from collections.abc import Sequence

import msgspec
import numpy as np

from loadgen.prompts import PASSAGES, QUESTIONS, TASKS
from shared.slo import Slo


class TrafficClass(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of client."""

    slo: Slo
    share: float
    """Of all requests; shares of a mix add up to 1."""
    passage_share: float
    """Of this class's requests: those that bring a passage of a few hundred tokens to be read."""
    max_tokens: tuple[int, int]
    """The output limit is drawn evenly between these, both included."""


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
    prompt: str
    max_tokens: int
    slo: Slo


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
