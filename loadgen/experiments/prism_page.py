"""The page of the prism experiment, from its rows. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from loadgen.experiments.criteria import claims_table
from loadgen.experiments.prism_criteria import Load, attained_of, best_reactive, claims, told
from loadgen.experiments.prism_loads import (
    BY_BUDGET,
    EASY_LINES,
    HARD_LINES,
    LATE_S,
    ONE,
    PROMPT_S,
    SEVERAL,
    SEVERAL_LINES,
    SLOWED,
    SLOWNESS,
    Line,
)
from loadgen.experiments.prism_regret import Regret
from loadgen.experiments.tables import OURS, Measure, number, reliability_table, table
from loadgen.reliability import pooled
from loadgen.simulate.rows import Row
from loadgen.simulate.run import ORACLE
from loadgen.student import Estimate

HEAD = f"""# What prism attains on unequal engines

**Simulated**: `make exp-prism TRACES=<folder>` runs it again and writes this page. The services' own router policies, planner and step
model in virtual time; the step model is *learned*, from cold in each run. Four engines serve one model, Llama-3.1-8B: an H100, an A100 and
two times two A6000 (the profiles of the emulated engine, no straight lines, with the noise of step logs). Each batches as lens does.

Attainment: requests that met both targets (TTFT and TPOT) ÷ requests offered, in %, mean over seeds {{seeds}} with its 95 % interval;
refused ones count against. Poisson arrivals for {{arriving_s:g}} s, in the hard case for {{hard_s:g}} s. Conversation, code and mixed classes are those of
[the floor](floor.md), their telemetry {1e3 * PROMPT_S:g} ms old. Every workload comes at so many times its capacity, which is where the best policy that
reacts to load attains 90 %, over engines with a fixed budget ({BY_BUDGET}) in order of arrival; that was found with other seeds.

**The hard case**: three classes (half conversations at 0.8 s and 40 ms, prompts cut at 4,000; 30 % code at 2 s and 50 ms; 20 % arXiv documents of
double length, cut at 7,800, at 10 s and 100 ms), telemetry {1e3 * LATE_S:g} ms old, and the fastest engine ({SLOWED}) takes {SLOWNESS:g} times as long for each step from the
middle of the run on. Its capacity is where the best policy that reacts, over engines that batch as lens does, attains 90 %.

*Synergy* is prism. *Oracle* is prism's policy with what no router can have: the engines as they are at the instant, and their true step times. All
others are policies that react: they go by what engines hold, or did.

## What was wanted, and what was found

Points of attainment, from the least to the most of all loads that are meant. The rival is the best policy that reacts, chosen after the
fact for each load. It leaves what it does not attain itself: nobody can be ahead of it by more.

"""
EASY = """
## Four unequal engines
"""
SEVERAL_HEAD = f"""
## {SEVERAL} routers against one

Each router sees all engines, and what all of them have sent there since, which is reserved; arrivals are dealt at random.
"""
HARD = """
## The hard case
"""
LATENCIES = """
## Goodput, refusals and latencies

Prism beside the best policy that reacts, and the oracle. Goodput: requests a second that met both targets. Times are of all requests that ended
well, those that missed a target too: means over seeds.

| requests/s | | attained | goodput | refused % | TTFT p50 s | p99 | TPOT p50 ms | p99 |
|---|---|---|---|---|---|---|---|---|
"""
REGRET = """
## Regret

What the picks cost against those of hindsight. For requests that missed, drawn at random ({asked} in all), the run was repeated with that
request on each of the other engines and nothing else changed. *Own promise*: on one of them it would have met its targets. *Regret*: promises
of all requests that the best of these runs keeps beyond those that were kept. A pick whose request kept its promise counts as the best one.
One request moved shifts every step behind it, and with them all noise and later picks: so *luck* is the same for as many repeats
with the same pick and other noise from that instant on. All per 100 requests offered, each decision by itself: they do not add up.

| requests/s | missed | own promise | by luck | regret | luck | beyond luck |
|---|---|---|---|---|---|---|
"""
FORESIGHT = """
## How far the predictions can be trusted

Median of |actual − predicted| ÷ actual, at dispatch, over requests that ended well; Brier's score of the chance that a request would
meet all its targets (mean squared difference from what came, 1 or 0).

