import math

import msgspec
import numpy as np
import pytest

from shared.forecast import Forecast, ModelHealth
from shared.steptime import (
    FEATURES,
    MOST_DOUBT,
    PRESUMED_NOISE,
    PRIOR,
    Residuals,
    StepModel,
    StepShape,
    doubt_squares,
    features,
)
from shared.wire import UnreadableMessage, decode
from tests.step_models import step_model

KNOWN = dict.fromkeys(FEATURES, 0.0)


def model(
    *, decode_factor: float = 1.0, mixed_factor: float = 1.0, floor_s: float = 0.0, **coefficients_s: float
) -> StepModel:
    return step_model(
        floor_s=floor_s,
        decode_residuals=Residuals(factor=decode_factor, deviation=0.01),
        mixed_residuals=Residuals(factor=mixed_factor, deviation=0.02),
        **coefficients_s,
    )


MODEL = model(
    base=0.01, per_padded_sequence=0.001, per_token=0.002, per_kv_token=1e-6, per_token_beyond_64=0.003, mixed=0.005
)


def named(shape: StepShape) -> dict[str, float]:
    return {name: float(term) for name, term in zip(FEATURES, features(shape), strict=True)}


def test_each_feature_is_its_physical_term():
    assert named(StepShape(3, 300, 1000, 50_000, 2)) == {
        "base": 1,
        "per_sequence": 3,
        "per_padded_sequence": 4,
        "per_token": 300,
        "per_kv_token": 1000,
        "per_attention_work": 50_000,
        "per_token_beyond_64": 236,
        "per_token_beyond_256": 44,
        "per_token_beyond_512": 0,
        "per_tile": 2,
        "above_4_tokens": 1,
        "above_8_tokens": 1,
        "above_16_tokens": 1,
        "above_32_tokens": 1,
        "above_64_tokens": 1,
        "above_128_tokens": 1,
        "above_256_tokens": 1,
        "mixed": 1,
        "per_prefill": 2,
        "mixed_per_kv_token": 1000,
        "mixed_per_sequence": 3,
    }


def test_a_decode_only_step_has_no_mixed_terms():
    terms = named(StepShape(3, 3, 1000))
    assert [terms[name] for name in ("mixed", "per_prefill", "mixed_per_kv_token", "mixed_per_sequence")] == [0] * 4


def test_sequences_are_padded_to_the_sizes_that_graphs_are_captured_for():
    padded = [named(StepShape(seqs, seqs))["per_padded_sequence"] for seqs in (1, 2, 3, 4, 5, 8, 9, 16, 17, 100)]
    assert padded == [1, 2, 4, 4, 8, 8, 16, 16, 24, 104]


def test_a_step_time_is_the_sum_of_the_terms():
    assert MODEL.step_time_s(StepShape(2, 2, 1000)) == pytest.approx(0.01 + 0.002 + 0.004 + 0.001)


def test_a_regimes_factor_multiplies_its_steps():
    both = model(base=0.01, mixed_factor=2.0, decode_factor=1.5)
    assert both.step_time_s(StepShape(1, 1)) == pytest.approx(0.015)
    assert both.step_time_s(StepShape(1, 1, 0, 0, 1)) == pytest.approx(0.02)


def test_prefill_never_shortens_a_step_whatever_the_factors_say():
    assert model(base=0.01, decode_factor=1.2, mixed_factor=0.8).step_time_s(
        StepShape(2, 66, 0, 2048, 1)
    ) == pytest.approx(0.012)


@pytest.mark.parametrize("seqs", [1, 4, 40])
def test_many_candidates_are_the_same_as_one_by_one(seqs):
    tokens = seqs + np.arange(0.0, 3000.0, 7.0)
    candidates = StepShape(seqs, tokens, 100, tokens**2 / 2, 1)
    alone = [StepShape(seqs, n, 100, n**2 / 2, 1) for n in tokens.tolist()]
    assert MODEL.step_time_s(candidates) == pytest.approx([MODEL.step_time_s(one) for one in alone])
    for together, bound in zip(MODEL.interval(candidates), zip(*map(MODEL.interval, alone), strict=True), strict=True):
        assert together == pytest.approx(bound)


def test_decode_only_and_mixed_candidates_may_stand_side_by_side():
    prefills = np.array([0.0, 1.0])
    times_s = MODEL.step_time_s(StepShape(2, 2 + 30 * prefills, 100, 450 * prefills, prefills))
    alone = [MODEL.step_time_s(StepShape(2, 2 + 30 * p, 100, 450 * p, p)) for p in (0.0, 1.0)]
    assert times_s == pytest.approx(alone)


def test_no_step_is_foreseen_below_the_floor():
    assert model(floor_s=0.004, base=0.001).step_time_s(StepShape(1, 1)) == 0.004


def test_an_interval_without_doubt_is_the_regimes_noise():
    quiet = MODEL.interval(StepShape(1, 1))
    assert float(quiet.upper_s / quiet.expected_s) == pytest.approx(math.exp(1.645 * 0.01))
    assert float(quiet.expected_s / quiet.lower_s) == pytest.approx(math.exp(1.645 * 0.01))
    mixed = MODEL.interval(StepShape(1, 1, 0, 0, 1))
    assert float(mixed.upper_s / mixed.expected_s) == pytest.approx(math.exp(1.645 * 0.02))


