import copy
import random
from collections.abc import Iterator

import numpy as np
import pytest
from river import checks, datasets

from services.forecaster.model import PRIOR_VARIANCE, StepTimeRegressor


def mixed_steps(num_steps: int, slowness: float = 1.0, noise: float = 0.0) -> Iterator[tuple[dict[str, float], float]]:
    chance = random.Random(7)
    for _ in range(num_steps):
        x = {"base": 1.0, "per_token": chance.randint(1, 512), "per_kv_token": chance.randint(0, 200_000)}
        duration_s = 0.012 + 5e-5 * x["per_token"] + 1e-7 * x["per_kv_token"]
        yield x, slowness * duration_s * (1 + chance.gauss(0, noise))


def test_a_linear_law_is_learned_to_its_coefficients():
    regressor = StepTimeRegressor(scales={"per_token": 256.0, "per_kv_token": 1e5})
    for x, duration_s in mixed_steps(300):
        regressor.learn_one(x, duration_s)
    assert regressor.coefficients == pytest.approx({"base": 0.012, "per_token": 5e-5, "per_kv_token": 1e-7}, rel=1e-3)
    assert regressor.predict_one({"base": 1.0, "per_token": 8192, "per_kv_token": 0}) == pytest.approx(0.4216, rel=1e-3)


def test_uncertainty_shrinks_with_steps_and_covers_the_error():
    regressor = StepTimeRegressor(scales={"per_token": 256.0, "per_kv_token": 1e5})
    after = {}
    for step, (x, duration_s) in enumerate(mixed_steps(1000, noise=0.05), start=1):
        regressor.learn_one(x, duration_s)
        if step in (50, 1000):
            after[step] = regressor.uncertainty["per_token"]
    assert after[1000] < after[50] / 2
    assert abs(regressor.coefficients["per_token"] - 5e-5) < 4 * after[1000]


def test_an_engine_that_slows_is_followed_however_long_its_traffic_was_decode_only():
    regressor = StepTimeRegressor()
    decode = {"base": 1.0, "per_sequence": 8.0, "any_prefill": 0.0}
    for _ in range(20_000):
        regressor.learn_one(decode, 0.010)
    for _ in range(2_000):
        regressor.learn_one(decode, 0.015)
    assert regressor.predict_one(decode) == pytest.approx(0.015, rel=0.35)
    for _ in range(8_000):
        regressor.learn_one(decode, 0.015)
    assert regressor.predict_one(decode) == pytest.approx(0.015, rel=0.02)


def test_one_sided_traffic_does_not_wind_the_covariance_up():
    regressor = StepTimeRegressor()
    for _ in range(30_000):
        regressor.learn_one({"base": 1.0, "any_prefill": 0.0}, 0.010)
    assert np.square(regressor._root).sum() <= 2 * PRIOR_VARIANCE * 1.02
    regressor.learn_one({"base": 1.0, "any_prefill": 1.0}, 0.030)
    assert regressor.predict_one({"base": 1.0, "any_prefill": 0.0}) == pytest.approx(0.010, rel=1e-3)
    assert regressor.predict_one({"base": 1.0, "any_prefill": 1.0}) == pytest.approx(0.030, rel=1e-2)


def test_a_step_counts_by_its_relative_error():
    regressor = StepTimeRegressor()
    for _ in range(500):
        regressor.learn_one({"base": 1.0}, 0.010)
        regressor.learn_one({"base": 1.0}, 0.100)
    assert regressor.predict_one({"base": 1.0}) == pytest.approx(0.0109, rel=0.05)


def test_before_any_step_nothing_is_foreseen():
    assert StepTimeRegressor().predict_one({"base": 1.0}) == 0.0


def test_a_target_of_zero_is_learned_without_dividing_by_it():
    regressor = StepTimeRegressor()
    regressor.learn_one({"base": 1.0}, 0.0)
    assert regressor.predict_one({"base": 1.0}) == 0.0


class _Stream(list[tuple[dict[str, float], float]]):
    """River's own test data, without the loader that needs scikit-learn."""


def river_checks() -> Iterator[object]:
    stream = _Stream(datasets.TrumpApproval().take(200))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "_yield_datasets", lambda _model, scale=1: [stream])
        for params in StepTimeRegressor._unit_test_params():
            for check in checks.yield_checks(StepTimeRegressor(**params)):
                yield pytest.param(params, check, id=f"{check.__name__}-{'scaled' if params else 'plain'}")


@pytest.mark.parametrize(("params", "check"), list(river_checks()))
def test_river_accepts_the_estimator(params, check):
    check(copy.deepcopy(StepTimeRegressor(**params)))
