"""The loads of the ablation: workloads on eight equal engines, and the systems that are compared there. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loadgen.experiments.systems import System
from loadgen.experiments.tables import PLAIN, RELEGATING

PROFILE = "h100-qwq-32b"
ENGINES: Mapping[str, str] = {f"h100-{number}": PROFILE for number in range(1, 9)}
"""Their profiles, by name."""
DELAY_S = 0.05
"""How late telemetry and engines' states are."""
IN_TIME_LONGER = 3.0
"""Times as long as elsewhere do requests arrive that are only to end in time: they are given up to 20 s, for the first of which an
overloaded fleet is none yet."""
CAPACITY, OVER, FAR_OVER = 1.0, 1.2, 1.4
BUDGETS = (256, 320, 384, 448, 512, 1024, 2048, 8192)
CONTENDERS = ("least-requests", "least-tokens", "published")
"""Policies that react and come near; among equal engines a weight changes nothing."""

BOTH, ROUTER_ONLY = System("synergy", "synergy"), System("static-2048", "synergy")
ENGINE_ONLY, NEITHER = System("synergy", "round-robin"), System("static-2048", "round-robin")
LAYERS: Mapping[System, str] = {
    BOTH: "both",
    ROUTER_ONLY: "router only",
    ENGINE_ONLY: "engine only",
    NEITHER: "neither",
}
"""What each has of ours; what it does not have is vLLM's default, and round robin."""


class Workload(NamedTuple):
    """What is asked of the fleet."""

    name: str
    """One of `WORKLOADS`."""
    capacity_per_s: float
    """The highest rate at which the best static budget without relegation, under the best policy that reacts, attains 90 %."""
    struggling_per_s: float
    """The rate at which neither layer attains about 40 %."""
    rivals: Mapping[str, Sequence[System]]
    """By kind of budget, those that came out best of all at the capacity or at 1.2 times that: the better of them, chosen after the fact,
    is the rival."""


class Published(NamedTuple):
    """A workload of the published results, and what stands for it here."""

    name: str
    asks: str
    """The workload in its place."""
    threshold_s: float
    """The end-to-end time within which a request is to end."""
    rate_per_s: float
    """At which neither layer ends about 40 % within it."""
    published: Mapping[System, float]
    """%."""


class Line(NamedTuple):
    """A load, and the systems that face it."""

    name: str
    asks: str
    rate_per_s: float
    systems: Sequence[System]
    e2e_s: float | None = None
    """What is promised instead of the workload's own targets."""

    @property
    def key(self) -> tuple[str, float]:
        """What its rows are known by."""
        return self.name, self.rate_per_s


def _best(*systems: tuple[int, str], kind: str) -> Sequence[System]:
    return [System(f"static-{budget}{kind}", policy) for budget, policy in systems]


def _rivals(plain: Sequence[tuple[int, str]], relegating: Sequence[tuple[int, str]]) -> Mapping[str, Sequence[System]]:
    return {PLAIN: _best(*plain, kind=PLAIN), RELEGATING: _best(*relegating, kind=RELEGATING)}


LEAST_TOKENS, LEAST_REQUESTS, AS_PUBLISHED = "least-tokens", "least-requests", "published"
# All rates by `--find-rate`, with another seed than the experiment's; rivals are the best of all there, and at 1.2 times the capacity.
WORKLOADS: Sequence[Workload] = (
    Workload(
        "conversation",
        48.75,
        59.7,
        _rivals(
            [(8192, LEAST_REQUESTS), (8192, LEAST_TOKENS), (384, AS_PUBLISHED)],
            [(384, LEAST_TOKENS), (320, LEAST_TOKENS)],
        ),
    ),
    Workload(
        "code",
        37.87,
        42.6,
        _rivals([(448, AS_PUBLISHED), (384, AS_PUBLISHED)], [(448, LEAST_TOKENS), (448, AS_PUBLISHED)]),
    ),
    Workload(
        "documents",
        26.11,
        27.4,
        _rivals([(384, LEAST_TOKENS), (384, AS_PUBLISHED)], [(384, LEAST_TOKENS), (384, LEAST_REQUESTS)]),
    ),
    Workload(
        "mixed",
        19.96,
        33.0,
        _rivals([(8192, LEAST_REQUESTS), (2048, LEAST_REQUESTS)], [(8192, LEAST_REQUESTS), (2048, LEAST_REQUESTS)]),
    ),
)
MIXED = "mixed"
PUBLISHED: Sequence[Published] = (
    Published("arXiv", "documents", 20.0, 35.6, dict(zip(LAYERS, (96.8, 39.9, 88.5, 34.2), strict=True))),
    Published("chat Q", "conversation", 10.0, 61.5, dict(zip(LAYERS, (96.3, 28.8, 75.9, 14.2), strict=True))),
    Published("chat T", "conversation", 16.0, 69.5, dict(zip(LAYERS, (80.5, 64.1, 69.4, 29.1), strict=True))),
    Published("coding", "code", 2.79, 52.3, dict(zip(LAYERS, (79.7, 61.2, 73.6, 50.9), strict=True))),
    Published("ShareGPT", "conversation", 7.0, 55.7, dict(zip(LAYERS, (99.1, 97.9, 97.1, 95.6), strict=True))),
)


def struggling(workload: Workload) -> Line:
    """Where neither layer attains about 40 %."""
    return Line(workload.name, workload.name, workload.struggling_per_s, tuple(LAYERS))


def at_capacity(workload: Workload, times: float) -> Line:
    """So many times the capacity; beside the rivals, unless it is so far beyond that only ours may still attain its share."""
    rivals = [system for kind in workload.rivals.values() for system in kind]
    systems = (BOTH,) if times > OVER else tuple(dict.fromkeys((*LAYERS, *rivals)))
    return Line(workload.name, workload.name, round(times * workload.capacity_per_s, 2), systems)


def ended_in_time(published: Published) -> Line:
    """Where neither layer ends about 40 % within the published time, which is what is promised there."""
    return Line(published.name, published.asks, published.rate_per_s, tuple(LAYERS), published.threshold_s)


LINES: Sequence[Line] = (
    *(struggling(workload) for workload in WORKLOADS),
    *(at_capacity(workload, times) for workload in WORKLOADS for times in (CAPACITY, OVER, FAR_OVER)),
    *(ended_in_time(published) for published in PUBLISHED),
)
QUICK_LINES: Sequence[Line] = (
    *(struggling(workload) for workload in WORKLOADS),
    *(at_capacity(workload, OVER) for workload in WORKLOADS),
    *(ended_in_time(published) for published in PUBLISHED if published.name in ("arXiv", "coding")),
)
"""What the most is told by in some minutes: neither goodput nor times at capacity."""
