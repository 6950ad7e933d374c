"""The page of the live lens experiment, from its rows. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from loadgen.experiments.live_loads import LiveLoad
from loadgen.experiments.live_rows import LiveRow
from loadgen.experiments.live_telling import attained, attained_cell, load_told, mean_cell, noise_told
from loadgen.experiments.tables import OURS, PLAIN, RELEGATING, best_of, short

HEAD = """# What lens attains on real engines

**Live**: `make exp-lens-live` runs it again and writes this page. The services as they are: each lens is asked over HTTP, drives its engine
through Triton, and plans with what the forecaster has learned of it. Simulated, with more budgets and workloads: [lens](lens.md).

Attainment: requests that met both targets (TTFT and TPOT) ÷ requests offered, in %, mean over seeds {seeds} with its 95 % interval;
Poisson arrivals, the same requests for every planner; every run begins with an empty engine. A number is a token budget a step, decodes
first; **r**: prompts with 90 % of their TTFT target gone go behind everyone on time; *synergy* is lens. Capacity is the highest rate at
which the best of the fixed budgets without relegation attains 90 %. Every lens has seen a load of other requests before the first run.
"""
SECTIONS = {
    "emulated": """
## Emulated engines

**Emulated**: the engines compute nothing; their steps take the time of the profile `h100-qwq-32b`, {scale:g} times stretched, and so do
arrivals and targets. Everything else is real. All planners have their runs at the same time, so that whatever befalls the machine
befalls all of them. Times and rates are in the profile's time. Unless it was measured or told, the capacity is that of the simulator.
""",
    "llamacpp": """
## A real model

`llamacpp` with SmolLM2-135M on one thread of a shared machine. The planners have their runs one after the other, in an order of chance for
each seed and rate.
""",
}
TABLES = """
| requests/s | {columns} |
|---|{rules}
"""
SPLIT = """
The gain in points, the best budget of each kind chosen after the fact for each line: what relegation alone adds to it, and what lens's
order and budget add to that.

| requests/s | fixed | + relegation | + lens | synergy |
|---|---|---|---|---|
"""
LATENCIES = """
Means over the seeds; times of all requests that ended, goodput: requests a second that met both targets.

| requests/s | | goodput | TTFT p50 s | p99 | TPOT p50 ms | p99 |
|---|---|---|---|---|---|---|
"""


class Compared(NamedTuple):
    """A system that was measured."""

    name: str
    load: LiveLoad


def page(rows: Sequence[LiveRow], systems: Sequence[Compared]) -> str:
    """Markdown, from a row a planner, rate and seed; of those systems that have any."""
    seeds = sorted({row.seed for row in rows})
    parts = [HEAD.format(seeds=f"{seeds[0]} to {seeds[-1]}")]
    for system in systems:
        if of_system := [row for row in rows if row.system == system.name]:
            parts += _section(system, of_system)
    return "".join(parts)


def _section(system: Compared, rows: Sequence[LiveRow]) -> Iterator[str]:
    yield SECTIONS[system.name].format(scale=system.load.time_scale)
    yield f"\n{load_told(system.load)} {noise_told(rows)}\n"
    planners = tuple(dict.fromkeys(row.planner for row in sorted(rows, key=_in_order)))
    yield TABLES.format(columns=" | ".join(map(short, planners)), rules="---|" * len(planners))
    by_rate = {rate: _by_planner(rows, rate, planners) for rate in sorted({row.times_capacity for row in rows})}
    for times, of_rate in by_rate.items():
        best = max(attained(runs) for runs in of_rate.values())
        cells = (attained_cell(runs, is_best=attained(runs) == best) for runs in of_rate.values())
        yield f"| {_name(times, of_rate)} | {' | '.join(cells)} |\n"
    yield SPLIT
    for times, of_rate in by_rate.items():
        found = {planner: attained(runs) for planner, runs in of_rate.items()}
        fixed, relegating = (found[best_of(found, kind)] for kind in (PLAIN, RELEGATING))
        gains = (relegating - fixed, found[OURS] - relegating)
        split = (f"{100 * fixed:.0f}", *(f"{100 * gain:+.0f}" for gain in gains), f"**{100 * found[OURS]:.0f}**")
        yield f"| {_name(times, of_rate)} | {' | '.join(split)} |\n"
    yield LATENCIES
    for times, of_rate in by_rate.items():
        for place, (planner, runs) in enumerate(of_rate.items()):
            figures = (
                mean_cell(runs, "goodput_per_s", 1.0, 2),
                *(mean_cell(runs, field, 1.0, 2) for field in ("ttft_p50_s", "ttft_p99_s")),
                *(mean_cell(runs, field, 1e3, 0) for field in ("tpot_p50_s", "tpot_p99_s")),
            )
            yield f"| {'' if place else _name(times, of_rate)} | {short(planner)} | {' | '.join(figures)} |\n"


def _in_order(row: LiveRow) -> tuple[bool, bool, int, str]:
    """Fixed, then relegating, by budget; then ours."""
    digits = "".join(filter(str.isdigit, row.planner))
    return row.planner == OURS, row.planner.endswith(RELEGATING), int(digits or 0), row.planner


def _by_planner(rows: Sequence[LiveRow], times: float, planners: Sequence[str]) -> Mapping[str, Sequence[LiveRow]]:
    return {p: [row for row in rows if (row.planner, row.times_capacity) == (p, times)] for p in planners}


def _name(times: float, of_rate: Mapping[str, Sequence[LiveRow]]) -> str:
    rate_per_s = of_rate[OURS][0].rate_per_s
    return f"{rate_per_s:.3g}, {times:g} × capacity"
