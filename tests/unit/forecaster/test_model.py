import copy
import json
import random
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from river import checks, datasets

from services.forecaster.calibration import Regime
from services.forecaster.model import StepTimeRegressor
from services.forecaster.prior import PROPORTIONS
from services.forecaster.regressor_state import RegressorState
from shared.steptime import FEATURES, PRIOR, Residuals, StepModel, StepShape, features
from tests.unit.forecaster.telemetry import law, mixed_step

DECODE = StepShape(8, 8, 20_000)
PREFILL = StepShape(9, 2056, 20_000, 2048**2 / 2, 1)


def random_shapes(num_steps: int, *, decode_only: bool = False, seed: int = 7) -> Iterator[StepShape]:
    chance = random.Random(seed)
    for _ in range(num_steps):
        decodes = chance.randint(1, 48)
        chunk = 0 if decode_only else chance.choice((0, 0, 64, 256, 512))
        kv_tokens = decodes * chance.randint(50, 2000)
        yield StepShape(decodes + (chunk > 0), decodes + chunk, kv_tokens, chunk**2 / 2, int(chunk > 0))


def learned(shapes: Iterator[StepShape], *, noise: float = 0.0, slowness: float = 1.0) -> StepTimeRegressor:
    regressor, chance = StepTimeRegressor(), random.Random(1)
    for shape in shapes:
        regressor.learn(shape, slowness * law(shape) * (1 + chance.gauss(0, noise)))
    return regressor


def test_an_engines_law_is_learned_within_a_hundred_steps_and_holds_far_beyond_what_was_seen():
    regressor = learned(random_shapes(100))
    for shape in (DECODE, StepShape(64, 64, 100_000), StepShape(3, 300, 900, 45_000, 1)):
        assert float(regressor.predict(shape).expected_s) == pytest.approx(law(shape), rel=0.05)
    assert float(regressor.predict(PREFILL).expected_s) == pytest.approx(law(PREFILL), rel=0.3)


def test_before_any_step_the_prior_is_foreseen():
    assert StepTimeRegressor().predict(DECODE) == PRIOR.interval(DECODE)
    assert StepTimeRegressor().step_model() is PRIOR
    assert StepTimeRegressor().state is None


def test_the_first_step_tells_the_scale_and_the_prior_the_proportions():
    regressor = StepTimeRegressor()
    regressor.learn(DECODE, 0.040)
    unit_s = 0.040 / float(np.array(features(DECODE)) @ PROPORTIONS)
    expected_s = unit_s * float(np.array(features(PREFILL)) @ PROPORTIONS)
    assert float(regressor.predict(PREFILL).expected_s) == pytest.approx(expected_s, rel=0.02)


def test_ten_thousand_decodes_leave_a_usable_and_honestly_doubtful_answer_about_a_prefill():
    regressor = learned(random_shapes(10_000, decode_only=True), noise=0.01)
    seen = regressor.step_model().interval(PREFILL)
    assert law(PREFILL) / 3 < float(seen.expected_s) < law(PREFILL) * 3
    assert float(seen.lower_s) < law(PREFILL) < float(seen.upper_s)
    decode = regressor.step_model().interval(DECODE)
    assert float(seen.upper_s / seen.expected_s) > 1.2
    assert float(decode.upper_s / decode.expected_s) < 1.05


def test_the_first_prefills_after_many_decodes_are_learned_at_once():
    regressor = learned(random_shapes(10_000, decode_only=True), noise=0.01)
    for _ in range(3):
        regressor.learn(PREFILL, law(PREFILL))
    assert float(regressor.predict(PREFILL).expected_s) == pytest.approx(law(PREFILL), rel=0.05)
    assert float(regressor.predict(DECODE).expected_s) == pytest.approx(law(DECODE), rel=0.05)


@pytest.mark.parametrize("slowness", [1.5, 0.6, 4.0])
def test_a_change_of_speed_is_noticed_and_followed_within_fifty_steps(slowness):
    regressor = learned(random_shapes(3000), noise=0.01)
    assert regressor.steps_since_drift is None
    chance = random.Random(2)
    for shape in random_shapes(50, seed=3):
        regressor.learn(shape, slowness * law(shape) * (1 + chance.gauss(0, 0.01)))
    assert regressor.steps_since_drift is not None
    for shape in random_shapes(50, seed=4):
        assert float(regressor.predict(shape).expected_s) == pytest.approx(slowness * law(shape), rel=0.1)


