"""The page of the ablation, from its rows. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from loadgen.experiments.ablation_criteria import claims, ended_within, rival
from loadgen.experiments.ablation_loads import (
    BOTH,
    CAPACITY,
    DELAY_S,
    IN_TIME_LONGER,
    LAYERS,
    OVER,
    PROFILE,
    PUBLISHED,
    WORKLOADS,
    Workload,
    at_capacity,
    ended_in_time,
    struggling,
)
from loadgen.experiments.criteria import claims_table
from loadgen.experiments.document import Document
from loadgen.experiments.figure import TOP_OF_SHARES, Bars, bars_figure
from loadgen.experiments.systems import OfLoad, System, attained, drawn, found_of, table_head, told_share
from loadgen.experiments.tables import NOTHING, PLAIN, RELEGATING, number, short
from loadgen.simulate.rows import Row

RIVALS: Mapping[str, str] = {PLAIN: "tuned", RELEGATING: "tuned, relegating"}
"""The rivals as they are called, by the kind of their budgets."""
HEAD = f"""# Both layers, one of them, or none

**Simulated**: `make exp-ablation TRACES=<folder> FULL=1` runs it again and writes this page. The services' own planners, router policies and
step model in virtual time; the step model is *learned*, from cold in each run, by telemetry {1e3 * DELAY_S:g} ms old. Eight H100 serve QwQ-32B in fp8 (the profile
`{PROFILE}`, with the noise of step logs). *Both*: lens below, prism above. *Router only*: prism over engines with a fixed budget of 2,048
tokens a step in order of arrival, vLLM's default. *Engine only*: lens under round robin. *Neither*: that budget, under round robin.

*Tuned*: the best static budget with the best policy that reacts to load, chosen for each workload after the fact from all budgets and the policies that
come near; *relegating*: the same, where prompts with 90 % of their TTFT target gone go behind everyone on time. *Capacity* is where
*tuned* attains 90 %. The rates were found with other seeds.

**Substitutes.** The published workloads are not public as they were run. Lengths are drawn with replacement from the Azure conversation trace (prompts
cut at 7,000 tokens, answers at 600) for chat Q, chat T and ShareGPT; from the Azure code trace, so cut, for coding; from the arXiv
summarisation lengths (answers cut at 600) for arXiv; *mixed* is that of [the floor](floor.md). Poisson arrivals for {{arriving_s:g}} s;
for {{in_time_s:g}} s where requests are only to end within a time that is long itself.

**Scored both ways.** Jointly: requests that met both targets ÷ requests offered (conversation and code 2 s and 50 ms; documents 5 s and 50 ms, with which
an answer of 300 tokens ends in 20 s; mixed 0.8 s and 40 ms, and 10 s and 100 ms). As published: requests that ended within the published end-to-end time,
which is all that is promised there, ÷ requests offered. In %, mean over seeds {{seeds}} with its 95 % interval.

![Attainment of the four systems](ablation.svg)

## What was wanted, and what was found

Differences are taken run by run, between runs of the same seed.

"""
JOINT = f"""
## TTFT and TPOT jointly

First where neither attains 30 to 50 %, then at capacity and {OVER:g} times that.

"""
IN_TIME = """
## E2E within the published time

Where neither ends 30 to 50 % in time. In brackets what was published, at rates and on workloads of its own: to be read along a line.

"""
LATENCIES = """
## Median end-to-end times, and who the tuned rivals are

Seconds, of all requests that ended; means over seeds.

"""


def page(rows: Sequence[Row], arriving_s: float) -> Document:
    """Markdown and its figure, from a row a system and load.

    Args:
        arriving_s: for how long requests arrive.
    """
    seeds = rows[0].seeds
    text = "".join(
        (
            HEAD.format(
                seeds=f"{seeds[0]} to {seeds[-1]}", arriving_s=arriving_s, in_time_s=IN_TIME_LONGER * arriving_s
            ),
            claims_table(claims(rows)),
            *(JOINT, *_joint(rows), IN_TIME, *_in_time(rows), LATENCIES, *_latencies(rows)),
        )
    )
    return Document(text, _figure(rows))


def _joint(rows: Sequence[Row]) -> Iterator[str]:
    found = found_of(rows)
    yield table_head("requests/s", (*LAYERS.values(), *RIVALS.values()))
    for workload in WORKLOADS:
        lines = {
            "": struggling(workload),
            **{f", {times:g} × capacity": at_capacity(workload, times) for times in (CAPACITY, OVER)},
        }
        for told, line in lines.items():
            if (of_load := found.get(line.key)) is not None:
                systems = [*LAYERS, *(_rival(of_load, workload, kind) for kind in RIVALS)]
                cells = (_cell(of_load, system) for system in systems)
                yield f"| {workload.name} {line.rate_per_s:g}{told} | {' | '.join(cells)} |\n"


def _in_time(rows: Sequence[Row]) -> Iterator[str]:
    found = found_of(rows)
    yield table_head("requests/s, within", tuple(LAYERS.values()))
    for published in PUBLISHED:
        line = ended_in_time(published)
        if (of_load := found.get(line.key)) is not None:
            cells = (
                f"{told_share(ended_within(of_load[system], published))} ({published.published[system]:g})"
                for system in LAYERS
            )
            where = f"{published.name} ({published.asks}) {line.rate_per_s:g}, {published.threshold_s:g} s"
            yield f"| {where} | {' | '.join(cells)} |\n"


def _latencies(rows: Sequence[Row]) -> Iterator[str]:
    found = found_of(rows)
    yield table_head("requests/s", (*LAYERS.values(), *RIVALS.values()))
    for workload in WORKLOADS:
        for times in (CAPACITY, OVER):
            line = at_capacity(workload, times)
            if (of_load := found.get(line.key)) is not None:
                layers = (number(of_load[system].e2e_p50_s, 1.0, 1) for system in LAYERS)
                rivals = (_told(of_load, _rival(of_load, workload, kind)) for kind in RIVALS)
                yield f"| {workload.name} {line.rate_per_s:g} | {' | '.join((*layers, *rivals))} |\n"


def _rival(of_load: OfLoad, workload: Workload, kind: str) -> System | None:
    return rival(of_load, workload, kind) if all(system in of_load for system in workload.rivals[kind]) else None


def _cell(of_load: OfLoad, system: System | None) -> str:
    return NOTHING if system is None else told_share(attained(of_load[system]))


def _told(of_load: OfLoad, system: System | None) -> str:
    if system is None:
        return NOTHING
    return f"{number(of_load[system].e2e_p50_s, 1.0, 1)} ({short(system.planner)}, {system.policy})"


def _figure(rows: Sequence[Row]) -> str:
    """Where neither does badly: by targets, and by the published time."""
    found = found_of(rows)
    joint = {
        workload.name: {name: drawn(attained(of_load[system])) for system, name in LAYERS.items()}
        for workload in WORKLOADS
        if (of_load := found.get(struggling(workload).key)) is not None
    }
    in_time = {
        published.name: {name: drawn(ended_within(of_load[system], published)) for system, name in LAYERS.items()}
        for published in PUBLISHED
        if (of_load := found.get(ended_in_time(published).key)) is not None
    }
    panels = [Bars("TTFT and TPOT jointly", joint), Bars("E2E within the published time", in_time)]
    return bars_figure([panel for panel in panels if panel.of], "attained, %", ours=LAYERS[BOTH], top=TOP_OF_SHARES)
