"""The page of the experiment on unequal engines, from its rows. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from loadgen.experiments.criteria import Claim, claims_table
from loadgen.experiments.document import Document
from loadgen.experiments.figure import TOP_OF_SHARES, Curves, Value, curves_figure
from loadgen.experiments.fleet_loads import FOUR, HETEROGENEOUS_LINES
from loadgen.experiments.goals import POINTS, BySeed, Goal, means, over_workloads, points_ahead
from loadgen.experiments.prism_criteria import best_reactive
from loadgen.experiments.prism_loads import OVER, PROMPT_S, Line
from loadgen.experiments.prism_page import MEASURES
from loadgen.experiments.systems import attained, drawn
from loadgen.experiments.tables import OURS, table
from loadgen.simulate.rows import Row
from loadgen.simulate.run import ORACLE
from loadgen.student import estimate

PUBLISHED: Sequence[tuple[float, float]] = ((99.4, 86.6), (73.7, 70.8), (67.1, 58.1), (61.9, 46.1))
"""What was published of the router and of the best policy that reacts, %, on four workloads."""
PUBLISHED_POINTS = sum(ours - theirs for ours, theirs in PUBLISHED) / len(PUBLISHED)
BEHIND_ORACLE = 3.0
"""Points at most."""
HEAD = f"""# Every router policy on unequal engines

**Simulated**: `make exp-heterogeneous TRACES=<folder> FULL=1` runs it again and writes this page. The services' own router policies, planner and step
model in virtual time; the step model is *learned*, from cold in each run, by telemetry {1e3 * PROMPT_S:g} ms old. An H100, an A100 and two times two A6000
serve Llama-3.1-8B (the profiles of the emulated engine, with the noise of step logs); each batches as lens does, so that routing alone differs.

**Substitutes.** The published workloads are not public as they were run. Lengths are drawn with replacement from the Azure conversation and code
traces (prompts cut at 7,000 tokens, answers at 600; targets 2 s and 50 ms); *mixed*: as in [the floor](floor.md); *documents*: arXiv
summarisation lengths (answers cut at 600; 5 s and 50 ms). Poisson arrivals for {{arriving_s:g}} s, at so many times the capacity under lens: where the best
policy that reacts to load attains 90 %. That was found with other seeds.

Attainment: requests that met both targets ÷ requests offered, in %, mean over seeds {{seeds}} with its 95 % interval; refused ones count against.
*Synergy* is prism. *Oracle* is prism's policy with what no router can have: the engines as they are, and their true step times.

Published, on an H100, an A100 and two A6000, for four workloads: {", ".join(f"{ours:g} against {theirs:g}" for ours, theirs in PUBLISHED)} % of the
best policy that reacts, which is {PUBLISHED_POINTS:+.1f} points on average.

![Attainment by load and policy](heterogeneous.svg)

## What was wanted, and what was found

The rival is the best policy that reacts, chosen after the fact for each load. Differences are taken run by run, between runs of the same seed.

"""
ATTAINMENT_HEAD = """
## Attainment
"""
OTHERS_HEAD = """
## Goodput, refusals and latencies
"""
ByPolicy = Mapping[str, Row]


def page(rows: Sequence[Row], arriving_s: float) -> Document:
    """Markdown and its figure, from a row a policy and load.

    Args:
        arriving_s: for how long requests arrive.
    """
    seeds, policies = rows[0].seeds, [row.router_policy for row in rows]
    others = (part for name, measure in MEASURES.items() for part in (f"\n{name}:\n", *table(rows, policies, measure)))
    text = "".join(
        (
            HEAD.format(seeds=f"{seeds[0]} to {seeds[-1]}", arriving_s=arriving_s),
            claims_table(claims(rows)),
            *(ATTAINMENT_HEAD, *table(rows, policies), OTHERS_HEAD, *others),
        )
    )
    return Document(text, _figure(rows))


def claims(rows: Sequence[Row]) -> Sequence[Claim]:
    """Those that the rows say something of."""
    by_line = dict(_by_line(rows))
    ahead = {line: _ahead(of_load, _rival(of_load)) for line, of_load in by_line.items()}
    over = {line.workload.name: values for line, values in ahead.items() if line.times_capacity == OVER}
    behind = {line: _ahead(of_load, ORACLE) for line, of_load in by_line.items() if ORACLE in of_load}
    goals = [
        _least("never behind the best policy that reacts; the least lead", 0.0, ahead),
        Goal(
            f"as far ahead of it as published, {PUBLISHED_POINTS:+.1f} points, at {OVER:g} times capacity; mean over workloads",
            PUBLISHED_POINTS,
            over_workloads(over),
            POINTS,
            means(over),
        )
        if over
        else None,
        _least(f"within {BEHIND_ORACLE:g} points of the oracle; the least lead", -BEHIND_ORACLE, behind),
    ]
    return [goal for goal in goals if goal is not None]


def _least(wanted: str, goal: float, ahead: Mapping[Line, BySeed]) -> Goal | None:
    if not ahead:
        return None
    least = min(ahead.values(), key=lambda of_seeds: estimate(of_seeds).mean)
    parts = means({f"{line.workload.name} at {line.times_capacity:g}": values for line, values in ahead.items()})
    return Goal(wanted, goal, estimate(least), POINTS, parts)


def _rival(of_load: ByPolicy) -> str:
    return best_reactive({policy: row.attainment for policy, row in of_load.items()})


def _ahead(of_load: ByPolicy, rival: str) -> BySeed:
    return points_ahead(attained(of_load[OURS]), attained(of_load[rival]))


def _by_line(rows: Sequence[Row]) -> Iterator[tuple[Line, ByPolicy]]:
    for line in HETEROGENEOUS_LINES:
        of_load = {row.router_policy: row for row in rows if (row.workload, row.rate) == line.key}
        if of_load:
            yield line, of_load


def _figure(rows: Sequence[Row]) -> str:
    by_line = dict(_by_line(rows))
    panels = []
    for workload in FOUR:
        of_policy: dict[str, dict[float, Value]] = {}
        for line, of_load in by_line.items():
            if line.workload == workload:
                for policy, row in of_load.items():
                    of_policy.setdefault(policy, {})[line.times_capacity] = drawn(attained(row))
        if of_policy:
            panels.append(Curves(workload.name, of_policy))
    return curves_figure(panels, "times capacity", "attained, %", ours=OURS, top=TOP_OF_SHARES)
