import numpy as np
import pytest

from loadgen.evaluation.estimators import ESTIMATORS
from loadgen.evaluation.intervals import WithInterval
from loadgen.evaluation.prequential import foresee
from loadgen.evaluation.refitted import Mean, Refitted
from loadgen.evaluation.saturating import bounded_least_squares, eight_parameters, five_parameters
from loadgen.steplog import stack_shapes
from shared.steptime import PRIOR, StepShape
from tests.unit.loadgen.evaluation.steps import a_step, steps_of_an_engine

EVERY = pytest.mark.parametrize("name", ESTIMATORS)
KNOWS_THE_CACHE = {"synergy": 0.03, "rls": 0.03, "quadratic": 0.03, "xgboost": 0.06}


@EVERY
def test_every_estimator_learns_an_engine_from_cold(name: str) -> None:
    foreseen = foresee(ESTIMATORS[name](), steps_of_an_engine(400))
    assert np.mean(foreseen.errors[200:]) < KNOWS_THE_CACHE.get(name, 0.1)
    inside = (foreseen.lower_s <= foreseen.actual_s) & (foreseen.actual_s <= foreseen.upper_s)
    assert 0.8 < inside[200:].mean() <= 1.0
    assert (foreseen.ahead_s[51:] > 0.0).all()


@EVERY
def test_what_is_published_stays_as_it_was_and_foresees_many_candidates_as_it_does_each(name: str) -> None:
    estimator, steps = ESTIMATORS[name](), steps_of_an_engine(300)
    for step in steps[:200]:
        estimator.learn(step.shape, step.duration_s, step.at_s)
    published = estimator.published()
    before = [float(published.step_time_s(step.shape)) for step in steps]
    for step in steps[200:]:
        estimator.learn(step.shape, 2.0 * step.duration_s, step.at_s)
    assert np.asarray(published.step_time_s(stack_shapes(steps))) == pytest.approx(before)


@EVERY
def test_before_any_step_an_estimator_still_answers(name: str) -> None:
    expected_s, lower_s, upper_s = ESTIMATORS[name]().predict(StepShape(8, 8, 1e4))
    assert 0.0 < lower_s < expected_s < upper_s


def test_the_interval_is_the_expectation_times_quantiles_of_latest_ratios() -> None:
    estimator = WithInterval(Refitted(lambda _shapes, _actual_s, _before: Mean(2.0), window_steps=8, every_s=1e9))
    for number in range(700):
        estimator.learn(a_step(number).shape, 3.0 if number % 10 == 0 else 2.0, 0.0)
    expected_s, lower_s, upper_s = estimator.predict(StepShape(1, 1))
    assert (expected_s, lower_s, upper_s) == pytest.approx((2.0, 2.0, 3.0))


def test_a_model_is_fitted_to_its_window_whenever_so_much_time_has_passed() -> None:
    fits: list[list[float]] = []

    def fit(_shapes: StepShape, actual_s: np.ndarray, _before: Mean | None) -> Mean:
        fits.append(sorted(actual_s.tolist()))
        return Mean(float(actual_s.mean()))

    model = Refitted(fit, window_steps=10, every_s=5.0)
    assert model.published() is PRIOR
    for second in range(1, 30):
        model.learn(StepShape(1, 1), float(second), at_s=float(second))
        if second == 7:
            assert model.published() == Mean(4.0)
    assert fits == [
        list(range(1, 9)),  # the first eight
        list(range(1, 11)),  # a quarter more
        list(range(6, 16)),
        list(range(11, 21)),
        list(range(16, 26)),
    ]


def test_a_clock_that_starts_anew_does_not_stop_fitting() -> None:
    model = Refitted(lambda _shapes, actual_s, _before: Mean(float(actual_s[-1])), window_steps=10, every_s=5.0)
    for number in range(40):
        model.learn(StepShape(1, 1), 1.0, at_s=1000.0 + number)
    for number in range(20):
        model.learn(StepShape(1, 1), 2.0, at_s=float(number))
    assert model.published() == Mean(2.0)


@pytest.mark.parametrize(
    ("law", "shares", "truth"),
    [
        (eight_parameters, (0.25, 0.25, 0.25, 0.1, 0.1), (0.01, 0.002, 0.003, 0.004, 0.005, 6.0, 8.0)),
        (five_parameters, (0.5, 0.1, 0.25), (0.01, 0.004, 0.02, 6.0, 8.0)),
    ],
)
def test_a_published_law_is_found_again_with_derivatives_that_are_right(law, shares, truth) -> None:
    shapes = stack_shapes(steps_of_an_engine(400))
    scaled = (shapes.batch_size / 32.0, shapes.num_tokens / 256.0)
    actual_s, derivatives = law(truth, *scaled)
    for number, derivative in enumerate(derivatives):
        moved = tuple(value + 1e-6 * (number == other) for other, value in enumerate(truth))
        assert (law(moved, *scaled)[0] - actual_s) / 1e-6 == pytest.approx(
            np.broadcast_to(derivative, actual_s.shape), rel=1e-3, abs=1e-6
        )
    fitted = bounded_least_squares(law, shares)(shapes, actual_s, None)
    assert np.asarray(fitted.step_time_s(shapes)) == pytest.approx(actual_s, rel=0.02)