| requests/s | | TTFT error % | TPOT error % | Brier |
|---|---|---|---|---|
"""
RELIABILITY = """
Of the requests that were given about such a chance by prism, over all loads: how many kept their promises.
"""
EVERY = """
## Every policy
"""


def _least(value: float | None) -> float | None:
    return None if value is None else -value


MEASURES: Mapping[str, Measure] = {
    "Goodput, requests a second": Measure(lambda row: f"{row.goodput:.1f}", lambda row: row.goodput),
    "Refused, %": Measure(lambda row: f"{100 * row.refused:.1f}", lambda _row: None),
    "TTFT p99, s": Measure(lambda row: number(row.ttft_p99_s, 1.0, 2), lambda row: _least(row.ttft_p99_s)),
    "TPOT p99, ms": Measure(lambda row: number(row.tpot_p99_s, 1e3, 0), lambda row: _least(row.tpot_p99_s)),
}


def page(rows: Sequence[Row], regrets: Sequence[Regret], arriving_s: float) -> str:
    """Markdown, from a row a policy and load.

    Args:
        regrets: of prism, on some of them.
        arriving_s: for how long requests arrive.
    """
    seeds = rows[0].seeds
    compared = [line._replace(replicas=ONE) for line in SEVERAL_LINES]
    policies = {row.router_policy for row in _of(rows, SEVERAL_LINES)}
    several = [row for row in _of(rows, [*compared, *SEVERAL_LINES]) if row.router_policy in policies]
    return "".join(
        (
            HEAD.format(
                seeds=f"{seeds[0]} to {seeds[-1]}",
                arriving_s=arriving_s,
                hard_s=arriving_s * HARD_LINES[0].workload.times_as_long,
            ),
            claims_table(claims(rows)),
            *(
                EASY,
                *_table(_of(rows, EASY_LINES)),
                SEVERAL_HEAD,
                *_table(several),
                HARD,
                *_table(_of(rows, HARD_LINES)),
            ),
            *(LATENCIES, *_latencies(rows)),
            *((REGRET.format(asked=sum(each.asked for each in regrets)), *_regrets(regrets)) if regrets else ()),
            *(FORESIGHT, *_foresight(rows), *_reliability(rows)),
            *(EVERY, *_every(rows)),
        )
    )


def _of(rows: Sequence[Row], lines: Iterable[Line]) -> list[Row]:
    """In the order of the lines."""
    return [row for line in lines for row in rows if (row.workload, row.rate) == line.key]


def _table(rows: Sequence[Row]) -> Iterator[str]:
    return table(rows, [row.router_policy for row in rows]) if rows else iter(())


def _latencies(rows: Sequence[Row]) -> Iterator[str]:
    for load, attained in attained_of(rows).items():
        shown = [policy for policy in (OURS, best_reactive(attained), ORACLE) if policy in attained]
        for place, row in enumerate(_of_load(rows, load, shown)):
            cells = (
                *("" if place else told(load), row.router_policy),
                *(f"{100 * row.attainment:.0f}", f"{row.goodput:.2f}", f"{100 * row.refused:.1f}"),
                *(number(value, 1.0, 2) for value in (row.ttft_p50_s, row.ttft_p99_s)),
                *(number(value, 1e3, 0) for value in (row.tpot_p50_s, row.tpot_p99_s)),
            )
            yield f"| {' | '.join(cells)} |\n"


def _of_load(rows: Sequence[Row], load: Load, policies: Sequence[str]) -> Sequence[Row]:
    by_policy = {row.router_policy: row for row in rows if (row.workload, row.rate) == load}
    return [by_policy[policy] for policy in policies]


def _regrets(regrets: Sequence[Regret]) -> Iterator[str]:
    for each in regrets:
        estimates = (each.missed, each.own_regret, each.own_luck, each.regret, each.luck, each.beyond_luck)
        yield f"| {told((each.workload, each.rate))} | {' | '.join(map(_percent, estimates))} |\n"


def _percent(estimate: Estimate) -> str:
    interval = "" if estimate.ci95 is None else f" ± {100 * estimate.ci95:.1f}"
    return f"{100 * estimate.mean:.1f}{interval}"


def _foresight(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if row.ttft_error_p50 is not None:
            brier = None if row.reliability is None else row.reliability.brier
            figures = (
                number(row.ttft_error_p50, 100.0, 0),
                number(row.tpot_error_p50, 100.0, 0),
                number(brier, 1.0, 3),
            )
            yield f"| {told((row.workload, row.rate))} | {row.router_policy} | {' | '.join(figures)} |\n"


def _reliability(rows: Sequence[Row]) -> Iterator[str]:
    of_all = pooled([row.reliability for row in rows if row.router_policy == OURS and row.reliability is not None])
    if of_all is None:
        return
    yield RELIABILITY
    yield from reliability_table(of_all)


def _every(rows: Sequence[Row]) -> Iterator[str]:
    for name, measure in MEASURES.items():
        yield f"\n{name}:\n"
        yield from table(rows, [row.router_policy for row in rows], measure)
