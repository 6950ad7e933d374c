"""What the pages of live experiments have in common: a load, a cell of a table, and the machine's noise, in words. Pure."""

import statistics
from collections.abc import Sequence

from loadgen.experiments.live_loads import LiveLoad
from loadgen.experiments.live_rows import LiveRow, mean_of
from loadgen.experiments.tables import NOTHING


def attained(runs: Sequence[LiveRow]) -> float:
    """Mean over the runs."""
    return statistics.fmean(row.attainment for row in runs)


def attained_cell(runs: Sequence[LiveRow], *, is_best: bool) -> str:
    """In %, with its interval where there are several runs."""
    found = mean_of(runs, "attainment")
    assert found is not None, "every run has one"
    mean = f"{100 * found.mean:.0f}"
    interval = "" if found.ci95 is None else f" ± {100 * found.ci95:.0f}"
    return f"{f'**{mean}**' if is_best else mean}{interval}"


def mean_cell(runs: Sequence[LiveRow], field: str, unit: float, digits: int) -> str:
    """Over the runs that have it."""
    found = mean_of(runs, field)
    return NOTHING if found is None else f"{unit * found.mean:.{digits}f}"


def load_told(load: LiveLoad) -> str:
    """What is asked."""
    kinds = (
        f"{100 * kind.traffic.share:.0f} % {kind.traffic.slo.name} (prompts of {kind.prompts.p50:g} tokens in the middle, one in ten above "
        f"{kind.prompts.p90:g}; answers of {kind.outputs.p50:g} and {kind.outputs.p90:g}; {kind.traffic.slo.ttft_s:g} s "
        f"and {1e3 * (kind.traffic.slo.tpot_s or 0.0):.0f} ms)"
        for kind in load.clients
    )
    return f"Load: {'; '.join(kinds)}; {load.duration_s:g} s a run, and until the last answer."


def noise_told(rows: Sequence[LiveRow]) -> str:
    """How much the machine itself may have had to do with it."""
    told = []
    late = [row.late_share for row in rows if row.late_share is not None]
    if late:
        told.append(
            f"steps that ended over 1 ms late: {statistics.fmean(late):.1%} on average, {max(late):.1%} at worst"
        )
    probes_s = [row.probe_s for row in rows if row.probe_s is not None]
    if len(probes_s) > 1:
        deviation = statistics.stdev(probes_s) / statistics.fmean(probes_s)
        told.append(
            f"the same prompt, alone, before each run took {1e3 * statistics.median(probes_s):.0f} ms in the middle, "
            f"{1e3 * min(probes_s):.0f} to {1e3 * max(probes_s):.0f} ms (deviation {deviation:.0%})"
        )
    spoiled = sum(bool(row.overloads) for row in rows)
    told.append(f"{spoiled} of {len(rows)} runs were on an overloaded machine")
    told.append(f"{sum(row.failed for row in rows)} requests failed")
    return f"The machine's noise: {'; '.join(told)}."
