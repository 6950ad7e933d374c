"""The page of the experiment on three classes at once, from its rows. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from loadgen.experiments.criteria import Claim, claims_table
from loadgen.experiments.document import Document
from loadgen.experiments.figure import TOP_OF_SHARES, Curves, Value, curves_figure
from loadgen.experiments.fleet_loads import MIXED_LINES, PLAIN_BUDGETS, RELEGATING_BUDGETS, THREE_CLASSES
from loadgen.experiments.goals import POINTS, BySeed, Goal, means, points_ahead
from loadgen.experiments.prism_loads import BY_LENS, OVER, PROMPT_S, Line
from loadgen.experiments.prism_page import MEASURES
from loadgen.experiments.systems import OfLoad, System, attained, best_of, drawn, found_of
from loadgen.experiments.tables import OURS, short, table
from loadgen.simulate.rows import Row
from loadgen.simulate.run import ORACLE
from loadgen.student import estimate

BOTH = System(BY_LENS, OURS)
OVER_PLAIN, OVER_RELEGATING = 30.0, 15.0
"""Points."""
BELOW: Mapping[str, Sequence[str]] = {
    "lens": (BY_LENS,),
    "a fixed budget": PLAIN_BUDGETS,
    "a relegating budget": RELEGATING_BUDGETS,
}
"""Planners, by what they are called together."""
HEAD = f"""# Three classes at once

**Simulated**: `make exp-mixed TRACES=<folder> FULL=1` runs it again and writes this page. The services' own planners, router policies and step model in
virtual time; the step model is *learned*, from cold in each run, by telemetry {1e3 * PROMPT_S:g} ms old. An H100, an A100 and two times two A6000 serve
Llama-3.1-8B (the profiles of the emulated engine, with the noise of step logs).

**Three classes**, lengths drawn with replacement from public traces: half conversations with a tight TTFT (Azure conversation, prompts cut at 4,000
tokens; 0.8 s and 40 ms), 30 % code (Azure code, cut at 7,000; 2 s and 50 ms), 20 % long documents (arXiv summarisation, prompts doubled and cut at
7,800; 10 s and 100 ms); answers cut at 600. Poisson arrivals for {{arriving_s:g}} s. Capacity, {THREE_CLASSES.capacity_per_s:g} requests/s, is where the best
static budget without relegation attains 90 % under the best policy that reacts; that was found with another seed.

Attainment: requests that met both targets ÷ requests offered, in %, mean over seeds {{seeds}} with its 95 % interval; refused ones count against.
*Synergy* is prism as a policy, and lens as a planner. *Oracle* is prism's policy with the engines as they are and their true step times. A number is a
fixed budget of tokens a step; **r**: prompts with 90 % of their TTFT target gone go behind everyone on time. Above fixed budgets only those
policies are run that come near, and round robin.

![Attainment by load and policy, above each kind of planner](mixed.svg)

## What was wanted, and what was found

Rivals are the best of their kind, chosen after the fact for each load. Differences are taken run by run, between runs of the same seed.

"""


def page(rows: Sequence[Row], arriving_s: float) -> Document:
    """Markdown and its figure, from a row a planner, policy and load.

    Args:
        arriving_s: for how long requests arrive.
    """
    seeds = rows[0].seeds
    head = HEAD.format(seeds=f"{seeds[0]} to {seeds[-1]}", arriving_s=arriving_s)
    return Document("".join((head, claims_table(claims(rows)), *_tables(rows))), _figure(rows))


def claims(rows: Sequence[Row]) -> Sequence[Claim]:
    """Those that the rows say something of."""
    loads = dict(_by_line(rows))
    foresight = {
        name: {line: _ahead(of_load, _of(of_load, planners, OURS), planners) for line, of_load in loads.items()}
        for name, planners in BELOW.items()
    }
    plain, relegating = (
        {line: _ahead(of_load, [BOTH], planners) for line, of_load in loads.items()}
        for planners in (PLAIN_BUDGETS, RELEGATING_BUDGETS)
    )
    return [
        *(
            _least(f"foresight never behind the best policy that reacts, both above {name}", ahead)
            for name, ahead in foresight.items()
        ),
        _least("both layers never behind the best relegating budget and policy that reacts", relegating),
        *_at_over("relegating budget", OVER_RELEGATING, relegating),
        *_at_over("static budget", OVER_PLAIN, plain),
    ]


def _least(wanted: str, ahead: Mapping[Line, BySeed]) -> Goal:
    least = min(ahead.values(), key=lambda of_seeds: estimate(of_seeds).mean)
    parts = means({f"at {line.times_capacity:g}": of_seeds for line, of_seeds in ahead.items()})
    return Goal(f"{wanted}; the least lead", 0.0, estimate(least), POINTS, parts)


def _at_over(rival: str, least_points: float, ahead: Mapping[Line, BySeed]) -> Iterator[Goal]:
    for line, of_seeds in ahead.items():
        if line.times_capacity == OVER:
            wanted = (
                f"{least_points:+g} points over the best {rival} and policy that reacts, at {OVER:g} times capacity"
            )
            yield Goal(wanted, least_points, estimate(of_seeds), POINTS)


def _ahead(of_load: OfLoad, ours: Sequence[System], planners: Sequence[str]) -> BySeed:
    """Of the best of ours over the best that reacts above one of these planners."""
    reactive = [system for system in of_load if system.planner in planners and system.policy not in (OURS, ORACLE)]
    return points_ahead(*(attained(of_load[best_of(of_load, systems)]) for systems in (ours, reactive)))


def _of(of_load: OfLoad, planners: Sequence[str], policy: str) -> Sequence[System]:
    return [system for system in of_load if system.planner in planners and system.policy == policy]


def _tables(rows: Sequence[Row]) -> Iterator[str]:
    for name, planners in BELOW.items():
        for planner in planners:
            of_planner = [row for row in rows if row.engine_policy == planner]
            if of_planner:
                yield f"\n## Above {name}{'' if planner == BY_LENS else f', {short(planner)}'}\n"
                yield from table(of_planner, [row.router_policy for row in of_planner])
    of_lens = [row for row in rows if row.engine_policy == BY_LENS]
    yield "\n## Goodput, refusals and latencies above lens\n"
    for name, measure in MEASURES.items():
        yield f"\n{name}:\n"
        yield from table(of_lens, [row.router_policy for row in of_lens], measure)


def _by_line(rows: Sequence[Row]) -> Iterator[tuple[Line, OfLoad]]:
    found = found_of(rows)
    for line in MIXED_LINES:
        if line.key in found:
            yield line, found[line.key]


def _figure(rows: Sequence[Row]) -> str:
    """Of several budgets of a kind, the best at each load."""
    panels = []
    for name, planners in BELOW.items():
        of_policy: dict[str, dict[float, Value]] = {}
        for line, of_load in _by_line(rows):
            for policy in dict.fromkeys(system.policy for system in of_load if system.planner in planners):
                best = of_load[best_of(of_load, _of(of_load, planners, policy))]
                of_policy.setdefault(policy, {})[line.times_capacity] = drawn(attained(best))
        panels.append(Curves(f"above {name}", of_policy))
    return curves_figure(panels, "times capacity", "attained, %", ours=OURS, top=TOP_OF_SHARES)
