"""What simulated runs amount to: one value a run, and one row over the seeds of a scenario. Pure."""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus

import msgspec

from loadgen.outcome import Outcome
from loadgen.reliability import Reliability, pooled
from loadgen.score import Foresight, Score, Spread, score
from loadgen.simulate.run import Simulated
from loadgen.student import estimate

E2E_THRESHOLDS_S = (1.0, 2.0, 2.79, 5.0, 7.0, 10.0, 16.0, 20.0, 30.0, 60.0)
"""Round ones, and those of published results."""
SETTLED = 1 / 3
"""Of the time in which requests arrive, after which engines that began empty hold what they come to hold."""


class RunScore(msgspec.Struct, frozen=True, kw_only=True):
    """One run; fractions are of the requests offered."""

    seed: int
    total: Score
    goodput_per_s: float
    tokens_per_s: float
    e2e_attainment: Mapping[str, float]
    """By threshold in seconds: those that ended well within it."""
    kept_tokens_per_s: float
    """Of prompts and answers, of requests that met all their targets, as they end while others still arrive and the fleet has
    settled: so that neither what is left at the end counts, nor what was not there at the beginning."""
    refused: float
    steps: int
    duration_s: float


class SeedFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What one run came to, for what is compared run by run."""

    attainment: float
    e2e_attainment: Mapping[str, float]
    e2e_p50_s: float | None
    kept_tokens_per_s: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A workload at a rate, under an engine policy and a router policy: means over the seeds."""

    workload: str
    rate: float
    """Requests offered a second: as it was told, where a ramp begins, or the mean of a trace replayed as it was."""
    engine_policy: str
    router_policy: str
    seeds: tuple[int, ...]
    attainment: float
    attainment_ci95: float | None
    """Half the width of the 95 % interval of the mean; None with one seed."""
    goodput: float
    """Requests that met all their targets, a second."""
    ttft_p50_s: float | None
    ttft_p99_s: float | None
    tpot_p50_s: float | None
    tpot_p99_s: float | None
    e2e_p50_s: float | None
    e2e_attainment: Mapping[str, float]
    tokens_per_s: float
    refused: float
    ttft_error_p50: float | None = None
    """Median of |actual − predicted| / actual; None where nothing was predicted."""
    tpot_error_p50: float | None = None
    reliability: Reliability | None = None
    """Over the requests of all seeds."""
    of_seeds: tuple[SeedFigures, ...] = ()
    """In the order of the seeds."""
    simulated: bool = True


def score_run(seed: int, run: Simulated) -> RunScore:
    """The score of a run of at least one request."""
    total = score(run.outcomes)
    offered = len(run.outcomes)
    ended_s = [outcome.e2e_s for outcome in run.outcomes if outcome.problem is None and outcome.e2e_s is not None]
    within = {f"{most_s:g}": sum(e2e_s <= most_s for e2e_s in ended_s) / offered for most_s in E2E_THRESHOLDS_S}
    return RunScore(
        seed=seed,
        total=total,
        goodput_per_s=_per_s(total.attained, run.duration_s),
        tokens_per_s=_per_s(total.output_tokens, run.duration_s),
        e2e_attainment=within,
        kept_tokens_per_s=_kept_tokens_per_s(run.outcomes),
        refused=sum(outcome.status == HTTPStatus.TOO_MANY_REQUESTS for outcome in run.outcomes) / offered,
        steps=run.steps,
        duration_s=run.duration_s,
    )


def _kept_tokens_per_s(outcomes: Sequence[Outcome]) -> float:
    until_s = max(outcome.request.arrival_s for outcome in outcomes)
    since_s = SETTLED * until_s
    kept_tokens = sum(
        (outcome.prompt_tokens or 0) + (outcome.output_tokens or 0)
        for outcome in outcomes
        if outcome.attained and since_s < outcome.sent_s + (outcome.e2e_s or 0.0) <= until_s
    )
    return kept_tokens / (until_s - since_s) if until_s else 0.0


def _per_s(count: int, duration_s: float) -> float:
    """0 where all were refused in the instant they arrived: nothing was done, and no time went by."""
    return count / duration_s if duration_s else 0.0


def row_of(workload: str, rate: float, engine_policy: str, router_policy: str, runs: Sequence[RunScore]) -> Row:
    """The row of at least one run."""
    attainment = estimate([run.total.attainment for run in runs])
    return Row(
        workload=workload,
        rate=rate,
        engine_policy=engine_policy,
        router_policy=router_policy,
        seeds=tuple(run.seed for run in runs),
        attainment=attainment.mean,
        attainment_ci95=attainment.ci95,
        goodput=_mean([run.goodput_per_s for run in runs]),
        ttft_p50_s=_percentile([run.total.ttft_s for run in runs], "p50"),
        ttft_p99_s=_percentile([run.total.ttft_s for run in runs], "p99"),
        tpot_p50_s=_percentile([run.total.tpot_s for run in runs], "p50"),
        tpot_p99_s=_percentile([run.total.tpot_s for run in runs], "p99"),
        e2e_p50_s=_percentile([run.total.e2e_s for run in runs], "p50"),
        e2e_attainment={
            most_s: _mean([run.e2e_attainment[most_s] for run in runs]) for most_s in runs[0].e2e_attainment
        },
        tokens_per_s=_mean([run.tokens_per_s for run in runs]),
        refused=_mean([run.refused for run in runs]),
        ttft_error_p50=_error([run.total.ttft_foresight for run in runs]),
        tpot_error_p50=_error([run.total.tpot_foresight for run in runs]),
        reliability=pooled([run.total.reliability for run in runs if run.total.reliability is not None]),
        of_seeds=tuple(_figures(run) for run in runs),
    )


def _figures(run: RunScore) -> SeedFigures:
    return SeedFigures(
        attainment=run.total.attainment,
        e2e_attainment=run.e2e_attainment,
        e2e_p50_s=None if run.total.e2e_s is None else run.total.e2e_s.p50,
        kept_tokens_per_s=run.kept_tokens_per_s,
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _error(foresights: Sequence[Foresight | None]) -> float | None:
    """The mean over the runs that have one."""
    values = [foresight.error_p50 for foresight in foresights if foresight is not None]
    return _mean(values) if values else None


def _percentile(spreads: Sequence[Spread | None], name: str) -> float | None:
    """The mean over the runs that have it."""
    values: list[float] = [getattr(spread, name) for spread in spreads if spread is not None]
    return _mean(values) if values else None
