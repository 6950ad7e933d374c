"""The page of the experiment on long prompts, from its rows and the fluid bound. Pure."""

from collections.abc import Iterator, Sequence

from loadgen.experiments.criteria import Claim, claims_table
from loadgen.experiments.document import Document
from loadgen.experiments.figure import Curves, Value, curves_figure
from loadgen.experiments.fleet_loads import LONG, LONG_BOTH, LONG_LINES, LONG_NEITHER, LONG_SYSTEMS
from loadgen.experiments.fluid import Asked, Bounds
from loadgen.experiments.goals import PERCENT, TIMES, BySeed, Goal, at_rate, falls_to
from loadgen.experiments.prism_loads import PROMPT_S
from loadgen.experiments.systems import Found, System, attained, drawn, found_of, table_head, told_share
from loadgen.experiments.tables import OURS, number, short
from loadgen.simulate.rows import Row
from loadgen.student import estimate

TARGET = 0.9
"""Of the requests, at which throughputs are compared."""
LEAST_OF_BOUND, PUBLISHED_TIMES = 90.0, 3.0
"""%, and as published over the baselines."""
THOUSAND = 1e-3
HEAD = f"""# Throughput where prompts are long

**Simulated**: `make exp-long-context TRACES=<folder> FULL=1` runs it again and writes this page. The services' own planners, router policies and
step model in virtual time; the step model is *learned*, from cold in each run, by telemetry {1e3 * PROMPT_S:g} ms old. An H100, an A100 and two times two
A6000 serve Llama-3.1-8B (the profiles of the emulated engine, with the noise of step logs).

**Substitute.** The published long-context workloads are not public as they were run: here, arXiv summarisation lengths with prompts doubled (cut at 7,800
tokens, answers at 600), drawn with replacement; targets 10 s and 100 ms; Poisson arrivals for {{arriving_s:g}} s. On average a prompt has
{{prompt_tokens:,.0f}} tokens, an answer {{answer_tokens:,.0f}}. The fleet's capacity, {LONG.capacity_per_s:g} requests/s, is where the best policy that reacts attains
90 % over engines that batch as lens does; that was found with another seed.

*Throughput*: tokens of prompts and answers a second, of requests that met both targets and ended while others still arrived, after the first
third of that time: what is in the fleet at the end does not count, nor what was not in it at the beginning. *At equal attainment*: at the rate at which
{TARGET:.0%} of the requests attain, between the rates that were run. Means over seeds {{seeds}} with their 95 % intervals.

![Throughput in time by load and system](long-context.svg)

## The fluid bound

The most that this fleet could do if work were divisible at will: **{{bound_requests:.2f}} requests/s, {{bound_tokens:,.0f}} tokens/s**. Nothing waits, and no step is
cut short or disturbed by noise. What remains: steps take what the profiles say for full steps, a step in which answers go on takes no longer than
their TPOT target, answers hold their cache, and a request is answered where it was read. The best use of each engine's time, and which kinds of
requests (sixteen, by how long their answers are beside their prompts) go to which engine, is then a linear program.

If caches moved between engines in no time, so that any engine could read any part of a prompt and write any part of an answer, the bound would be
{{moving_requests:.2f}} requests/s, {{moving_tokens:,.0f}} tokens/s. No router that sends a request to one engine can have that.

## What was wanted, and what was found

"""
LOADS_HEAD = """
## Every system

Attained in %; thousands of tokens a second in time; goodput, requests a second over the whole run, its end without arrivals included.

"""


def page(rows: Sequence[Row], asked: Asked, bounds: Bounds, arriving_s: float) -> Document:
    """Markdown and its figure, from a row a system and load.

    Args:
        asked: the means of the requests.
        bounds: what the fleet could do at most.
        arriving_s: for how long requests arrive.
    """
    seeds, found = rows[0].seeds, found_of(rows)
    head = HEAD.format(
        seeds=f"{seeds[0]} to {seeds[-1]}",
        arriving_s=arriving_s,
        prompt_tokens=asked.prompt_tokens,
        answer_tokens=asked.answer_tokens,
        bound_requests=bounds.staying.requests_per_s,
        bound_tokens=bounds.staying.tokens_per_s,
        moving_requests=bounds.moving.requests_per_s,
        moving_tokens=bounds.moving.tokens_per_s,
    )
    text = "".join((head, claims_table(claims(found, bounds)), LOADS_HEAD, *_loads(found)))
    return Document(text, _figure(found, bounds))


