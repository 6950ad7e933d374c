"""The page of the lens experiment, from its rows. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from loadgen.experiments.tables import short, table
from loadgen.simulate.rows import Row

HEAD = """# What lens attains on one engine

**Simulated**: `make exp-lens TRACES=<folder>` runs it again and writes this page. The services' own planners, admission and step model
in virtual time, on an H100 with QwQ-32B in fp8 (17.4 + 0.0557·S + 8.8e-5·KV ms a step, times lognormal noise of 4 %, one step
in 500 stalls 50 ms; 150,000 tokens of cache, 256 sequences). The step model is *learned*, from cold in each run, by telemetry 50 ms old.

Attainment: requests that met both targets (TTFT and TPOT) ÷ requests offered, in %, mean over seeds {seeds} with its 95 % interval;
Poisson arrivals, 800 requests a run, none refused. Workloads as in [the floor](floor.md).

A number is a token budget a step, decodes first. **r**: prompts with 90 % of their TTFT target gone go behind everyone on time.
**t**: the budget is fixed, but prompts are ordered as lens orders them: by what is due first, as many on time as can be.
*Synergy* is lens: that order, and each step as large as the answers in it allow.
"""
SPLIT = """
## What each part is worth

The best budget of each kind, chosen for each line after the fact: fixed, in order of arrival; what relegation adds to that; what
lens's order adds; what the budget solved from the learned model adds, which has to be chosen by nobody.

| requests/s | fixed | + relegation | + order | + budget | synergy |
|---|---|---|---|---|---|
"""
FAIR = """
Where not all prompts can be on time, the longest are given up first, since they cost the most of the others: they still end, at a
floor, but late. Under an overload that lasts, that is always the same kind of request; refusing it in time is the router's.
"""
KINDS = ("", "-relegating", "-triaging")


def page(rows: Sequence[Row]) -> str:
    """Markdown, from a row a planner and load."""
    seeds = rows[0].seeds
    names = [short(row.engine_policy) for row in rows]
    head = HEAD.format(seeds=f"{seeds[0]} to {seeds[-1]}")
    return "".join((head, *table(rows, names), SPLIT, *_split(rows), FAIR))


def _split(rows: Sequence[Row]) -> Iterator[str]:
    for workload, rate in dict.fromkeys((row.workload, row.rate) for row in rows):
        attained = {row.engine_policy: row.attainment for row in rows if (row.workload, row.rate) == (workload, rate)}
        fixed, relegating, triaging = (_best(attained, kind) for kind in KINDS)
        ours = attained["synergy"]
        gains = (relegating - fixed, triaging - relegating, ours - triaging)
        cells = (f"{100 * fixed:.0f}", *(f"{100 * gain:+.0f}" for gain in gains), f"**{100 * ours:.0f}**")
        yield f"| {workload} {rate:g} | {' | '.join(cells)} |\n"


def _best(attained: Mapping[str, float], kind: str) -> float:
    """Of all fixed budgets of a kind."""
    return max(
        value
        for planner, value in attained.items()
        if planner.startswith("static-") and planner.removeprefix("static-").lstrip("0123456789") == kind
    )