@pytest.mark.parametrize("slowness", [1.5, 2.0])
def test_a_change_in_mixed_steps_alone_is_followed_by_them_alone(slowness):
    regressor = learned(random_shapes(3000), noise=0.01)
    for shape in random_shapes(120, seed=3):
        regressor.learn(shape, (slowness if shape.prefill_seqs else 1.0) * law(shape))
    assert regressor.steps_since_drift is not None
    for shape in random_shapes(50, seed=4):
        expected_s = (slowness if shape.prefill_seqs else 1.0) * law(shape)
        assert float(regressor.predict(shape).expected_s) == pytest.approx(expected_s, rel=0.1)


def test_a_report_of_hardly_any_time_does_not_outweigh_all_others():
    regressor = learned(random_shapes(2000), noise=0.01)
    regressor.learn(DECODE, 1e-6)
    assert float(regressor.step_model().step_time_s(DECODE)) == pytest.approx(law(DECODE), rel=0.05)
    for shape in random_shapes(50, seed=6):
        assert float(regressor.step_model().step_time_s(shape)) == pytest.approx(law(shape), rel=0.1)


def test_a_first_step_of_hardly_any_time_does_not_bound_what_can_be_learned():
    regressor = StepTimeRegressor()
    for number, shape in enumerate(random_shapes(3000)):
        regressor.learn(shape, law(shape) * (1.0 if number else 1e-4))
    for shape in random_shapes(50, seed=6):
        assert float(regressor.predict(shape).expected_s) == pytest.approx(law(shape), rel=0.03)


@pytest.mark.parametrize(
    "changes",
    [
        {"free_s": (0.1,)},
        {"root_s": ((0.0,) * len(FEATURES),) * len(FEATURES)},
        {"bound": (99,)},
        {"bound": (1, 1)},
        {"steps": -1},
        {"unit_s": 0.0},
        {"coefficients_s": (-1.0,) * len(FEATURES)},
    ],
)
def test_numbers_that_cannot_be_a_regressors_are_not_read(changes):
    state = learned(random_shapes(50)).state
    assert state is not None
    spoiled = msgspec.to_builtins(state) | changes
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(spoiled), type=RegressorState)


def test_stalls_of_single_steps_neither_count_as_drift_nor_spoil_the_law():
    regressor, chance = StepTimeRegressor(), random.Random(3)
    for number, shape in enumerate(random_shapes(2000)):
        stall = 10.0 if number % 50 == 49 else 1.0
        regressor.learn(shape, stall * law(shape) * (1 + chance.gauss(0, 0.01)))
    assert regressor.steps_since_drift is None
    assert float(regressor.step_model().step_time_s(DECODE)) == pytest.approx(law(DECODE), rel=0.05)


@pytest.mark.parametrize("noise", [0.005, 0.05, 0.2])
def test_nine_in_ten_steps_of_each_regime_fall_within_the_interval(noise):
    regressor, chance = StepTimeRegressor(), random.Random(5)
    inside: dict[bool, list[bool]] = {False: [], True: []}
    for shape in random_shapes(3000):
        seen = regressor.predict(shape)
        actual_s = law(shape) * max(1 + chance.gauss(0, noise), 0.1)
        inside[bool(shape.prefill_seqs)].append(float(seen.lower_s) <= actual_s <= float(seen.upper_s))
        regressor.learn(shape, actual_s)
    for hits in inside.values():
        assert 0.88 < sum(hits) / len(hits) < 0.92


def test_no_coefficient_is_negative_where_the_best_fit_would_be():
    regressor = StepTimeRegressor()
    for shape in random_shapes(500):
        regressor.learn(shape, max(law(shape) - 2e-4 * float(shape.batch_size), 1e-3))
    assert regressor._filter is not None
    assert regressor._filter.free.min() < 0
    assert min(regressor.step_model().coefficients_s) >= 0


def test_the_published_model_foresees_what_the_regressor_does_once_nothing_passes():
    regressor = learned(random_shapes(2000))
    model = regressor.step_model()
    for shape in random_shapes(20, seed=9):
        assert model.step_time_s(shape) == pytest.approx(float(regressor.predict(shape).expected_s), rel=0.02)


