"""The page of the scale experiment, and its figure, from its rows. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from loadgen.experiments.criteria import claims_table
from loadgen.experiments.figure import TOP_OF_SHARES, Curves, Value, curves_figure
from loadgen.experiments.scale_criteria import Rows, best_reactive, by_point, claims
from loadgen.experiments.scale_loads import FEW, LESS, MANY_S, MORE, RATE_EACH, SOME_S, Point, Sweep, points
from loadgen.experiments.scale_rows import ScaleRow
from loadgen.experiments.tables import NOTHING, OURS, number
from loadgen.student import Estimate, estimate

FIGURE = "scale.svg"
"""Beside the page."""
ROOM_POINTS = 2.0
"""Below the lowest value of the figure."""
USUAL = Point()

HEAD = f"""# Larger fleets, several routers, late news, wrong predictions

**Simulated**: `make exp-scale TRACES=<folder>` runs it again (`FULL=1` with five seeds, and writes this page). The services' own router policies,
planner and step model in virtual time; the step model is *learned*, from cold in each run. All engines serve one model, Llama-3.1-8B: of
five, one is an H100, two are A100 and two are two A6000 (the profiles of the emulated engine, with the noise of step logs). Each batches
as lens does, whatever routes.

The load, in place of the published workloads: three classes with lengths from public traces (half Azure conversation at 0.8 s and 40 ms, prompts
cut at 4,000; 30 % Azure code at 2 s and 50 ms; 20 % arXiv documents of double length, cut at 7,800, at 10 s and 100 ms), Poisson
arrivals of {RATE_EACH:g} requests a second *and engine*. Unless a line says otherwise: {FEW} engines, one router, telemetry and announcements
{1e3 * USUAL.delay_s:g} ms old, predictions as they are learned, arrivals for {{longest_s:g}} s. Where fleets of several sizes are compared, arrivals are for {SOME_S:g} s, and with the
largest for {MANY_S:g} s, so that a run takes about a minute: {MANY_S:g} s is a burst from idle, of about one request an engine, no longer load than that; queues
do not become what they would come to be, and what is seen is the cold start.

Attainment: requests that met both targets (TTFT and TPOT) ÷ requests offered, in %; refused ones count against. Means over seeds
{{seeds}} with 95 % intervals (Student's t). Arrivals are dealt to routers at random. *Prediction error*: whatever was learned of an engine's step
times, lens and router take it for {LESS:g} or {MORE:g} times that, all engines alike; ±20 %: for each engine one of the two, drawn. The actual times stay
what they are, so that what prism corrects by what came of its predictions counts.

![Attainment]({FIGURE})

## What was wanted, and what was found

Points of attainment, seed by seed, from the least to the most of all lines that are meant.

"""
SWEPT = """
## By {title}

| {title} | {policies} | ahead of the best | refused % | TTFT error % | Brier |
|---|{dashes}---|---|---|---|
"""
TAKEN = """
## What was run, and how long it took

A run: the requests of a seed. Virtual seconds are until the last answer; of each policy, the seconds that a processor was busy with a run.

| | requests | virtual s | steps | {policies} |
|---|---|---|---|{dashes}
"""


def page(rows: Sequence[ScaleRow], sweeps: Sequence[Sweep]) -> str:
    """Markdown, which shows the figure."""
    by_name, seeds = by_point(rows), rows[0].seeds
    policies = tuple(dict.fromkeys(row.policy for row in rows))
    return "".join(
        (
            HEAD.format(
                seeds=f"{seeds[0]} to {seeds[-1]}", longest_s=max(point.arriving_s for point in points(sweeps))
            ),
            claims_table(claims(by_name, sweeps)),
            *(part for sweep in sweeps for part in _swept(by_name, sweep, policies)),
            TAKEN.format(policies=" | ".join(f"{policy}, s" for policy in policies), dashes="---|" * len(policies)),
            *_taken(by_name, sweeps, policies),
        )
    )


def figure(rows: Sequence[ScaleRow], sweeps: Sequence[Sweep]) -> str:
    """SVG: a panel a sweep."""
    by_name = by_point(rows)
    shown = [Curves(sweep.title, _curves(by_name, sweep), ticks=_ticks(sweep)) for sweep in sweeps]
    lowest = min(100 * row.attainment.mean for row in rows)
    bottom = max(0.0, lowest - ROOM_POINTS)
    return curves_figure(shown, "", "attainment, %", ours=OURS, bottom=bottom, top=TOP_OF_SHARES)


def _ticks(sweep: Sweep) -> Mapping[float, str]:
    """What is in brackets, in a line of its own: there is little room."""
    return {float(x): point.replace(" (", "\n").rstrip(")") for x, point in enumerate(sweep.points)}


def _curves(rows: Rows, sweep: Sweep) -> Mapping[str, Mapping[float, Value]]:
    curves: dict[str, dict[float, Value]] = {}
    for x, point in enumerate(sweep.points.values()):
        for policy, row in rows.get(point.name, {}).items():
            mean, ci95 = row.attainment.mean, row.attainment.ci95
            curves.setdefault(policy, {})[float(x)] = Value(100 * mean, None if ci95 is None else 100 * ci95)
    return curves


def _swept(rows: Rows, sweep: Sweep, policies: Sequence[str]) -> Iterator[str]:
    yield SWEPT.format(title=sweep.title, policies=" | ".join(policies), dashes="---|" * len(policies))
    for value, point in sweep.points.items():
        of_point = rows.get(point.name, {})
        if OURS not in of_point:
            continue
        ours, rival = of_point[OURS], best_reactive(of_point)
        lead = estimate([one - two for one, two in zip(ours.attained, rival.attained, strict=True)])
        best = max(row.attainment.mean for row in of_point.values())
        cells = (
            value,
            *(_attained(of_point.get(policy), best) for policy in policies),
            _percent(lead, sign=True),
            _percent(ours.refused),
            _percent(ours.ttft_error_p50),
            NOTHING if ours.brier is None else number(ours.brier.mean, 1.0, 3),
        )
        yield f"| {' | '.join(cells)} |\n"


def _taken(rows: Rows, sweeps: Sequence[Sweep], policies: Sequence[str]) -> Iterator[str]:
    for point in points(sweeps):
        of_point = rows.get(point.name, {})
        if OURS not in of_point:
            continue
        runs = of_point[OURS].runs
        count = len(runs)
        cells = (
            point.name,
            f"{sum(run.score.total.offered for run in runs) / count:,.0f}",
            f"{sum(run.score.duration_s for run in runs) / count:.0f}",
            f"{sum(run.score.steps for run in runs) / count:,.0f}",
            *(_busy(of_point.get(policy)) for policy in policies),
        )
        yield f"| {' | '.join(cells)} |\n"


def _attained(row: ScaleRow | None, best: float) -> str:
    if row is None:
        return NOTHING
    told = _percent(row.attainment)
    return f"**{told}**" if row.attainment.mean == best else told


def _busy(row: ScaleRow | None) -> str:
    return NOTHING if row is None else f"{sum(run.busy_s for run in row.runs) / len(row.runs):.1f}"


def _percent(value: Estimate | None, *, sign: bool = False) -> str:
    if value is None:
        return NOTHING
    told = f"{100 * value.mean:+.1f}" if sign else f"{100 * value.mean:.1f}"
    return told if value.ci95 is None else f"{told} ± {100 * value.ci95:.1f}"
