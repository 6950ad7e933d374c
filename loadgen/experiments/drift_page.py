"""The page of the drift experiment, and its figures, from its rows. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from loadgen.experiments.criteria import claims_table
from loadgen.experiments.drift_criteria import (
    NEAR,
    Rows,
    back_after_s,
    by_load,
    chances,
    claims,
    stretches,
    yardstick,
)
from loadgen.experiments.drift_loads import BEYOND, CARRIED, DELAY_S, LINES, STRUCK, Line, Timeline
from loadgen.experiments.drift_series import SeriesRow, Window, attainments, mean_of, refusals
from loadgen.experiments.figure import TOP_OF_SHARES, Curves, Value, curves_figure
from loadgen.experiments.prism_loads import SLOWNESS
from loadgen.experiments.tables import NOTHING, OURS, number
from loadgen.student import Estimate

FIGURE, ERRORS_FIGURE = "drift.svg", "drift-errors.svg"
"""Beside the page."""
COLUMNS = 3
ANEW = f"{OURS}, as from the beginning"
Error = Callable[[Window], float | None]
ERRORS: Mapping[str, Error] = {
    "TTFT": lambda window: window.ttft_error_p50,
    "TPOT": lambda window: window.tpot_error_p50,
}

HEAD = f"""# When the fleet changes in mid-run

**Simulated**: `make exp-drift TRACES=<folder>` runs it again (`FULL=1` with five seeds, and writes this page). The services' own router policies,
planner and step model in virtual time; the step model is *learned*, from cold in each run. Four engines serve one model, Llama-3.1-8B: an
H100, an A100 and two times two A6000 (the profiles of the emulated engine, no straight lines, with the noise of step logs). Each
batches as lens does, whatever routes. One router; telemetry and announcements are {1e3 * DELAY_S:g} ms old.

The load, in place of the published workloads: three classes with lengths from public traces (half Azure conversation at 0.8 s and 40 ms, prompts
cut at 4,000; 30 % Azure code at 2 s and 50 ms; 20 % arXiv documents of double length, cut at 7,800, at 10 s and 100 ms), Poisson
arrivals for {{arriving_s:g}} s. After {{at_s:g}} s, and nobody is told: the {STRUCK} *slows*, each step takes {SLOWNESS:g} times as long; or it *dies*, and what
it was answering breaks off; or it *joins*, cold, a fleet that had to do without it. Each at a rate that the smaller fleet can carry too
({{carried}} requests/s), and at one that only the larger can ({{beyond}}).

