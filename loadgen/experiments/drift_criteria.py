"""How the fleet was to come through what befalls it, and what was found. Pure."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from loadgen.experiments.criteria import ROUNDING, Claim
from loadgen.experiments.drift_loads import LINES, Line, Stretch, Timeline
from loadgen.experiments.drift_series import SeriesRow, Window, attainments, difference, mean_of
from loadgen.experiments.paired import Paired, PairedCriterion
from loadgen.experiments.tables import OURS
from loadgen.student import Estimate

NEAR = 0.05
"""So much less than before, or than what is to be had, is still as good."""
BEHIND_POINTS = 1.0
"""That ours may be behind the best policy that reacts."""
NOBODY = Estimate(0.0, None, 0)

Rows = Mapping[tuple[str, float], Mapping[str, SeriesRow]]
"""By load and policy."""


class Yardstick(NamedTuple):
    """What attainment is to come back to."""

    name: str
    by_seed: Sequence[float | None]

    @property
    def mean(self) -> float:
        """Over seeds."""
        return (mean_of(self.by_seed) or NOBODY).mean


class Doubt(NamedTuple):
    """Chances that were told in a stretch."""

    where: str
    foreseen: float
    """On average; the share that was kept, likewise a fraction."""
    kept: float


class Calibrated(NamedTuple):
    """Chances were to be as often kept as they say."""

    wanted: str
    doubts: Sequence[Doubt]

    @property
    def verdict(self) -> str:
        """Whether they are, or where not."""
        missed = [each for each in self.doubts if abs(each.foreseen - each.kept) > NEAR + ROUNDING]
        if not missed:
            return "met"
        return "missed by " + ", ".join(
            f"{100 * (abs(each.foreseen - each.kept) - NEAR):.1f} ({each.where})" for each in missed
        )

    @property
    def found(self) -> str:
        """Where they say most too little, and most too much."""
        low, high = (choose(self.doubts, key=lambda each: each.foreseen - each.kept) for choose in (min, max))
        return "; ".join(
            f"{100 * each.foreseen:.1f} % foreseen, {100 * each.kept:.1f} % kept ({each.where})"
            for each in dict.fromkeys((low, high))
        )


def by_load(rows: Sequence[SeriesRow]) -> Rows:
    """The rows of each load, by policy."""
    found: dict[tuple[str, float], dict[str, SeriesRow]] = {}
    for row in rows:
        found.setdefault((row.workload, row.rate), {})[row.policy] = row
    return found


def claims(rows: Rows, timeline: Timeline) -> Sequence[Claim]:
    """Those that the rows say something of."""
    lines = [line for line in LINES if line.key in rows]
    back = [pair for line in lines if (pair := _back(rows, line, timeline)) is not None]
    leads = [pair for line in lines if (pair := _lead(rows[line.key], line, timeline)) is not None]
    doubts = [
        Doubt(f"{line.told}, {name}", *shares)
        for line in lines
        for name, stretch in stretches(timeline)
        if (shares := chances(rows[line.key][OURS].within(stretch))) is not None
    ]
    near = f"{100 * NEAR:g} points"
    all_of_them = (
        PairedCriterion(
            f"from {timeline.back_s:g} s after the incident on within {near} of before, or of what the fleet that is left can attain",
            -100 * NEAR,
            back,
        ),
        PairedCriterion(
            f"from the incident on never more than {BEHIND_POINTS:g} point behind the best policy that reacts",
            -BEHIND_POINTS,
            leads,
        ),
    )
    calibrated = Calibrated(f"chances within {near} of what is kept, before, at once after and then", doubts)
    return [*(claim for claim in all_of_them if claim.pairs), *((calibrated,) if doubts else ())]


def stretches(timeline: Timeline) -> Sequence[tuple[str, Stretch]]:
    """That are told apart, by name."""
    back_s, end_s = timeline.back_s, timeline.back_s + timeline.judged_s
    return (
        ("before", timeline.before),
        (f"first {back_s:g} s", timeline.meanwhile),
        (f"{back_s:g} to {end_s:g} s", timeline.after),
    )


def yardstick(rows: Rows, line: Line, policy: str, timeline: Timeline) -> Yardstick:
    """As before; or as ours fares with the same requests on a fleet that has been as it then is from the beginning, if that is less."""
    before = Yardstick("before", attainments(rows[line.key][policy].within(timeline.before)))
    of_anew = rows.get(line._replace(anew=True).key, {}).get(OURS)
    if of_anew is None:
        return before
    anew = Yardstick("the fleet that is left", attainments(of_anew.within(timeline.after)))
    return anew if anew.mean < before.mean - NEAR else before


def back_after_s(row: SeriesRow, least: float, timeline: Timeline) -> float | None:
    """From the incident until the first window that attains so much on average, as the next does; None if there is none."""
    later = [
        (middle_s - row.window_s / 2 - timeline.at_s, (mean_of(attainments([[w] for w in windows])) or NOBODY).mean)
        for middle_s, windows in row.over_time()
        if middle_s > timeline.at_s
    ]
    for (begins_s, attained), (_, next_attained) in pairwise(later):
        if min(attained, next_attained) >= least - ROUNDING:
            return begins_s
    return None


def chances(of_seeds: Sequence[Sequence[Window]]) -> tuple[float, float] | None:
    """What was foreseen and what was kept, over all requests that were told a chance; None where none was."""
    windows = [window for of_seed in of_seeds for window in of_seed]
    told = sum(window.told for window in windows)
    if not told:
        return None
    return sum(window.foreseen for window in windows) / told, sum(window.kept for window in windows) / told


def _back(rows: Rows, line: Line, timeline: Timeline) -> Paired | None:
    wanted = yardstick(rows, line, OURS, timeline)
    points = difference(attainments(rows[line.key][OURS].within(timeline.after)), wanted.by_seed)
    return None if points is None else Paired(line.told, f"{wanted.name}, {100 * wanted.mean:.1f}", points)


def _lead(of_load: Mapping[str, SeriesRow], line: Line, timeline: Timeline) -> Paired | None:
    since = Stretch(timeline.at_s, timeline.after.to_s)
    attained = {policy: attainments(row.within(since)) for policy, row in of_load.items()}
    means = {policy: mean.mean for policy, values in attained.items() if (mean := mean_of(values)) is not None}
    rivals = [policy for policy in means if policy != OURS]
    if not rivals:
        return None
    rival = max(rivals, key=lambda policy: means[policy])
    points = difference(attained[OURS], attained[rival])
    return None if points is None else Paired(line.told, f"{rival}, {100 * means[rival]:.1f}", points)
