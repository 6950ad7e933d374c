"""What both layers were to bring over neither and over the tuned rivals, and what was found. Pure."""

from collections.abc import Mapping, Sequence

from loadgen.experiments.ablation_loads import (
    BOTH,
    CAPACITY,
    FAR_OVER,
    MIXED,
    NEITHER,
    OVER,
    PUBLISHED,
    WORKLOADS,
    Line,
    Published,
    Workload,
    at_capacity,
    ended_in_time,
    struggling,
)
from loadgen.experiments.criteria import Claim
from loadgen.experiments.goals import (
    POINTS,
    TIMES,
    BySeed,
    Goal,
    falls_to,
    means,
    over_workloads,
    points_ahead,
)
from loadgen.experiments.systems import Found, OfLoad, System, attained, best_of, found_of
from loadgen.experiments.tables import PLAIN, RELEGATING
from loadgen.simulate.rows import Row, SeedFigures
from loadgen.student import estimate

OVER_NEITHER, OVER_PLAIN, OVER_RELEGATING_MIXED = 43.0, 30.0, 15.0
"""Points."""
GOODPUT_TIMES, E2E_TIMES = 1.15, 0.5
TARGET = 0.9


def claims(rows: Sequence[Row]) -> Sequence[Claim]:
    """Those that the rows say something of."""
    found = found_of(rows)
    over = [workload for workload in WORKLOADS if at_capacity(workload, OVER).key in found]
    return [
        *_over_neither(found),
        *_over_rival(found, over, PLAIN, OVER_PLAIN),
        *_goodput(found),
        *_never_behind(found, over),
        *_over_rival(
            found, [workload for workload in over if workload.name == MIXED], RELEGATING, OVER_RELEGATING_MIXED
        ),
        *_e2e(found),
    ]


def rival(of_load: OfLoad, workload: Workload, kind: str) -> System:
    """The better of those that come near, chosen after the fact."""
    return best_of(of_load, workload.rivals[kind])


def ended_within(row: Row, published: Published) -> BySeed:
    """The share that ended within the published time, by seed."""
    return [of_seed.e2e_attainment[f"{published.threshold_s:g}"] for of_seed in row.of_seeds]


def _over_neither(found: Found) -> Sequence[Goal]:
    joint = {
        workload.name: points_ahead(attained(of_load[BOTH]), attained(of_load[NEITHER]))
        for workload, of_load in _known(found, {workload.name: struggling(workload) for workload in WORKLOADS})
    }
    in_time = {
        published.name: points_ahead(ended_within(of_load[BOTH], published), ended_within(of_load[NEITHER], published))
        for published in PUBLISHED
        if (of_load := found.get(ended_in_time(published).key)) is not None
    }
    scored = (("TTFT and TPOT jointly", joint), ("E2E within the published time", in_time))
    return [
        Goal(
            f"neither → both: {OVER_NEITHER:+g} points, mean over workloads, where neither has 30 to 50 %; {score}",
            OVER_NEITHER,
            over_workloads(ahead),
            POINTS,
            means(ahead),
        )
        for score, ahead in scored
        if ahead
    ]


def _over_rival(found: Found, workloads: Sequence[Workload], kind: str, least_points: float) -> Sequence[Goal]:
    ahead = {workload.name: _ahead(found, workload, OVER, kind) for workload in workloads}
    relegating = ", with relegation" if kind == RELEGATING else ""
    of = "mixed classes" if [*ahead] == [MIXED] else "mean over workloads"
    wanted = f"{least_points:+g} points over the best static budget and reactive router{relegating}, at {OVER:g} times capacity; {of}"
    return [Goal(wanted, least_points, over_workloads(ahead), POINTS, means(ahead))] if ahead else []


def _never_behind(found: Found, workloads: Sequence[Workload]) -> Sequence[Goal]:
    ahead = {
        f"{workload.name} at {times:g}": _ahead(found, workload, times, RELEGATING)
        for workload in workloads
        for times in (CAPACITY, OVER)
        if at_capacity(workload, times).key in found
    }
    if not ahead:
        return []
    least = min(ahead.values(), key=lambda of_seeds: estimate(of_seeds).mean)
    wanted = "never behind the best static budget and reactive router with relegation; the least lead"
    return [Goal(wanted, 0.0, estimate(least), POINTS, means(ahead))]


def _goodput(found: Found) -> Sequence[Goal]:
    """The capacity is where the rival attains its share."""
    times_capacity: dict[str, BySeed] = {}
    for workload in WORKLOADS:
        keys = {times: at_capacity(workload, times).key for times in (CAPACITY, OVER, FAR_OVER)}
        rows = {times: found[key][BOTH] for times, key in keys.items() if key in found}
        if len(rows) > 1:
            by_rate = {times: attained(row) for times, row in rows.items()}
            times_capacity[workload.name] = [
                falls_to(TARGET, dict(zip(by_rate, of_seed, strict=True)))
                for of_seed in zip(*by_rate.values(), strict=True)
            ]
    wanted = f"{GOODPUT_TIMES:g} times its rate at which {TARGET:.0%} attain (at most {FAR_OVER:g} times was offered)"
    if not times_capacity:
        return []
    return [Goal(wanted, GOODPUT_TIMES, over_workloads(times_capacity), TIMES, means(times_capacity))]


def _e2e(found: Found) -> Sequence[Goal]:
    times = {
        workload.name: [
            _p50_s(ours) / _p50_s(theirs)
            for ours, theirs in zip(of_load[BOTH].of_seeds, of_load[NEITHER].of_seeds, strict=True)
        ]
        for workload, of_load in _known(
            found, {workload.name: at_capacity(workload, CAPACITY) for workload in WORKLOADS}
        )
    }
    wanted = f"median E2E time at capacity at most {E2E_TIMES:g} of neither's, mean over workloads"
    return [Goal(wanted, E2E_TIMES, over_workloads(times), TIMES, means(times), at_most=True)] if times else []


def _p50_s(of_seed: SeedFigures) -> float:
    return of_seed.e2e_p50_s or 0.0


def _ahead(found: Found, workload: Workload, times: float, kind: str) -> BySeed:
    of_load = found[at_capacity(workload, times).key]
    return points_ahead(attained(of_load[BOTH]), attained(of_load[rival(of_load, workload, kind)]))


def _known(found: Found, lines: Mapping[str, Line]) -> Sequence[tuple[Workload, OfLoad]]:
    return [(workload, found[lines[workload.name].key]) for workload in WORKLOADS if lines[workload.name].key in found]
