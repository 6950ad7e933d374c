"""Every estimator on every log, in as many processes as there are processors. Times are measured before, one at a time."""

import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import NamedTuple

import msgspec

from loadgen.evaluation.estimators import ESTIMATORS
from loadgen.evaluation.prequential import foresee
from loadgen.evaluation.recovery import recovery_steps, slowed
from loadgen.evaluation.report import Result
from loadgen.evaluation.scores import Scores, score
from loadgen.evaluation.timing import Cost, measure
from loadgen.steplog import LoggedStep


class Case(NamedTuple):
    """One estimator on one log, both by name."""

    log: str
    estimator: str


def judge(
    logs: Mapping[str, Sequence[LoggedStep]], estimators: Sequence[str], slowdown: float, progressed: Callable[[], None]
) -> tuple[Result, ...]:
    """Results in the order of logs and estimators; `progressed` is called twice a case."""
    costs: dict[Case, Cost] = {}
    for case in (cases := [Case(log, estimator) for log in logs for estimator in estimators]):
        costs[case] = measure(ESTIMATORS[case.estimator], logs[case.log])
        progressed()
    scored: dict[Case, tuple[Scores, int | None]] = {}
    # A forked process would inherit the threads' locks of numeric libraries, but not their threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=context) as pool:
        futures = {pool.submit(judge_case, case.estimator, logs[case.log], slowdown): case for case in cases}
        for future in as_completed(futures):
            scored[futures[future]] = future.result()
            progressed()
    return tuple(_result(case, *scored[case], costs[case]) for case in cases)


def judge_case(estimator: str, steps: Sequence[LoggedStep], slowdown: float) -> tuple[Scores, int | None]:
    """The scores, and the steps in which the estimator recovers when the engine slows down; each from cold."""
    make = ESTIMATORS[estimator]
    scores = score(foresee(make(), steps))
    return scores, recovery_steps(foresee(make(), slowed(steps, slowdown)).errors)


def _result(case: Case, scores: Scores, recovered: int | None, cost: Cost) -> Result:
    return Result(**case._asdict(), **msgspec.structs.asdict(scores), **cost._asdict(), recovery_steps=recovered)
