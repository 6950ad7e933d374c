"""A run's load: what it was told, and the requests that follow from that and a seed. Pure."""

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec
import numpy as np

from loadgen.arrivals import constant_arrivals, gamma_arrivals, poisson_arrivals, ramp_arrivals, replayed_arrivals
from loadgen.sampling import Sample, sampled, within_limits
from loadgen.traces import TraceRequest
from loadgen.workload import (
    MIX,
    Request,
    TrafficClass,
    draw_classes,
    draw_requests,
    draw_trace_requests,
    stretched,
)


class Arrivals(StrEnum):
    """What decides when requests are sent."""

    CONSTANT = "constant"
    POISSON = "poisson"
    GAMMA = "gamma"
    RAMP = "ramp"
    TRACE = "trace"
    """The trace's own instants."""
    CLOSED = "closed"
    """A number of clients, each of which sends when it has its answer."""


class ImpossibleLoad(ValueError):
    """The settings contradict each other, or the trace; says which."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the run was told. Durations are those before `time_scale` stretches them."""

    url: str
    model: str
    requests: int | None
    """None: the whole trace."""
    seed: int
    timeout_s: float
    arrivals: Arrivals = Arrivals.POISSON
    rate_per_s: float | None = 1.0
    """None: as the trace has it, or as the clients of a closed loop come to it."""
    cv: float = 1.0
    """Of the gaps of gamma arrivals."""
    to_rate_per_s: float | None = None
    """Where a ramp ends."""
    concurrency: int = 1
    """The clients of a closed loop."""
    think_s: float = 0.0
    """What a client of a closed loop waits between an answer and its next request."""
    trace: str | None = None
    """The file's name, of what classes without a trace of their own ask for; None: the prompts that come with the load
    generator."""
    sample: Sample = Sample.DRAW
    most_prompt_tokens: int | None = None
    most_output_tokens: int | None = None
    ignore_eos: bool = False
    """Whether answers go on to their limit, so that they are as long as the trace says."""
    classes: tuple[TrafficClass, ...] = MIX
    time_scale: float = 1.0
    warm_up_s: float = 0.0
    """Requests that arrive sooner are sent, but not scored."""
    retries: int = 0
    say_class: bool = True
    """Whether the class's name is sent beside its targets; a router refuses a name that it does not know."""
    chat: bool = True
    """Whether chats are asked for, or plain completions."""

    @property
    def has_class_traces(self) -> bool:
        """Whether each class asks for what a trace of its own has."""
        return any(traffic.trace is not None for traffic in self.classes)

    @property
    def source(self) -> str | None:
        """The names of the traces; None: the prompts that come with the load generator."""
        names = [self.trace if traffic.trace is None else traffic.trace.name for traffic in self.classes]
        return ", ".join(dict.fromkeys(filter(None, names))) or None


def draw_load(settings: Settings, trace: Sequence[TraceRequest] = ()) -> tuple[Request, ...]:
    """The requests in the order of their arrivals. In a closed loop nobody knows these: they are 0.

    Args:
        trace: the run's; where classes have traces of their own, the requests of all of these, each with its class.

    Raises:
        ImpossibleLoad: the settings ask for what the trace does not have.
    """
    arrivals_rng, workload_rng, sampling_rng = np.random.default_rng(settings.seed).spawn(3)
    if settings.source is None:
        if settings.arrivals is Arrivals.TRACE or settings.requests is None:
            raise ImpossibleLoad("arrivals of a trace need a trace")
        arrivals_s = _arrivals_s(settings, settings.requests, arrivals_rng)
        requests = draw_requests(arrivals_s, workload_rng, settings.classes)
    else:
        if settings.arrivals is Arrivals.TRACE:
            asked = _replayed(settings, trace, sampling_rng)
            arrivals_s = _instants_s(asked, settings.rate_per_s, settings.source)
        else:
            asked = _asked(settings, trace, workload_rng, sampling_rng)
            arrivals_s = _arrivals_s(settings, len(asked), arrivals_rng)
        requests = draw_trace_requests(arrivals_s, asked, workload_rng, settings.classes, settings.ignore_eos)
    return tuple(stretched(request, settings.time_scale) for request in requests)


def _replayed(settings: Settings, trace: Sequence[TraceRequest], rng: np.random.Generator) -> tuple[TraceRequest, ...]:
    """Some of a trace as it was, or of the classes' traces over each other."""
    if settings.sample is Sample.DRAW:
        raise ImpossibleLoad("requests drawn at random have no arrivals of their own: sample them another way")
    whole = _overlaid(settings, trace) if settings.has_class_traces else _short(settings, trace)
    return sampled(_enough(settings, whole), settings.requests or len(whole), settings.sample, rng)


