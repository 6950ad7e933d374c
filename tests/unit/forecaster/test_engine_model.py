import msgspec
import pytest

from services.forecaster.engine_model import EngineModel, Position
from shared.forecast import Forecast, ModelHealth
from shared.steptime import FEATURES, PRIOR
from shared.wire import decode, encode
from tests.unit.forecaster.telemetry import decode_step, mixed_step, trained

STREAM = "2026-01-01"


def test_a_cold_engine_is_foreseen_by_the_prior_and_says_so():
    model = EngineModel("a")
    step = decode_step(1, batch_size=4)
    seen = model.observe(step)
    assert seen is not None
    assert seen.predicted_s == pytest.approx(PRIOR.step_time_s(step.shape))
    assert model.forecast(0.0).health is ModelHealth.COLD
    assert model.forecast(0.0).step_model() == PRIOR


def test_what_was_learned_of_a_cold_engine_is_not_yet_told():
    assert trained("a", 9).forecast(0.0).step_model() == PRIOR
    assert trained("a", 10).forecast(0.0).step_model() != PRIOR


def test_a_change_of_speed_is_told_for_a_hundred_steps():
    model = trained("a", 1000, noise=0.01)
    healths = []
    for step in range(1000, 1200):
        slow = mixed_step(step, noise=0.01)
        model.observe(msgspec.structs.replace(slow, duration_ms=1.5 * slow.duration_ms))
        healths.append(model.forecast(0.0).health)
    assert healths.count(ModelHealth.DRIFTING) == 100
    assert healths[20] is ModelHealth.DRIFTING
    assert healths[-1] is ModelHealth.HEALTHY


def test_health_climbs_from_cold_by_steps_learned():
    model = EngineModel("a")
    healths = []
    for step in range(1, 101):
        model.observe(mixed_step(step))
        healths.append(model.forecast(0.0).health)
    assert healths[8:10] == [ModelHealth.COLD, ModelHealth.WARMING]
    assert healths[98:] == [ModelHealth.WARMING, ModelHealth.HEALTHY]


def test_an_engine_that_cannot_be_foreseen_stays_warming():
    model = EngineModel("a")
    for step in range(300):
        model.observe(decode_step(step, batch_size=4, duration_ms=10.0 if step % 2 else 40.0))
    assert model.mape is not None
    assert model.mape > 0.25
    assert model.forecast(0.0).health is ModelHealth.WARMING


def test_the_first_ten_steps_do_not_count_in_the_error():
    model = EngineModel("a")
    for step in range(10):
        model.observe(mixed_step(step))
    assert model.mape is None
    model.observe(mixed_step(10))
    assert model.mape is not None


def test_the_error_is_the_mean_relative_error_of_what_was_foreseen():
    model = EngineModel("a")
    seen = [model.observe(mixed_step(step, noise=0.05)) for step in range(200)]
    errors = [abs(one.actual_s - one.predicted_s) / one.actual_s for one in seen[10:] if one is not None]
    assert model.mape == pytest.approx(sum(errors) / len(errors))


def test_a_forecast_says_in_milliseconds_what_the_model_foresees():
    model = trained("a", 300)
    forecast = decode(encode(model.forecast(12.5)), Forecast)
    step = mixed_step(300)
    seen = model.observe(step)
    assert seen is not None
    assert forecast.written_at_s == 12.5
    assert forecast.step_model().step_time_s(step.shape) == pytest.approx(seen.predicted_s, rel=0.02)
    assert seen.predicted_s == pytest.approx(seen.actual_s, rel=0.05)


def test_the_forecast_tells_the_noise_of_each_regime():
    forecast = trained("a", 1000, noise=0.05).forecast(0.0)
    for regime in (forecast.decode, forecast.mixed):
        assert regime.factor == pytest.approx(1.0, abs=0.05)
        assert regime.deviation * regime.upper == pytest.approx(1.645 * 0.05, abs=0.03)
    assert forecast.uncertainty_ms.keys() == forecast.coefficients_ms.keys() == set(FEATURES)


def test_the_floor_is_a_fraction_of_the_weights_reading_even_where_only_long_steps_ran():
    model = EngineModel("a")
    for step in range(300):
        model.observe(decode_step(step, batch_size=64, duration_ms=80.0))
    assert 5.0 < model.forecast(0.0).floor_ms < 20.0


def test_capacity_is_the_highest_rate_of_late_and_survives_a_quiet_spell():
    model = EngineModel("a")
    for step in range(20):
        model.observe(decode_step(step, batch_size=64, duration_ms=20.0))
    for step in range(20, 600):
        model.observe(decode_step(step, batch_size=1, duration_ms=10.0))
    assert model.forecast(0.0).capacity_tokens_per_s == pytest.approx(3200, rel=0.1)


@pytest.mark.parametrize(
    "report",
    [
        decode_step(0, batch_size=4, duration_ms=0.0),
        decode_step(0, batch_size=4, duration_ms=-5.0),
        decode_step(0, batch_size=4, duration_ms=1e300),
        decode_step(0, batch_size=4, kv_tokens=-1),
        decode_step(0, batch_size=4, kv_tokens=2**64 - 1),
        decode_step(0, batch_size=0),
    ],
)
def test_a_step_that_no_engine_could_have_run_is_not_learned(report):
    model = EngineModel("a")
    assert model.observe(report) is None
    assert model.steps_learned == 0


def test_a_report_of_hardly_any_time_is_no_capacity():
    model = trained("a", 200)
    before = model.forecast(0.0).capacity_tokens_per_s
    model.observe(decode_step(201, batch_size=8, duration_ms=1e-3))
    assert model.forecast(0.0).capacity_tokens_per_s < 1.5 * before


def test_an_engine_of_a_known_kind_is_foreseen_like_its_kin_before_its_first_step():
    kin = trained("a", 500)
    model = EngineModel("b", "H100 tiny", kin.example)
    step = mixed_step(501)
    forecast = model.forecast(0.0)
    assert forecast.health is ModelHealth.WARMING
    assert forecast.steps_learned == 0
    own, kins = (one.step_model().interval(step.shape) for one in (forecast, kin.forecast(0.0)))
    assert float(own.expected_s) == pytest.approx(step.duration_ms / 1e3, rel=0.1)
    assert own.upper_s / own.expected_s > kins.upper_s / kins.expected_s
    assert EngineModel.restored(model.state).forecast(0.0) == forecast


def test_what_is_not_well_known_itself_is_no_example_to_others():
    assert trained("a", 50).example is None


def test_a_gap_in_message_numbers_of_one_lens_counts_as_lost():
    model = EngineModel("a")
    for place, (lens, sequence) in enumerate([("x", 3), ("x", 4), ("x", 7), ("y", 1), ("y", 2)], start=1):
        assert model.advance(Position(STREAM, place), lens, sequence)
    assert model.messages_lost == 2


def test_a_message_at_or_before_the_position_does_not_advance():
    model = EngineModel("a")
    assert model.advance(Position(STREAM, 5), "x", 1)
    assert not model.advance(Position(STREAM, 5), "x", 2)
    assert not model.advance(Position(STREAM, 4), "x", 2)
    assert model.position == Position(STREAM, 5)


def test_a_message_that_lens_sent_twice_does_not_advance():
    model = EngineModel("a")
    assert model.advance(Position(STREAM, 5), "x", 1)
    assert not model.advance(Position(STREAM, 6), "x", 1)


def test_a_new_stream_starts_the_positions_over():
    model = EngineModel("a")
    assert model.advance(Position(STREAM, 500), "x", 10)
    assert model.advance(Position("2026-01-02", 1), "x", 11)
    assert model.messages_lost == 0