def next_residuals(regime: Regime) -> Residuals:
    spread = regime.next_spread
    return Residuals(factor=regime.next_factor, deviation=spread.deviation, lower=spread.lower, upper=spread.upper)


def test_the_published_doubt_is_the_regressors():
    regressor = learned(random_shapes(512), noise=0.01)
    published = regressor.step_model()
    own = StepModel(
        coefficients_s=published.coefficients_s,
        floor_s=published.floor_s,
        decode=next_residuals(regressor._decode),
        mixed=next_residuals(regressor._mixed),
        doubt_ms=published.doubt_ms,
    )
    for shape in (DECODE, PREFILL, StepShape(400, 400, 2_000_000)):
        for mine, theirs in zip(own.interval(shape), regressor.predict(shape), strict=True):
            assert float(mine) == pytest.approx(float(theirs), rel=0.01)


def test_a_regressor_goes_on_from_its_numbers_as_if_it_had_never_stopped():
    regressor = learned(random_shapes(700), noise=0.02)
    assert regressor.state is not None
    state = msgspec.json.decode(json.dumps(msgspec.to_builtins(regressor.state)), type=RegressorState)
    restored = StepTimeRegressor()
    restored.restore(state)
    for shape in random_shapes(300, seed=8):
        assert restored.predict(shape) == regressor.predict(shape)
        for one in (restored, regressor):
            one.learn(shape, 1.7 * law(shape))
    assert restored.state == regressor.state


def test_what_was_learned_of_other_features_is_refused_by_name():
    state = learned(random_shapes(5)).state
    assert state is not None
    with pytest.raises(ValueError, match="per_moon_phase"):
        StepTimeRegressor().restore(msgspec.structs.replace(state, features=("per_moon_phase", *FEATURES[1:])))


def test_an_engine_starts_from_one_of_its_kind_but_trusts_it_less():
    kin = learned(random_shapes(3000), noise=0.01)
    assert kin.state is not None
    regressor = StepTimeRegressor.like(kin.state)
    assert float(regressor.predict(PREFILL).expected_s) == pytest.approx(law(PREFILL), rel=0.3)
    assert regressor.predict(DECODE).upper_s / law(DECODE) > 1.2
    chance = random.Random(4)
    for shape in random_shapes(15, seed=11):
        regressor.learn(shape, 1.3 * law(shape) * (1 + chance.gauss(0, 0.01)))
    assert float(regressor.predict(DECODE).expected_s) == pytest.approx(1.3 * law(DECODE), rel=0.05)


def test_learning_without_asking_first_teaches_the_same():
    asked, unasked = StepTimeRegressor(), StepTimeRegressor()
    for shape in random_shapes(200):
        asked.predict(DECODE)
        asked.predict(shape)
        for one in (asked, unasked):
            one.learn(shape, law(shape))
    assert asked.state == unasked.state


def test_a_duration_that_is_not_positive_teaches_nothing():
    regressor = learned(random_shapes(20))
    before = regressor.state
    regressor.learn(DECODE, 0.0)
    regressor.learn(DECODE, -1.0)
    assert regressor.state == before


def test_river_asks_and_teaches_by_field_name():
    regressor = StepTimeRegressor()
    for number in range(300):
        report = mixed_step(number)
        regressor.learn_one(report.shape._asdict(), report.duration_ms / 1e3)
    assert len(regressor.step_model().coefficients_s) == len(FEATURES)
    report = mixed_step(301)
    assert regressor.predict_one(report.shape._asdict()) == pytest.approx(report.duration_ms / 1e3, rel=0.1)


class _Stream(list[tuple[dict[str, float], float]]):
    """River's own test data, without the loader that needs scikit-learn."""


def river_checks() -> Iterator[object]:
    stream = _Stream(datasets.TrumpApproval().take(200))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "_yield_datasets", lambda _model, scale=1: [stream])
        for check in checks.yield_checks(StepTimeRegressor()):
            yield pytest.param(check, id=check.__name__)


@pytest.mark.parametrize("check", list(river_checks()))
def test_river_accepts_the_estimator(check):
    check(copy.deepcopy(StepTimeRegressor()))