def claims(found: Found, bounds: Bounds) -> Sequence[Claim]:
    """Those that the rows say something of."""
    in_time = {system: in_time_per_s(found, system) for system in LONG_SYSTEMS}
    ours = in_time[LONG_BOTH]
    of_bounds = {
        name: [100 * each / bound.tokens_per_s for each in ours]
        for name, bound in zip(("the fluid bound", "the bound if caches moved"), bounds, strict=True)
    }
    rivals = {
        "fixed budget or published planner, and policy that reacts": [
            system for system in LONG_SYSTEMS if system.planner != OURS and system != LONG_NEITHER
        ],
        "policy that reacts, above engines that batch as lens does": [
            system for system in LONG_SYSTEMS if system.planner == OURS and system.policy != OURS
        ],
    }
    best = {of: max(systems, key=lambda system: sum(in_time[system])) for of, systems in rivals.items()}
    return [
        *(
            Goal(
                f"throughput at equal attainment at least {LEAST_OF_BOUND:g} % of {name}",
                LEAST_OF_BOUND,
                estimate(of_bound),
                PERCENT,
            )
            for name, of_bound in of_bounds.items()
        ),
        Goal(
            f"up to {PUBLISHED_TIMES:g} times the throughput of the baselines, as published; here of a fixed budget under round robin",
            PUBLISHED_TIMES,
            estimate(_times(ours, in_time[LONG_NEITHER])),
            TIMES,
        ),
        *(
            Goal(
                f"never less than the best {of}, chosen after the fact ({told(rival)})",
                1.0,
                estimate(_times(ours, in_time[rival])),
                TIMES,
            )
            for of, rival in best.items()
        ),
    ]


def in_time_per_s(found: Found, system: System) -> BySeed:
    """Tokens a second at the rate at which so many requests attain."""
    of_system = {rate: of_load[system] for (_, rate), of_load in found.items() if system in of_load}
    seeds = range(len(next(iter(of_system.values())).of_seeds))
    by_seed = [{rate: row.of_seeds[seed] for rate, row in of_system.items()} for seed in seeds]
    return [
        at_rate(
            falls_to(TARGET, {rate: run.attainment for rate, run in runs.items()}),
            {rate: run.kept_tokens_per_s for rate, run in runs.items()},
        )
        for runs in by_seed
    ]


def told(system: System) -> str:
    """As a page calls it."""
    return f"{short(system.planner)}, {system.policy}"


def _times(ours: BySeed, theirs: BySeed) -> BySeed:
    return [mine / other if other else 0.0 for mine, other in zip(ours, theirs, strict=True)]


def _loads(found: Found) -> Iterator[str]:
    yield table_head(
        "requests/s", ("planner, policy", "attained", "in time", "goodput", "TTFT p50 s", "p99", "TPOT p99 ms")
    )
    for line in LONG_LINES:
        for place, (system, row) in enumerate(found.get(line.key, {}).items()):
            in_time = drawn([run.kept_tokens_per_s for run in row.of_seeds], THOUSAND)
            cells = (
                "" if place else f"{line.rate_per_s:g}, {line.times_capacity:g} × capacity",
                *(told(system), told_share(attained(row)), f"{in_time.mean:.1f}{_interval(in_time)}"),
                f"{row.goodput:.2f}",
                *(number(value, 1.0, 2) for value in (row.ttft_p50_s, row.ttft_p99_s)),
                number(row.tpot_p99_s, 1e3, 0),
            )
            yield f"| {' | '.join(cells)} |\n"


def _interval(value: Value) -> str:
    return "" if value.ci95 is None else f" ± {value.ci95:.1f}"


def _figure(found: Found, bounds: Bounds) -> str:
    in_time: dict[str, dict[float, Value]] = {}
    share: dict[str, dict[float, Value]] = {}
    for line in LONG_LINES:
        for system, row in found.get(line.key, {}).items():
            tokens_per_s = [run.kept_tokens_per_s for run in row.of_seeds]
            in_time.setdefault(told(system), {})[line.rate_per_s] = drawn(tokens_per_s, THOUSAND)
            share.setdefault(told(system), {})[line.rate_per_s] = drawn(attained(row))
    rates = [rate for curve in in_time.values() for rate in curve]
    in_time["fluid bound"] = dict.fromkeys((min(rates), max(rates)), Value(THOUSAND * bounds.staying.tokens_per_s))
    panels = [Curves("in time, thousands of tokens/s", in_time), Curves("attained, %", share)]
    return curves_figure(panels, "requests/s offered", "", ours=told(LONG_BOTH))