Attainment: requests that met both targets (TTFT and TPOT) ÷ requests offered, in %, by arrival; refused ones and those that broke off
count against. Means over seeds {{seeds}} with 95 % intervals (Student's t). *Before*: arrivals from {{before}} s; later ones may still be there
when it happens.

![Attainment over time]({FIGURE})

Attainment, %, in windows of {{window_s:g}} s by arrival; the dotted line is the incident, and *{ANEW}* what prism attains with the same requests
on a fleet that has been as it then is from the beginning.

## What was wanted, and what was found

Points of attainment, seed by seed. *The fleet that is left*: where that attains over {100 * NEAR:g} points less than was attained before, with the same
requests and as it then is from the beginning, nobody can come back to more.

"""
OVER_TIME = """
## Before, at once after, and then

*Lowest*: the worst window from the incident on, or just before it. *Back*: the first window, from the incident on, that is within {near:g} points of
before (or of the fleet that is left, where that attains less), as is the next one.

| requests/s | | before | {meanwhile} | {after} | as from the beginning | lowest | back after s | refused % |
|---|---|---|---|---|---|---|---|---|
"""
FORESIGHT = f"""
## How the forecasts went

![Errors of what was foreseen]({ERRORS_FIGURE})

Prism's. Median of |actual − predicted| ÷ actual at dispatch, in windows by arrival, over requests that ended well; the chance to keep its promise that
a request was given, on average, beside the share that kept it.

| requests/s | arrivals | TTFT error % | TPOT error % | foreseen % | kept % |
|---|---|---|---|---|---|
"""


def page(rows: Sequence[SeriesRow], timeline: Timeline) -> str:
    """Markdown, which shows the figures."""
    loads, seeds = by_load(rows), rows[0].seeds
    _, (meanwhile, _), (after, _) = stretches(timeline)
    head = HEAD.format(
        seeds=f"{seeds[0]} to {seeds[-1]}",
        arriving_s=timeline.arriving_s,
        at_s=timeline.at_s,
        window_s=timeline.window_s,
        before=f"{timeline.before.from_s:g} to {timeline.before.to_s:g}",
        carried=_rates(CARRIED),
        beyond=_rates(BEYOND),
    )
    over_time = OVER_TIME.format(near=100 * NEAR, meanwhile=meanwhile, after=after)
    return "".join(
        (
            *(head, claims_table(claims(loads, timeline))),
            *(over_time, *_over_time(loads, timeline)),
            *(FORESIGHT, *_foresight(loads, timeline)),
        )
    )


def figures(rows: Sequence[SeriesRow], timeline: Timeline) -> Mapping[str, str]:
    """SVG by name of file."""
    loads = by_load(rows)
    lines = [line for line in LINES if line.key in loads]
    attainment = [
        Curves(f"{line.name}, {line.rate_per_s:g} requests/s", _attainment(loads, line), (timeline.at_s,))
        for line in lines
    ]
    errors = [
        Curves(f"{line.name}, {line.rate_per_s:g} requests/s", _errors(loads[line.key][OURS]), (timeline.at_s,))
        for line in lines
    ]
    at_label = "arrival, s"
    return {
        FIGURE: curves_figure(attainment, at_label, "attainment, %", ours=OURS, columns=COLUMNS, top=TOP_OF_SHARES),
        ERRORS_FIGURE: curves_figure(errors, at_label, "median error, %", ours="TTFT", columns=COLUMNS),
    }


def _rates(lines: Sequence[Line]) -> str:
    return ", ".join(f"{line.rate_per_s:g}" for line in lines)


def _attainment(loads: Rows, line: Line) -> Mapping[str, Mapping[float, Value]]:
    curves = {policy: _by_time(row, _attained) for policy, row in loads[line.key].items()}
    of_anew = loads.get(line._replace(anew=True).key, {}).get(OURS)
    return curves if of_anew is None else {**curves, ANEW: _by_time(of_anew, _attained)}


def _errors(row: SeriesRow) -> Mapping[str, Mapping[float, Value]]:
    return {name: _by_time(row, error) for name, error in ERRORS.items()}


def _attained(window: Window) -> float | None:
    return window.attained / window.offered if window.offered else None


def _by_time(row: SeriesRow, figure: Error) -> Mapping[float, Value]:
    """In %, where there is anything."""
    values = {middle_s: mean_of(map(figure, windows)) for middle_s, windows in row.over_time()}
    return {
        middle_s: Value(100 * each.mean, None if each.ci95 is None else 100 * each.ci95)
        for middle_s, each in values.items()
        if each is not None
    }


def _over_time(loads: Rows, timeline: Timeline) -> Iterator[str]:
    for line in LINES:
        for place, (policy, row) in enumerate(loads.get(line.key, {}).items()):
            wanted = yardstick(loads, line, policy, timeline)
            of_anew = loads.get(line._replace(anew=True).key, {}).get(policy)
            cells = (
                *("" if place else line.told, policy),
                *(_percent(mean_of(attainments(row.within(stretch)))) for _, stretch in stretches(timeline)),
                NOTHING if of_anew is None else _percent(mean_of(attainments(of_anew.within(timeline.after)))),
                _percent(_lowest(row, timeline)),
                number(back_after_s(row, wanted.mean - NEAR, timeline), 1.0, 1),
                _percent(mean_of(refusals(row.within(timeline.after)))),
            )
            yield f"| {' | '.join(cells)} |\n"


def _lowest(row: SeriesRow, timeline: Timeline) -> Estimate | None:
    later = [
        mean for middle_s, windows in row.over_time() if middle_s > timeline.before.to_s
        if (mean := mean_of(map(_attained, windows))) is not None
    ]  # fmt: skip
    return min(later, key=lambda mean: mean.mean, default=None)


def _foresight(loads: Rows, timeline: Timeline) -> Iterator[str]:
    for line in LINES:
        row = loads.get(line.key, {}).get(OURS)
        if row is None:
            continue
        for place, (name, stretch) in enumerate(stretches(timeline)):
            of_seeds = row.within(stretch)
            errors = [mean_of([error(w) for of_seed in of_seeds for w in of_seed]) for error in ERRORS.values()]
            foreseen, kept = chances(of_seeds) or (None, None)
            cells = (
                *("" if place else line.told, name),
                *(number(None if each is None else each.mean, 100.0, 0) for each in errors),
                *(number(share, 100.0, 1) for share in (foreseen, kept)),
            )
            yield f"| {' | '.join(cells)} |\n"


def _percent(estimate: Estimate | None) -> str:
    if estimate is None:
        return NOTHING
    return f"{100 * estimate.mean:.1f}" + ("" if estimate.ci95 is None else f" ± {100 * estimate.ci95:.1f}")
