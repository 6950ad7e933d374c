"""Command-line options that say what the load is, and the settings that follow from them."""

import argparse
import os
from pathlib import Path

from loadgen.arguments import not_negative, positive_float, positive_int, spread, whole
from loadgen.class_option import CLASS_HELP, mix_of, parse_class, rate_of, sources_of
from loadgen.load import Arrivals, ImpossibleLoad, Settings
from loadgen.sampling import Sample
from loadgen.sources import Source, read_sources
from loadgen.traces import FORMATS, TraceRequest
from loadgen.workload import MIX

REQUESTS = 60
API_KEY = "OPENAI_API_KEY"
TIME_SCALE = "TIME_SCALE"
URL = "LOADGEN_URL"


def add_load_options(parser: argparse.ArgumentParser) -> None:
    """Options of every command that sends load."""
    server = parser.add_argument_group("the system under load, any that speaks the OpenAI API")
    server.add_argument(
        "--url",
        type=_url,
        default=os.environ.get(URL, "http://127.0.0.1:8000"),
        help=f"with or without /v1; by default ${URL} or http://127.0.0.1:8000",
    )
    server.add_argument("--model", help="by default the first that it serves")
    server.add_argument("--completions", action="store_true", help="use /v1/completions, not /v1/chat/completions")
    server.add_argument(
        "--timeout",
        type=positive_float,
        default=120.0,
        help="seconds for an answer, retries included (%(default)s)",
    )
    server.add_argument(
        "--retries",
        type=whole,
        default=0,
        help="of a request that was refused for now or lost its connection, counted as one with it (%(default)s)",
    )
    add_arrival_options(parser.add_argument_group("when requests arrive"))
    add_request_options(parser.add_argument_group("what they ask for"))
    run = parser.add_argument_group("the run")
    run.add_argument("--seed", type=whole, default=0, help="of all that is drawn (%(default)s)")
    run.add_argument(
        "--warm-up", type=not_negative, default=0.0, metavar="S", help="requests of these first seconds are not scored"
    )
    run.add_argument(
        "--time-scale",
        type=positive_float,
        default=os.environ.get(TIME_SCALE, "1"),
        metavar="X",
        help=f"stretch arrivals, pauses, warm-up, targets and the timeout alike; by default ${TIME_SCALE} or 1",
    )


def add_arrival_options(group: argparse._ArgumentGroup) -> None:
    """Options that say when requests arrive, and how many."""
    group.add_argument(
        "--arrivals", type=Arrivals, choices=tuple(Arrivals), default=Arrivals.POISSON, help="%(default)s unless told"
    )
    group.add_argument(
        "--rate", type=positive_float, help="mean requests a second (the classes' together, or the trace's own, or 1)"
    )
    group.add_argument("--cv", type=spread, default=3.0, help="gamma: spread of the gaps (%(default)s)")
    group.add_argument("--to-rate", type=positive_float, metavar="RATE", help="ramp: the rate where it ends")
    group.add_argument("--concurrency", type=positive_int, default=1, help="closed: how many clients (%(default)s)")
    group.add_argument(
        "--think", type=not_negative, default=0.0, metavar="S", help="closed: pause after an answer (%(default)s)"
    )
    length = group.add_mutually_exclusive_group()
    length.add_argument(
        "--requests", type=positive_int, help=f"how many ({REQUESTS}, or the whole trace that is replayed)"
    )
    length.add_argument(
        "--duration", type=positive_float, metavar="S", help="in place of --requests: as many as the rate brings"
    )


def add_request_options(group: argparse._ArgumentGroup) -> None:
    """Options that say what requests ask for."""
    group.add_argument("--trace", type=Path, metavar="FILE", help="lengths, and with --arrivals trace the instants")
    group.add_argument("--format", choices=tuple(FORMATS), help="of all traces; by default told from suffix and header")
    group.add_argument(
        "--sample", type=Sample, choices=tuple(Sample), help="which of the trace's requests (draw; first for a replay)"
    )
    group.add_argument(
        "--most-prompt-tokens", type=positive_int, metavar="N", help="leave longer ones of the trace out"
    )
    group.add_argument(
        "--most-output-tokens", type=positive_int, metavar="N", help="leave longer ones of the trace out"
    )
    group.add_argument(
        "--ignore-eos",
        action=argparse.BooleanOptionalAction,
        help="let answers go on to the trace's length; not every server takes this field (on for traces)",
    )
    group.add_argument(
        "--class",
        dest="classes",
        type=parse_class,
        action="append",
        default=[],
        metavar="NAME:KEY=…,…",
        help=CLASS_HELP,
    )
    group.add_argument(
        "--say-class",
        action=argparse.BooleanOptionalAction,
        help="send the class's name beside its targets; a router refuses one that it does not know (off with --class)",
    )


def load_settings(options: argparse.Namespace, model: str) -> Settings:
    """What the options say.

    Raises:
        ImpossibleLoad: they contradict each other.
    """
    arrivals: Arrivals = options.arrivals
    replayed = arrivals is Arrivals.TRACE
    has_rate = arrivals not in (Arrivals.TRACE, Arrivals.CLOSED)
    rate_per_s = options.rate or rate_of(options.classes) or (1.0 if has_rate else None)
    return Settings(
        url=options.url,
        model=model,
        requests=_count(options, rate_per_s, REQUESTS if not replayed else None),
        seed=options.seed,
        timeout_s=options.timeout,
        arrivals=arrivals,
        rate_per_s=rate_per_s,
        cv=options.cv,
        to_rate_per_s=options.to_rate,
        concurrency=options.concurrency,
        think_s=options.think,
        trace=None if options.trace is None else options.trace.name,
        sample=options.sample or (Sample.FIRST if replayed else Sample.DRAW),
        most_prompt_tokens=options.most_prompt_tokens,
        most_output_tokens=options.most_output_tokens,
        ignore_eos=bool(trace_sources(options)) if options.ignore_eos is None else options.ignore_eos,
        classes=mix_of(options.classes) or MIX,
        time_scale=options.time_scale,
        warm_up_s=options.warm_up,
        retries=options.retries,
        say_class=not options.classes if options.say_class is None else options.say_class,
        chat=not options.completions,
    )


def requests_within(duration_s: float, rate_per_s: float, to_rate_per_s: float | None = None) -> int:
    """How many a rate, or a ramp, brings on average; at least one."""
    mean_per_s = rate_per_s if to_rate_per_s is None else (rate_per_s + to_rate_per_s) / 2
    return max(1, round(duration_s * mean_per_s))


def _count(options: argparse.Namespace, rate_per_s: float | None, otherwise: int | None) -> int | None:
    if options.duration is None:
        count: int | None = options.requests or otherwise
        return count
    if rate_per_s is None:
        raise ImpossibleLoad("--duration needs a --rate")
    to_rate_per_s = options.to_rate if options.arrivals is Arrivals.RAMP else None
    return requests_within(options.duration, rate_per_s, to_rate_per_s)


def trace_sources(options: argparse.Namespace) -> tuple[Source, ...]:
    """The traces that the options name.

    Raises:
        ImpossibleLoad: they name one for some of the classes only.
    """
    return sources_of(options.classes, options.trace, options.format)


def load_trace(options: argparse.Namespace) -> tuple[TraceRequest, ...]:
    """The requests of the traces that the options name; empty where they name none.

    Raises:
        BadTrace: one cannot be read.
        ImpossibleLoad: as `trace_sources`.
    """
    return read_sources(trace_sources(options))


def _url(text: str) -> str:
    return text.rstrip("/").removesuffix("/v1")
