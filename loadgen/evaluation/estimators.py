"""The estimators under evaluation, by name: the forecaster's own and its rivals, each as well as it can do.

Windows, penalties, trees and times between fits are one setting for all logs: of those tried, the one with the least sum of
the errors for the next step and 50 steps ahead, averaged over four logs of one system with unequal token budgets. Fits run
after every step where one takes a millisecond or less, and cost the log no time: real ones would come later.
"""

from collections.abc import Callable, Mapping

from loadgen.evaluation.boosted import boost
from loadgen.evaluation.estimator import Estimator
from loadgen.evaluation.intervals import WithInterval
from loadgen.evaluation.linear import in_sequences_and_tokens, of_second_order, ridge
from loadgen.evaluation.recursive import RecursiveLeastSquares
from loadgen.evaluation.refitted import Fit, Model, Refitted
from loadgen.evaluation.saturating import bounded_least_squares, eight_parameters, five_parameters
from loadgen.evaluation.synergy import Synergy


def _refitted(fit: Fit[Model], *, window_steps: int, every_s: float = 0.0) -> Callable[[], Estimator]:
    def make() -> Estimator:
        return WithInterval(Refitted(fit, window_steps=window_steps, every_s=every_s))

    return make


ESTIMATORS: Mapping[str, Callable[[], Estimator]] = {
    "synergy": Synergy,
    "rls": lambda: WithInterval(RecursiveLeastSquares()),
    # Weighted by 1/T, and fitted after every step, these do better than as published (unweighted, every few seconds).
    "published8": _refitted(bounded_least_squares(eight_parameters, (0.25, 0.25, 0.25, 0.1, 0.1)), window_steps=100),
    "published5": _refitted(bounded_least_squares(five_parameters, (0.5, 0.1, 0.25)), window_steps=200),
    # Short windows: without a term for the KV cache, the fit has to follow how full it is.
    "linear": _refitted(ridge(in_sequences_and_tokens, penalty=0.01), window_steps=100),
    "quadratic": _refitted(ridge(of_second_order, penalty=0.1), window_steps=500),
    # A fit takes as long as a decode step, so one a second; trees do better the more they have seen.
    "xgboost": _refitted(boost, window_steps=4000, every_s=1.0),
}
