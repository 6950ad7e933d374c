import numpy as np
import pytest

from shared.forecast import Forecast, ModelHealth, ResidualQuantiles
from shared.steptime import FEATURES, PRIOR, StepModel, StepShape, feature_vector

MODEL = StepModel(coefficients_s=(0.01, 0.001, 0.002, 1e-6, 1e-7, 0.003, 0.005), floor_s=0.004, upper_ratio=1.5)


def test_each_feature_is_its_physical_term():
    vector = feature_vector(StepShape(3, 200, 1000, 50_000, 2))
    assert dict(zip(FEATURES, vector.tolist(), strict=True)) == {
        "base": 1,
        "per_sequence": 3,
        "per_token": 200,
        "per_kv_token": 1000,
        "per_attention_work": 50_000,
        "per_token_beyond_knee": 72,
        "any_prefill": 1,
    }


def test_a_step_time_is_the_sum_of_the_terms():
    assert MODEL.step_time_s(StepShape(2, 2, 1000)) == pytest.approx(0.01 + 0.002 + 0.004 + 0.001)


def test_many_candidates_are_the_same_as_one_by_one():
    tokens = np.arange(1.0, 400.0, 7.0)
    together = MODEL.step_time_s(StepShape(4, tokens, 100, tokens**2 / 2, 1))
    alone = [MODEL.step_time_s(StepShape(4, n, 100, n**2 / 2, 1)) for n in tokens.tolist()]
    assert together == pytest.approx(alone)


def test_no_step_is_foreseen_below_the_floor():
    steep = StepModel(coefficients_s=(-1.0, 0, 0, 0, 0, 0, 0), floor_s=0.004)
    assert steep.step_time_s(StepShape(1, 1)) == 0.004


def forecast(health: ModelHealth) -> Forecast:
    return Forecast(
        engine="e",
        written_at_s=0.0,
        health=health,
        steps_learned=200,
        mape=0.05,
        coefficients_ms={"base": 8.0, "per_token": 2.0},
        uncertainty_ms={},
        floor_ms=4.0,
        residual_quantiles=ResidualQuantiles(p05=0.9, p50=1.0, p95=1.25),
        capacity_tokens_per_s=100.0,
    )


def test_a_forecast_carries_its_step_model_in_seconds():
    model = forecast(ModelHealth.HEALTHY).step_model()
    assert model.step_time_s(StepShape(1, 10)) == pytest.approx(0.028)
    assert (model.floor_s, model.upper_ratio) == (0.004, 1.25)


def test_a_cold_engine_is_taken_to_be_slow_not_fast():
    assert forecast(ModelHealth.COLD).step_model() == PRIOR