def _enough(settings: Settings, trace: tuple[TraceRequest, ...]) -> tuple[TraceRequest, ...]:
    """A shorter run than was asked for would be over before any queue has built."""
    if settings.requests is not None and settings.requests > len(trace):
        raise ImpossibleLoad(f"{settings.source} has {len(trace):,} requests, not {settings.requests:,}")
    return trace


def _asked(
    settings: Settings, trace: Sequence[TraceRequest], workload_rng: np.random.Generator, rng: np.random.Generator
) -> tuple[TraceRequest, ...]:
    """Some of a trace whose instants do not matter; where classes have their own, each from that of a class drawn first."""
    if not settings.has_class_traces:
        short = _short(settings, trace)
        if settings.sample is not Sample.DRAW:
            short = _enough(settings, short)
        return sampled(short, settings.requests or len(short), settings.sample, rng)
    if settings.sample is not Sample.DRAW or settings.requests is None:
        raise ImpossibleLoad("from traces of several classes requests are drawn, or all are replayed")
    by_class = _by_class(settings, trace)
    drawn = {name: sampled(of_class, settings.requests, Sample.DRAW, rng) for name, of_class in by_class.items()}
    classes = draw_classes(settings.classes, settings.requests, workload_rng)
    return tuple(drawn[traffic.slo.name][number] for number, traffic in enumerate(classes))


def _overlaid(settings: Settings, trace: Sequence[TraceRequest]) -> tuple[TraceRequest, ...]:
    """The classes' traces over each other, until the first of them ends; with a rate, each at its share of that."""
    by_class = _by_class(settings, trace)
    timed: list[tuple[float, TraceRequest]] = []
    ends_s = math.inf
    for traffic in settings.classes:
        of_class = by_class[traffic.slo.name]
        rate_per_s = None if settings.rate_per_s is None else traffic.share * settings.rate_per_s
        instants_s = _instants_s(of_class, rate_per_s, _trace_of(traffic))
        timed += zip(instants_s, of_class, strict=True)
        ends_s = min(ends_s, instants_s[-1])
    timed.sort(key=lambda pair: pair[0])
    return tuple(msgspec.structs.replace(request, at_s=at_s) for at_s, request in timed if at_s <= ends_s)


def _by_class(settings: Settings, trace: Sequence[TraceRequest]) -> Mapping[str, tuple[TraceRequest, ...]]:
    return {
        traffic.slo.name: _short(settings, [r for r in trace if r.slo_class == traffic.slo.name], _trace_of(traffic))
        for traffic in settings.classes
    }


def _trace_of(traffic: TrafficClass) -> str:
    return f"the trace of class {traffic.slo.name!r}"


def _short(settings: Settings, trace: Sequence[TraceRequest], called: str | None = None) -> tuple[TraceRequest, ...]:
    short = within_limits(trace, settings.most_prompt_tokens, settings.most_output_tokens)
    if not short:
        raise ImpossibleLoad(f"no request of {called or settings.source} is within the limits of tokens")
    return short


def _instants_s(asked: Sequence[TraceRequest], rate_per_s: float | None, called: str) -> tuple[float, ...]:
    at_s = [request.at_s for request in asked if request.at_s is not None]
    if len(at_s) < len(asked):
        raise ImpossibleLoad(f"{called} has lengths, but no arrivals")
    try:
        return replayed_arrivals(at_s, rate_per_s)
    except ValueError as error:
        raise ImpossibleLoad(f"{called}: {error}") from error


def _arrivals_s(settings: Settings, count: int, rng: np.random.Generator) -> tuple[float, ...]:
    if settings.arrivals is Arrivals.CLOSED:
        return (0.0,) * count
    rate_per_s = settings.rate_per_s
    if rate_per_s is None:
        raise ImpossibleLoad(f"{settings.arrivals} arrivals need a rate")
    match settings.arrivals:
        case Arrivals.CONSTANT:
            return constant_arrivals(rate_per_s, count)
        case Arrivals.GAMMA:
            return gamma_arrivals(rate_per_s, settings.cv, count, rng)
        case Arrivals.RAMP:
            if settings.to_rate_per_s is None:
                raise ImpossibleLoad("a ramp needs the rate where it ends")
            return ramp_arrivals(rate_per_s, settings.to_rate_per_s, count, rng)
        case _:
            return poisson_arrivals(rate_per_s, count, rng)
