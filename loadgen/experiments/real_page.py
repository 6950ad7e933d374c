"""The page of the experiment with real processes, and its figure, from its rows. Pure."""

import statistics
from collections.abc import Iterator, Sequence

from loadgen.experiments.criteria import claims_table
from loadgen.experiments.figure import TOP_OF_SHARES, Bars, Value, bars_figure
from loadgen.experiments.live_rows import mean_of
from loadgen.experiments.live_telling import attained, attained_cell, load_told, mean_cell, noise_told
from loadgen.experiments.real_criteria import Load, claims, loads_of
from loadgen.experiments.real_parts import (
    BOTH,
    EMULATED,
    ENGINE_ONLY,
    IN_TURN,
    NEITHER,
    REACTIVE,
    ROUTER_ONLY,
    Part,
)
from loadgen.experiments.real_rows import RealRow, paired, points_ahead
from loadgen.experiments.tables import NOTHING, reliability_table
from loadgen.reliability import Reliability, pooled

ORDER = (BOTH, ROUTER_ONLY, ENGINE_ONLY, NEITHER, REACTIVE)
HEAD = """# Both layers on one machine, with real processes

**Not simulated**: `make exp-real` runs it again; `FULL=1` for this page. Real are the clients' HTTP, prism, lens, the forecaster, NATS with
JetStream, Redis, Triton and its gRPC streams, and in the second part the model and its computing. **Emulated** are, in the first part, the
engines' steps: they take the time of a profiled GPU and compute nothing. The texts are common words at random, their lengths
like those of public traces.

**All of it shares two cores**: engines, services, and the load generator, which took {generator} of a core on average. For each way of
batching there is a fleet of its own, both there all the time, and before it a router for each policy; one system is under load at a time,
the others idle beside it. Systems take turns, at each load in an order of chance, with the same requests in each; every one
is a tenant of its own, so that none finds another's prompts in a cache.

| | lens plans | prism picks |
|---|---|---|
| {both} | to the requests' targets | by foresight |
| {router_only} | a fixed budget a step, decodes first, in order of arrival | by foresight |
| {engine_only} | to the requests' targets | in turn (`{in_turn}`) |
| {neither} | a fixed budget | in turn |
| {reactive} | to the requests' targets | by load: a policy that reacts, of those the best one under lens in the simulator |

Attainment: requests that met both targets (TTFT and TPOT) ÷ requests offered, in %, mean over seeds {seeds} with its 95 % interval;
refused ones count against. Poisson arrivals. Capacity is the highest rate tried at which *{reactive}* attains 90 %: of emulated engines, unless
told, in the simulator; of the others here, just before.
Everybody has seen other requests before the first run.

![Attainment of the five systems]({figure})

## What was wanted, and what was found

With 95 % intervals over repeats, in each of which the same requests are compared.

"""
SECTIONS = {
    EMULATED: """
## Emulated engines

{engines}: three unequal engines, with time stretched {scale:g} times, which is what two cores carry; so are arrivals, targets and the step
that routers reckon with. Times and rates are in the profiles' time. The fixed budget is `{fixed}`, which is vLLM's default, the reactive router `{reactive}`.
""",
    "llamacpp": """
## A real model

SmolLM2-135M on llama.cpp: two unequal engines as in `make demo`, one with two threads, 16 slots and a cache of 8,192 tokens, one with half of
each; when both compute, they take from each other. The fixed budget is `{fixed}`, of the best on one such engine ([lens](lens-live.md)),
the reactive router `{reactive}`, which is the best of the hard case of [prism](prism.md).
""",
}
AHEAD = """
Both layers ahead, in points, the same requests compared:

| requests/s | {columns} |
|---|{rules}
"""
LATENCIES = """
Means over the seeds; times of all requests that ended well; goodput: requests a second that met both targets.

| requests/s | | goodput | refused % | TTFT p50 s | p99 | TPOT p50 ms | p99 | E2E p50 s |
|---|---|---|---|---|---|---|---|---|
"""
FORESIGHT = """
Median of |actual − predicted| ÷ actual, at dispatch, over requests that ended well; Brier's score of the chance that a request would meet
all its targets, and that of who always says the share that was kept.

| requests/s | | TTFT error % | TPOT error % | Brier | constant |
|---|---|---|---|---|---|
"""
RELIABILITY = """
Of the requests that were given about such a chance by both layers, over all loads: how many kept their promises.
"""
CHANCE = """
## How much of this is chance

"""


def page(rows: Sequence[RealRow], parts: Sequence[Part], figure: str) -> str:
    """Markdown, from a row a system, load and seed; of those parts that have any.

    Args:
        figure: its place, as the page names it.
    """
    seeds = sorted({row.seed for row in rows})
    shares = [row.generator_share for row in rows if row.generator_share is not None]
    head = HEAD.format(
        generator=f"{statistics.fmean(shares):.2f}" if shares else NOTHING,
        both=BOTH,
        router_only=ROUTER_ONLY,
        engine_only=ENGINE_ONLY,
        neither=NEITHER,
        reactive=REACTIVE,
        in_turn=IN_TURN,
        seeds=f"{seeds[0]} to {seeds[-1]}",
        figure=figure,
    )
    sections = [line for part in parts for line in _section(part, [row for row in rows if row.system == part.name])]
    return "".join((head, claims_table(claims(rows)), *sections, CHANCE, *_chance(rows)))


