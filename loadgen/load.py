"""A run's load: what it was told, and the requests that follow from that and a seed. Pure."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec
import numpy as np

from loadgen.arrivals import constant_arrivals, gamma_arrivals, poisson_arrivals, ramp_arrivals, replayed_arrivals
from loadgen.sampling import Sample, sampled, within_limits
from loadgen.traces import TraceRequest
from loadgen.workload import MIX, Request, TrafficClass, draw_requests, draw_trace_requests, stretched


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
    """The file's name; None: the prompts that come with the load generator."""
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


def draw_load(settings: Settings, trace: Sequence[TraceRequest] = ()) -> tuple[Request, ...]:
    """The requests in the order of their arrivals. In a closed loop nobody knows these: they are 0.

    Raises:
        ImpossibleLoad: the settings ask for what the trace does not have.
    """
    arrivals_rng, workload_rng, sampling_rng = np.random.default_rng(settings.seed).spawn(3)
    if settings.trace is None:
        if settings.arrivals is Arrivals.TRACE or settings.requests is None:
            raise ImpossibleLoad("arrivals of a trace need a trace")
        arrivals_s = _arrivals_s(settings, settings.requests, arrivals_rng)
        requests = draw_requests(arrivals_s, workload_rng, settings.classes)
    else:
        asked = _asked(settings, trace, sampling_rng)
        if settings.arrivals is Arrivals.TRACE:
            arrivals_s = _replayed_s(settings, asked)
        else:
            arrivals_s = _arrivals_s(settings, len(asked), arrivals_rng)
        requests = draw_trace_requests(arrivals_s, asked, workload_rng, settings.classes, settings.ignore_eos)
    return tuple(stretched(request, settings.time_scale) for request in requests)


def _asked(settings: Settings, trace: Sequence[TraceRequest], rng: np.random.Generator) -> tuple[TraceRequest, ...]:
    short = within_limits(trace, settings.most_prompt_tokens, settings.most_output_tokens)
    if not short:
        raise ImpossibleLoad(f"no request of {settings.trace} is within the limits of tokens")
    if settings.arrivals is Arrivals.TRACE and settings.sample is Sample.DRAW:
        raise ImpossibleLoad("requests drawn at random have no arrivals of their own: sample them another way")
    return sampled(short, settings.requests or len(short), settings.sample, rng)


def _replayed_s(settings: Settings, asked: Sequence[TraceRequest]) -> tuple[float, ...]:
    at_s = [request.at_s for request in asked if request.at_s is not None]
    if len(at_s) < len(asked):
        raise ImpossibleLoad(f"{settings.trace} has lengths, but no arrivals")
    try:
        return replayed_arrivals(at_s, settings.rate_per_s)
    except ValueError as error:
        raise ImpossibleLoad(str(error)) from error


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
