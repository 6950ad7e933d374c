"""What a run's outcomes amount to: percentiles, attainment, and how well the router foresaw. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from loadgen.outcome import Outcome
from loadgen.reliability import Reliability, reliability

ALL = "all"


class Spread(msgspec.Struct, frozen=True):
    """Percentiles, interpolated; in the unit of the values."""

    p50: float
    p95: float
    p99: float


class Foresight(msgspec.Struct, frozen=True):
    """A latency as foreseen at dispatch and as it came, over the requests that have both, the latter above 0."""

    count: int
    predicted_p50_s: float
    actual_p50_s: float
    error_p50: float
    """Median of |actual − predicted| / actual; a fraction."""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """A group of requests."""

    offered: int
    ended_well: int
    attained: int
    attainment: float
    """Requests that met all their targets ÷ requests offered: errors count against."""
    output_tokens: int
    ttft_s: Spread | None
    tpot_s: Spread | None
    itl_s: Spread | None
    """Of all gaps between events that brought text, whoever's they are."""
    e2e_s: Spread | None
    ttft_foresight: Foresight | None
    tpot_foresight: Foresight | None
    reliability: Reliability | None = None
    """Of the chances that the router gave, over all that it gave one: an error breaks a promise."""


def score(outcomes: Collection[Outcome]) -> Score:
    """The score of at least one outcome; times are of those that ended well."""
    well = [outcome for outcome in outcomes if outcome.problem is None]
    attained = sum(outcome.attained for outcome in outcomes)
    return Score(
        offered=len(outcomes),
        ended_well=len(well),
        attained=attained,
        attainment=attained / len(outcomes),
        output_tokens=sum(outcome.output_tokens or 0 for outcome in well),
        ttft_s=_spread(outcome.ttft_s for outcome in well),
        tpot_s=_spread(outcome.tpot_s for outcome in well),
        itl_s=_spread_of(np.concatenate([np.empty(0, np.float32), *(outcome.itl_s for outcome in well)])),
        e2e_s=_spread(outcome.e2e_s for outcome in well),
        ttft_foresight=_foresight((outcome.predicted_ttft_s, outcome.ttft_s) for outcome in well),
        tpot_foresight=_foresight((outcome.predicted_tpot_s, outcome.tpot_s) for outcome in well),
        reliability=reliability((outcome.p_met, outcome.attained) for outcome in outcomes),
    )


def score_groups(outcomes: Sequence[Outcome]) -> Mapping[tuple[str, str], Score]:
    """Scores by engine and class, in order of name, and of `ALL` together; requests that no engine took are under "none"."""
    by_engine_and_class = _grouped(outcomes, lambda outcome: (outcome.engine or "none", outcome.request.slo.name))
    by_class = _grouped(outcomes, lambda outcome: (ALL, outcome.request.slo.name))
    groups = {**by_engine_and_class, **by_class}
    groups.pop((ALL, ALL), None)  # whatever is called so: the total comes last
    return {key: score(members) for key, members in {**groups, (ALL, ALL): outcomes}.items()}


def _grouped(
    outcomes: Iterable[Outcome], key: Callable[[Outcome], tuple[str, str]]
) -> Mapping[tuple[str, str], list[Outcome]]:
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in sorted(outcomes, key=key):
        groups.setdefault(key(outcome), []).append(outcome)
    return groups


def _spread(values: Iterable[float | None]) -> Spread | None:
    return _spread_of(np.array([value for value in values if value is not None]))


def _spread_of(values: npt.NDArray[np.floating]) -> Spread | None:
    return Spread(*np.percentile(values, (50, 95, 99)).tolist()) if len(values) else None


def _foresight(pairs: Iterable[tuple[float | None, float | None]]) -> Foresight | None:
    known = [(predicted, actual) for predicted, actual in pairs if predicted is not None and actual]
    if not known:
        return None
    predicted, actual = np.array(known).T
    return Foresight(
        count=len(known),
        predicted_p50_s=float(np.median(predicted)),
        actual_p50_s=float(np.median(actual)),
        error_p50=float(np.median(np.abs(actual - predicted) / actual)),
    )