def test_doubt_about_a_coefficient_widens_the_steps_that_it_matters_to():
    doubt_ms = tuple((*(0.0,) * row, 0.5 if name == "per_token" else 0.0) for row, name in enumerate(FEATURES))
    doubtful = StepModel(coefficients_s=MODEL.coefficients_s, floor_s=0.0, decode=MODEL.decode, doubt_ms=doubt_ms)
    shape = StepShape(8, 8, 0)
    expected_s = float(doubtful.step_time_s(shape))
    variance = (0.5e-3 * 8 / (PRESUMED_NOISE * expected_s)) ** 2
    spread = math.sqrt(0.01**2 + float(doubt_squares(variance)))
    assert float(doubtful.interval(shape).upper_s) == pytest.approx(expected_s * math.exp(1.645 * spread))


def test_an_interval_never_says_more_than_that_little_is_known():
    lost = StepModel(
        coefficients_s=MODEL.coefficients_s, floor_s=0.0, decode=Residuals(deviation=9.0), mixed=Residuals()
    )
    seen = lost.interval(StepShape(1, 1))
    assert float(seen.upper_s / seen.expected_s) == pytest.approx(MOST_DOUBT)
    assert float(seen.expected_s / seen.lower_s) == pytest.approx(MOST_DOUBT)


def forecast(health: ModelHealth, coefficients_ms: dict[str, float]) -> Forecast:
    return Forecast(
        engine="e",
        written_at_s=0.0,
        health=health,
        steps_learned=200,
        mape=0.05,
        coefficients_ms=coefficients_ms,
        uncertainty_ms={},
        floor_ms=4.0,
        mixed=Residuals(deviation=0.1, upper=2.0),
        capacity_tokens_per_s=100.0,
    )


def test_a_forecast_carries_its_step_model_in_seconds():
    carried = forecast(ModelHealth.HEALTHY, KNOWN | {"base": 8.0, "per_token": 2.0}).step_model()
    assert carried.step_time_s(StepShape(1, 4)) == pytest.approx(0.016)
    assert carried.floor_s == 0.004
    assert carried.upper_ratio == pytest.approx(math.exp(0.2))


@pytest.mark.parametrize(
    "field",
    [
        {"coefficients_ms": {**KNOWN, "base": -1.0}},
        {"coefficients_ms": {**KNOWN, "base": 1e308}},
        {"floor_ms": 0.0},
        {"decode": {"deviation": 0.0}},
        {"mixed": {"factor": -0.5}},
        {"doubt_ms": [[1e300]]},
    ],
)
def test_a_forecast_that_no_engine_could_have_is_not_read(field):
    good = msgspec.to_builtins(forecast(ModelHealth.HEALTHY, KNOWN))
    decode(msgspec.json.encode(good), Forecast)
    with pytest.raises(UnreadableMessage):
        decode(msgspec.json.encode(good | field), Forecast)


def test_a_doubt_that_is_not_a_triangle_of_all_features_makes_the_forecast_the_priors():
    cut = msgspec.structs.replace(forecast(ModelHealth.HEALTHY, KNOWN), doubt_ms=((1.0,), (1.0, 2.0)))
    assert cut.step_model() == PRIOR


@pytest.mark.parametrize("kind", [np.uint16, np.uint64, np.int32, np.float32])
def test_shapes_of_any_number_type_mean_the_same(kind):
    shapes = StepShape(*np.array([[3, 300, 1000, 50_000, 2], [9, 9, 500, 0, 0]]).T.astype(kind))
    plain = [MODEL.step_time_s(shape) for shape in (StepShape(3, 300, 1000, 50_000, 2), StepShape(9, 9, 500))]
    assert MODEL.step_time_s(shapes) == pytest.approx(plain)


def test_a_cold_engine_is_taken_to_be_slow_not_fast():
    assert forecast(ModelHealth.COLD, {"base": 8.0}).step_model() == PRIOR


@pytest.mark.parametrize("features", [{"base": 8.0}, dict.fromkeys(FEATURES, 1.0) | {"per_moon_phase": 1.0}])
def test_a_law_of_other_features_is_not_half_believed(features):
    assert forecast(ModelHealth.HEALTHY, features).step_model() == PRIOR


@pytest.mark.parametrize("seed", range(20))
def test_one_step_takes_as_long_by_itself_as_among_many(seed):
    draw = np.random.default_rng(seed)
    drawn = step_model(
        floor_s=0.001,
        decode_residuals=Residuals(factor=0.9),
        mixed_residuals=Residuals(factor=draw.uniform(0.5, 1.5)),
        **{name: draw.uniform(0, 1e-3) for name in FEATURES},
    )
    tokens = np.concatenate([np.arange(1.0, 1100.0), draw.integers(1100, 20_000, 200)])
    seqs, kv_tokens = np.ceil(draw.uniform(0, tokens)), np.floor(draw.uniform(0, 1e6, tokens.size))
    prefills = np.floor(draw.uniform(0, 3, tokens.size))
    work = draw.uniform(0, 1e7, tokens.size) * (prefills > 0)
    among_many = np.asarray(drawn.step_time_s(StepShape(seqs, tokens, kv_tokens, work, prefills)))
    shapes = zip(*(field.tolist() for field in (seqs, tokens, kv_tokens, work, prefills)), strict=True)
    by_itself = [drawn.step_time_s(StepShape(*shape)) for shape in shapes]
    assert by_itself == pytest.approx(among_many.tolist(), rel=1e-12)
