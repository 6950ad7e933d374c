"""SLO classes as the command line says them: `chat:share=0.7,ttft_ms=800,tpot_ms=40,trace=conv.csv`."""

import argparse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from loadgen.arguments import positive_float, positive_int
from loadgen.load import ImpossibleLoad
from loadgen.score import ALL
from loadgen.sources import Source
from loadgen.workload import ClassTrace, TrafficClass
from shared.slo import Slo

_PARTS: Mapping[str, Callable[[str], Any]] = {"share": positive_float, "rate": positive_float}
_TARGETS_MS: Mapping[str, Callable[[str], Any]] = dict.fromkeys(("ttft_ms", "tpot_ms", "e2e_ms"), positive_float)
_LENGTHS: Mapping[str, Callable[[str], Any]] = {
    "longer": positive_float,
    "cut_prompt_tokens": positive_int,
    "cut_output_tokens": positive_int,
}
_KEYS: Mapping[str, Callable[[str], Any]] = {**_PARTS, **_TARGETS_MS, "trace": Path, **_LENGTHS}

CLASS_HELP = (
    "an SLO class, repeatable (interactive and batch); "
    f"targets: {', '.join(_TARGETS_MS)}; its part of the load: share, or rate in requests/s; with a trace of its own: "
    "trace=FILE, longer (times its prompts), cut_prompt_tokens, cut_output_tokens"
)


class ClassOption(NamedTuple):
    """What is said of one class."""

    traffic: TrafficClass
    """Its share is only in proportion to the others'."""
    trace: Path | None
    """Its own."""
    rate_per_s: float | None


def parse_class(text: str) -> ClassOption:
    """Of `NAME:KEY=VALUE,…`.

    Raises:
        argparse.ArgumentTypeError: it is not of that form.
    """
    name, _, rest = text.partition(":")
    if not name:
        raise argparse.ArgumentTypeError("a class needs a name")
    if name == ALL:
        raise argparse.ArgumentTypeError(f"{ALL!r} is what all classes together are called")
    pairs = [_pair(pair) for pair in rest.split(",") if pair]
    told = dict(pairs)
    if len(told) < len(pairs):
        raise argparse.ArgumentTypeError(f"class {name!r} has a key twice")
    if "share" in told and "rate" in told:
        raise argparse.ArgumentTypeError(f"class {name!r} has a share or a rate, not both")
    if "trace" not in told and (of_trace := told.keys() & _LENGTHS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(of_trace))}: class {name!r} has no trace=FILE of its own")
    ttft_s, tpot_s, e2e_s = (None if key not in told else told[key] / 1e3 for key in _TARGETS_MS)
    trace: Path | None = told.get("trace")
    lengths = {key: told[key] for key in _LENGTHS if key in told}
    traffic = TrafficClass(
        slo=Slo(name=name, ttft_s=ttft_s, tpot_s=tpot_s, e2e_s=e2e_s),
        share=told.get("share", told.get("rate", 1.0)),
        trace=None if trace is None else ClassTrace(name=trace.name, **lengths),
    )
    return ClassOption(traffic, trace, told.get("rate"))


def _pair(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    if key not in _KEYS:
        raise argparse.ArgumentTypeError(f"no key {key!r}; there are {', '.join(_KEYS)}")
    try:
        return key, _KEYS[key](value)
    except ValueError:
        kind = "a whole number above 0" if _KEYS[key] is positive_int else "above 0"
        raise argparse.ArgumentTypeError(f"{key} is not {kind}: {value!r}") from None


def mix_of(options: Sequence[ClassOption]) -> tuple[TrafficClass, ...]:
    """The classes, with shares that add up to 1.

    Raises:
        ImpossibleLoad: two have one name, or some have rates and others none.
    """
    twice = [name for name, count in Counter(option.traffic.slo.name for option in options).items() if count > 1]
    if twice:
        raise ImpossibleLoad(f"more than one class is called {twice[0]!r}")
    if len({option.rate_per_s is None for option in options}) > 1:
        raise ImpossibleLoad("either all classes have a rate, or none has")
    return with_shares_of_one([option.traffic for option in options])


def with_shares_of_one(classes: Sequence[TrafficClass]) -> tuple[TrafficClass, ...]:
    """The classes, their shares in the same proportion."""
    total = sum(traffic.share for traffic in classes)
    return tuple(msgspec.structs.replace(traffic, share=traffic.share / total) for traffic in classes)


def rate_of(options: Sequence[ClassOption]) -> float | None:
    """Requests a second of all classes together; None where they have no rates."""
    rates_per_s = [option.rate_per_s for option in options if option.rate_per_s is not None]
    return sum(rates_per_s) if rates_per_s else None


def sources_of(options: Sequence[ClassOption], path: Path | None, trace_format: str | None) -> tuple[Source, ...]:
    """The traces to read: the run's, or where a class has its own, one a class.

    Args:
        path: the run's trace; that of all classes that have none of their own.
        trace_format: of all of them; None: told from their suffixes and headers.

    Raises:
        ImpossibleLoad: a class has no trace, and another has.
    """
    if all(option.trace is None for option in options):
        return () if path is None else (Source(path, trace_format),)
    sources = []
    for option in options:
        name, own = option.traffic.slo.name, option.trace or path
        if own is None:
            raise ImpossibleLoad(f"class {name!r} has no trace, and others have: give it one, or all of them --trace")
        sources.append(Source(own, trace_format, name, option.traffic.trace))
    return tuple(sources)
