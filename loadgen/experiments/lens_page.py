"""The page of the lens experiment, from its rows. Pure."""

from collections.abc import Iterator, Sequence

from loadgen.experiments.criteria import claims_table
from loadgen.experiments.lens_criteria import attained_of, averages_of, budgets_of, criteria
from loadgen.experiments.lens_loads import Line
from loadgen.experiments.tables import OURS, PLAIN, RELEGATING, TRIAGING, best_of, is_fixed, number, short, table
from loadgen.simulate.rows import Row

KINDS = (PLAIN, RELEGATING, TRIAGING)
HEAD = """# What lens attains on one engine

**Simulated**: `make exp-lens TRACES=<folder>` runs it again and writes this page. The services' own planners, admission and step model
in virtual time. The step model is *learned*, from cold in each run, by telemetry 50 ms old. Unless told otherwise the engine is an
H100 with QwQ-32B in fp8 (17.4 + 0.0557·S + 8.8e-5·KV ms a step, times lognormal noise of 4 %, one step in 500 stalls 50 ms; 150,000
tokens of cache, 256 sequences); *two A6000* are the profile `2xa6000-llama3.1-8b`, no straight line, with the noise of step logs.
On real engines: [lens-live](lens-live.md).

Attainment: requests that met both targets (TTFT and TPOT) ÷ requests offered, in %, mean over seeds {seeds} with its 95 % interval;
Poisson arrivals, {requests} requests a run, none refused. Workloads as in [the floor](floor.md); *conversation, then mixed* is half of the
requests of each, one after the other. Every workload comes at {times} times its capacity, which is where
the best fixed budget without relegation attains about 90 %; that was found with other seeds.

A number is a token budget a step, decodes first. **r**: prompts with 90 % of their TTFT target gone go behind everyone on time.
**t**: the budget is fixed, but prompts are ordered as lens orders them: by what is due first, as many on time as can be.
*Synergy* is lens: that order, and each step as large as the answers in it allow.

## What was wanted, and what was found

Points of attainment, from the least to the most of all loads that are meant. The rival is the best of its kind, chosen after the fact
for the load, or for the average of conversation, code and mixed classes at so many times their capacity. It leaves what it does not attain
itself: nobody can be ahead of it by more.

"""
SPLIT = """
## What each part is worth

The best budget of each kind, chosen for each line after the fact: fixed, in order of arrival; what relegation adds to that; what
lens's order adds; what the budget solved from the learned model adds, which has to be chosen by nobody.

| requests/s | fixed | + relegation | + order | + budget | synergy |
|---|---|---|---|---|---|
"""
AVERAGES = """
## One budget for everything

Conversation, code and mixed classes averaged, at so many times their capacity.

"""
LATENCIES = """
## Goodput and latencies

Lens beside the best fixed budget and the best relegating one of each line. Goodput: requests a second that met both targets. Times
are of all requests, those that missed a target too: means over seeds.

| requests/s | | attained | goodput | TTFT p50 s | p99 | TPOT p50 ms | p99 |
|---|---|---|---|---|---|---|---|
"""
EVERY = """
## Every budget

The best of a line is bold, in each table by itself. Without a budget: *prefill-first* is vLLM's rule before it had chunks, *published* the LENS
of arXiv 2509.23384.
"""
FAIR = """
Where not all prompts can be on time, the longest are given up first, since they cost the most of the others: they still end, at a
floor, but late. Under an overload that lasts, that is always the same kind of request; refusing it in time is the router's.
"""


def page(rows: Sequence[Row], lines: Sequence[Line], requests: int) -> str:
    """Markdown, from a row a planner and load.

    Args:
        lines: the loads.
        requests: of a run.
    """
    seeds, attained = rows[0].seeds, attained_of(rows)
    times = ", ".join(f"{times:g}" for times in dict.fromkeys(line.times_capacity for line in lines))
    wanted = claims_table(criteria(attained, lines))
    head = HEAD.format(seeds=f"{seeds[0]} to {seeds[-1]}", requests=requests, times=times)
    return "".join(
        (
            *(head, wanted, SPLIT, *_split(rows), AVERAGES, *_averages(rows, lines)),
            *(LATENCIES, *_latencies(rows), EVERY, *_every(rows), FAIR),
        )
    )


def _split(rows: Sequence[Row]) -> Iterator[str]:
    for (workload, rate), attained in attained_of(rows).items():
        fixed, relegating, triaging = (attained[best_of(attained, kind)] for kind in KINDS)
        ours = attained[OURS]
        gains = (relegating - fixed, triaging - relegating, ours - triaging)
        cells = (f"{100 * fixed:.0f}", *(f"{100 * gain:+.0f}" for gain in gains), f"**{100 * ours:.0f}**")
        yield f"| {workload} {rate:g} | {' | '.join(cells)} |\n"


def _averages(rows: Sequence[Row], lines: Sequence[Line]) -> Iterator[str]:
    averages = averages_of(attained_of(rows), lines)
    budgets = dict.fromkeys(short(row.engine_policy) for row in rows if is_fixed(row.engine_policy, PLAIN))
    yield f"| times capacity | {' | '.join(budgets)} | synergy |\n|---|{'---|' * len(budgets)}---|\n"
    for times, attained in averages.items():
        for kind in KINDS:
            cells = (f"{100 * value:.1f}" for value in budgets_of(attained, kind).values())
            name = f"{times:g}{', '.join(('', *filter(None, (kind.removeprefix('-'),))))}"
            yield f"| {name} | {' | '.join(cells)} | **{100 * attained[OURS]:.1f}** |\n"


def _latencies(rows: Sequence[Row]) -> Iterator[str]:
    for load, attained in attained_of(rows).items():
        shown = (OURS, best_of(attained, PLAIN), best_of(attained, RELEGATING))
        of_load = {row.engine_policy: row for row in rows if (row.workload, row.rate) == load}
        for place, planner in enumerate(shown):
            row = of_load[planner]
            cells = (
                *("" if place else f"{row.workload} {row.rate:g}", short(planner)),
                *(f"{100 * row.attainment:.0f}", f"{row.goodput:.2f}"),
                *(number(value, 1.0, 2) for value in (row.ttft_p50_s, row.ttft_p99_s)),
                *(number(value, 1e3, 0) for value in (row.tpot_p50_s, row.tpot_p99_s)),
            )
            yield f"| {' | '.join(cells)} |\n"


def _every(rows: Sequence[Row]) -> Iterator[str]:
    """A table a kind of budget; the first also has what has none. Ours is in each."""
    others = {row.engine_policy for row in rows if not row.engine_policy.startswith("static-")}
    for kind in KINDS:
        beside = others if kind == PLAIN else {OURS}
        of_kind = [row for row in rows if is_fixed(row.engine_policy, kind) or row.engine_policy in beside]
        yield from table(of_kind, [short(row.engine_policy) for row in of_kind])