def figure(rows: Sequence[RealRow], parts: Sequence[Part]) -> str:
    """SVG: attainment, a panel a part, a group a load."""
    shown = [
        Bars(part.name, {_name(load): dict(_values(load)) for load in loads})
        for part in parts
        if (loads := loads_of([row for row in rows if row.system == part.name]))
    ]
    return bars_figure(shown, "attained, %", ours=BOTH, top=TOP_OF_SHARES)


def _values(load: Load) -> Iterator[tuple[str, Value]]:
    for layers in _present(load):
        found = mean_of(load.of(layers), "attainment")
        assert found is not None, "every run has one"
        yield layers, Value(100 * found.mean, None if found.ci95 is None else 100 * found.ci95)


def _present(load: Load) -> Sequence[str]:
    return [layers for layers in ORDER if load.of(layers)]


def _name(load: Load) -> str:
    rate_per_s = next(row.rate_per_s for row in load.rows if row.times_capacity == load.times_capacity)
    return f"{rate_per_s:.3g}, {load.times_capacity:g} × capacity"


def _section(part: Part, rows: Sequence[RealRow]) -> Iterator[str]:
    if not rows:
        return
    yield SECTIONS[part.name].format(
        engines=", ".join(f"`{profile}`" for profile in part.profiles),
        scale=part.load.time_scale,
        fixed=part.fixed,
        reactive=part.reactive,
    )
    yield f"\n{load_told(part.load)} {noise_told(rows)}\n"
    loads = loads_of(rows)
    columns = [layers for layers in ORDER if any(load.of(layers) for load in loads)]
    yield f"\n| requests/s | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}\n"
    for load in loads:
        best = max(attained(load.of(layers)) for layers in _present(load))
        runs = (load.of(layers) for layers in columns)
        cells = (attained_cell(of, is_best=attained(of) == best) if of else NOTHING for of in runs)
        yield f"| {_name(load)} | {' | '.join(cells)} |\n"
    yield from _ahead(loads, [layers for layers in columns if layers != BOTH])
    yield LATENCIES
    for load in loads:
        yield from _latencies(load)
    yield from _foresight(loads)


def _ahead(loads: Sequence[Load], rivals: Sequence[str]) -> Iterator[str]:
    yield AHEAD.format(columns=" | ".join(rivals), rules="---|" * len(rivals))
    for load in loads:
        cells = []
        for rival in rivals:
            found = paired(load.of(BOTH), load.of(rival), points_ahead)
            interval = "" if found is None or found.ci95 is None else f" ± {found.ci95:.0f}"
            cells.append(NOTHING if found is None else f"{found.mean:+.0f}{interval}")
        yield f"| {_name(load)} | {' | '.join(cells)} |\n"


def _latencies(load: Load) -> Iterator[str]:
    for place, layers in enumerate(_present(load)):
        runs = load.of(layers)
        figures = (
            mean_cell(runs, "goodput_per_s", 1.0, 2),
            mean_cell(runs, "refused", 100.0, 1),
            *(mean_cell(runs, field, 1.0, 2) for field in ("ttft_p50_s", "ttft_p99_s")),
            *(mean_cell(runs, field, 1e3, 0) for field in ("tpot_p50_s", "tpot_p99_s")),
            mean_cell(runs, "e2e_p50_s", 1.0, 2),
        )
        yield f"| {'' if place else _name(load)} | {layers} | {' | '.join(figures)} |\n"


def _foresight(loads: Sequence[Load]) -> Iterator[str]:
    yield FORESIGHT
    for load in loads:
        for layers in _present(load):
            runs = load.of(layers)
            if (chances := _chances(runs)) is not None:
                errors = (mean_cell(runs, field, 100.0, 0) for field in ("ttft_error_p50", "tpot_error_p50"))
                scores = (f"{chances.brier:.3f}", f"{chances.constant_brier:.3f}")
                yield f"| {_name(load)} | {layers} | {' | '.join((*errors, *scores))} |\n"
    of_all = pooled([chances for load in loads if (chances := _chances(load.of(BOTH))) is not None])
    if of_all is not None:
        yield RELIABILITY
        yield from reliability_table(of_all)


def _chances(runs: Sequence[RealRow]) -> Reliability | None:
    return pooled([row.reliability for row in runs if row.reliability is not None])


def _chance(rows: Sequence[RealRow]) -> Iterator[str]:
    """How far runs of one system at one load are apart."""
    loads = loads_of(rows)
    groups = [load.of(layers) for load in loads for layers in _present(load)]
    deviations = [statistics.stdev(100 * row.attainment for row in runs) for runs in groups if len(runs) > 1]
    if deviations:
        yield (
            "Repeats differ in their requests, and in what the machine is like: the attainment of one system at one load has a standard deviation "
            f"of {statistics.fmean(deviations):.1f} points on average, {max(deviations):.1f} at worst. "
        )
    else:
        yield "There is one repeat: nothing is known of what another would have come to. "
    first = {row.key: row for row in rows if not row.again}
    pairs = [(first[earlier], row) for row in rows if row.again and (earlier := (*row.key[:-1], False)) in first]
    if not pairs:
        return
    apart = [abs(points_ahead(now, then)) for then, now in pairs]
    ratios = [now.ttft_p50_s / then.ttft_p50_s for then, now in pairs if now.ttft_p50_s and then.ttft_p50_s]
    yield (
        f"The *same* requests, to the same system again some minutes later ({len(pairs)} times), attained {statistics.fmean(apart):.1f} points more "
        f"or less on average, {max(apart):.1f} at most; "
    )
    if ratios:
        yield f"the middle TTFT was {min(ratios):.2f} to {max(ratios):.2f} times what it was. "
    yield "What is closer than that says nothing.\n"
